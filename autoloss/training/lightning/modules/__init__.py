"""Builders of the built-in modules, one in each file."""
