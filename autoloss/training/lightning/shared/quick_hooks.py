"""Leaves out what Lightning does around each hook of each step and what has no effect."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.profilers import PassThroughProfiler

# The hooks of a step that Lightning calls of the module and of each callback.
STEP_HOOKS = (
    *("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    "on_before_optimizer_step",
)
_NOTHING: AbstractContextManager[None] = nullcontext()
_PLAIN = (type(None), bool, int, float, str)


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own does, but makes no generator for each of the 60 places of a step."""

    def profile(self, action_name: str) -> Any:
        """A context that does nothing."""
        return _NOTHING


class QuickHooks:
    """A module that sets plain attributes quickly: Lightning writes the hook's name before and after each hook.

    ``nn.Module`` asks of each value whether it is a parameter, a module or a buffer. The value of an attribute that is
    plain already, and stays so, is none.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) in _PLAIN and name in self.__dict__:
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


def quicken(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Let ``trainer`` pass over the hooks of a step that ``module`` and the callbacks inherit, which are empty.

    Lightning calls each of them for each batch, within its profiler, unless it is not callable. Call this before the
    training begins.
    """
    of: Any = trainer  # its attributes are set elsewhere, where mypy does not see them
    if type(of.profiler) is PassThroughProfiler:
        of.profiler = NoProfiler()
    step: Any = type(module).training_step
    if not hasattr(step, "__signature__"):
        step.__signature__ = inspect.signature(step)  # Lightning asks for it in each step
    for part, base in ((module, pl.LightningModule), *((one, pl.Callback) for one in of.callbacks)):
        for hook in STEP_HOOKS:
            if hook not in vars(part) and getattr(type(part), hook) is getattr(base, hook):
                setattr(part, hook, None)
