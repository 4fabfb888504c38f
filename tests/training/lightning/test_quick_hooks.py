"""What is left out around Lightning's hooks changes nothing, and what is in use is still called."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import SimpleProfiler
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autoloss.training.lightning.shared.quick_hooks import STEP_HOOKS, QuickHooks, quicken
from tests.trainers import quiet_trainer


class Line(QuickHooks, pl.LightningModule):
    """A linear layer that notes under which name of a hook its step runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.names = nn.Linear(3, 1), set[str]()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.names.add(str(self._current_fx_name))
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Heard(pl.Callback):
    """Notes which hooks are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []


def noting(hook: str) -> Any:
    """A method that notes ``hook``."""
    return lambda self, *args: self.calls.append(hook)


def all_of(base: type) -> type:
    """A subclass of ``base`` that notes all hooks of a step."""
    return type("All", (base,), {hook: noting(hook) for hook in STEP_HOOKS})


def fitted(module: pl.LightningModule, quick: bool, *callbacks: pl.Callback, **flags: Any) -> pl.Trainer:
    """A Trainer that has trained ``module`` for one epoch of four batches."""
    trainer = quiet_trainer(max_epochs=1, callbacks=list(callbacks), **flags)
    if quick:
        quicken(trainer, module)
    data = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    trainer.fit(module, DataLoader(TensorDataset(data), batch_size=2))
    return trainer


def test_a_training_ends_with_the_same_parameters() -> None:
    ends = []
    for quick in (False, True):
        torch.manual_seed(0)
        module = Line()
        fitted(module, quick, pl.Callback())
        assert module.names == {"training_step"}
        ends.append(module.layer.weight.detach().clone())
    assert torch.equal(*ends)


def test_hooks_that_do_something_are_called_as_before_of_callbacks_and_modules() -> None:
    calls = []
    for quick in (False, True):
        heard, module = all_of(Heard)(), all_of(Line)()
        module.calls = []
        fitted(module, quick, pl.Callback(), heard)
        calls.append((heard.calls, module.calls))
    assert calls[0] == calls[1]
    assert set(calls[1][0]) == set(calls[1][1]) == set(STEP_HOOKS)


def test_lightning_passes_over_empty_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    for hook in STEP_HOOKS:
        for base in (pl.Callback, pl.LightningModule):
            monkeypatch.setattr(base, hook, lambda *args, hook=hook: called.append(hook))
    fitted(Line(), False, pl.Callback())
    assert set(called) == set(STEP_HOOKS)
    called.clear()
    fitted(Line(), True, pl.Callback())
    assert called == []


def test_a_profiler_that_was_chosen_measures() -> None:
    trainer = fitted(Line(), True, profiler=SimpleProfiler())
    assert len(trainer.profiler.recorded_durations["run_training_batch"]) == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", [1, None, "name", nn.Linear(1, 1), nn.Parameter(torch.ones(1))])
@pytest.mark.parametrize("after", [2, None, "other", nn.Linear(1, 1), nn.Parameter(torch.ones(1))])
def test_attributes_are_set_as_any_module_sets_them(before: Any, after: Any) -> None:
    def kept(base: type[nn.Module]) -> Any:
        module = base()
        try:
            module.it = before
            module.it = after
        except TypeError as error:
            return str(error)
        return module.it, "it" in vars(module), set(dict(module.named_parameters())), list(module.children())

    assert kept(type("Quick", (QuickHooks, nn.Module), {})) == kept(nn.Module)
