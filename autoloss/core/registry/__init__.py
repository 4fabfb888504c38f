"""Finds components by name, with their parameters and defaults."""

from functools import partial

from autoloss._moved import moved_name

__getattr__ = partial(moved_name, "core.registry")  # core.registry was a module in 0.1.0
