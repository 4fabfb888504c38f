"""The conformance suite of modules: tests that every module must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Adam
from torch.utils.data import DataLoader

from autoloss.core.errors import AutolossError
from autoloss.core.problem import Problem
from autoloss.training.step.build import build_loss, build_sample_weighting, build_weighting, loss_nodes

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from autoloss.training.lightning.module_builder import Ingredients, ModuleBuilder
    from autoloss.training.lightning.run_module import RunModule

# The configuration of a run that sets nothing but its problem.
PLAIN: Mapping[str, Any] = {
    "base": {},
    "groups": {},
    "unbalanced": (),
    "on_nonfinite": "raise",
    "anchor": "features",
    "held_out": {
        "share": 0.1,
        "source": "share",
        "batch_size": None,
        "implicit": None,
        "objective": "log",
        "primary": (),
        "losses": {},
    },
    "plateau": {},
    "penalties": {},
    "constraints": {},
    "trainer": {},
}


class ModuleSuite:
    """Tests, one by one, what a run expects of a module.

    Subclass it in a test file::

        class TestMine(ModuleSuite):
            def builder(self):
                return Mine(decay=0.9)

            def problem(self):
                return MyProblem(samples=64)

    A class attribute does as well: ``builder = Mine``. The problem should be small: the suite trains it several times,
    for ``epochs`` epochs in batches of ``batch_size``. ``config`` holds the keys of the configuration that the module
    reads besides its own parameters.
    """

    epochs: int = 2
    batch_size: int = 16
    config: Mapping[str, Any] = {}

    def builder(self) -> ModuleBuilder:
        """A new builder."""
        raise NotImplementedError("Override builder() to return a new instance of the builder under test.")

    def problem(self) -> Problem:
        """A new problem that the module can train."""
        raise NotImplementedError("Override problem() to return a small problem that the module can train.")

    def wrong_problem(self) -> Problem | None:
        """A problem that the module cannot train, and that the builder must refuse; ``None`` skips this test."""
        return None

    def run(self, weighting: str = "equal", problem: Problem | None = None) -> Ingredients:
        """The ingredients of a run of the problem, with ``weighting`` and Adam."""
        from autoloss.training.lightning.module_builder import Ingredients

        chosen = problem or self.problem()
        losses = {name: build_loss(node) for name, node in loss_nodes({}, chosen.terms).items()}
        parts = build_weighting(weighting), build_sample_weighting("uniform"), partial(Adam, lr=0.01), _constant
        return Ingredients(chosen, losses, *parts, None, {**PLAIN, **self.config}, lambda node: partial(Adam, lr=0.01))

    def module(self, weighting: str = "equal") -> RunModule:
        """A new module; torch's seed is set before it is built."""
        torch.manual_seed(0)
        run = self.run(weighting)
        return self.builder().build(replace(run, samples=len(run.problem.datasets(0)["train"])))  # type: ignore[arg-type]

    def test_the_card_says_when_to_use_it(self) -> None:
        builder = type(self.builder())
        assert builder.use, f"`use` must say when {builder.title()} is the right choice, but it is empty."
        assert builder.__doc__, f"{builder.title()} must have a docstring, but it has none."

    def test_accepts_its_problem(self) -> None:
        found: list[str] = []
        self.builder().check(self.run(), partial(_attempt, found))
        assert not found, f"check() must accept problem(), but it says: {found}."

    def test_refuses_a_wrong_problem_with_a_sentence(self) -> None:
        wrong = self.wrong_problem()
        if wrong is None:
            return
        found: list[str] = []
        self.builder().check(self.run(problem=wrong), partial(_attempt, found))
        assert found, "check() must raise a ConfigError for wrong_problem(), but it accepts it."

    def test_trains_records_and_measures(self, tmp_path: Path) -> None:
        """Parameters change, each player weighs its losses, and every metric is measured on validation data."""
        module = self.module()
        before = [p.detach().clone() for p in module.parameters()]
        trainer = self.fit(module, tmp_path)
        assert any(not torch.equal(b, p) for b, p in zip(before, module.parameters(), strict=True)), (
            "Training must change parameters, but all of them are unchanged."
        )
        for name, player in module.players.items():
            weighed = player.weighed
            assert weighed is not None, f"Each player must weigh its losses, but player {name!r} has weighed nothing."
            assert bool(player.last.isfinite().all()), f"Weights must be finite, but they are {player.last.tolist()}."
        assert module.clock.step > 0, "`clock.step` must count steps, but it is 0 after training."
        missing = [m for m in module.problem.metrics if f"val/{m}" not in trainer.callback_metrics]
        assert not missing, f"Validation must log val/<metric> for each metric, but these are missing: {missing}."

    def test_the_same_seed_gives_the_same_parameters(self, tmp_path: Path) -> None:
        one, other = self.module(), self.module()
        self.fit(one, tmp_path / "one")
        self.fit(other, tmp_path / "other")
        assert _different(one, other) == [], (
            f"The same seed and data must give the same parameters, but these differ: {_different(one, other)}."
        )

    def test_a_resumed_run_goes_on_bit_for_bit(self, tmp_path: Path) -> None:
        """Resumes from the checkpoint of the first epoch, with a weighting that learns."""
        whole, cut = self.module("uncertainty"), self.module("uncertainty")
        self.fit(whole, tmp_path / "whole")
        trainer = self.fit(cut, tmp_path / "cut", stop_after=1)
        trainer.save_checkpoint(tmp_path / "cut.ckpt")
        again = self.module("uncertainty")
        self.fit(again, tmp_path / "again", checkpoint=tmp_path / "cut.ckpt")
        assert _different(whole, again) == [], (
            f"A resumed run must end with the same parameters, but these differ: {_different(whole, again)}."
        )

    def fit(
        self, module: RunModule, directory: Path, stop_after: int | None = None, checkpoint: Path | None = None
    ) -> pl.Trainer:
        """Set torch's seed and train ``module`` for :attr:`epochs` epochs on the CPU."""
        import pytorch_lightning as pl

        from autoloss.training.lightning.loaders import loader

        class Stop(pl.Callback):
            def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                trainer.should_stop = stop_after is not None and trainer.current_epoch + 1 >= stop_after

        data = module.problem.datasets(0)
        order = module.order(data["train"], 0)
        train: DataLoader[Any] = loader(data["train"], self.batch_size, 0, True, order=order)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        flags: dict[str, Any] = {"logger": False, "num_sanity_val_steps": 0, "callbacks": [Stop()], **quiet}
        trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=self.epochs, default_root_dir=directory, **flags)
        torch.manual_seed(0)
        trainer.fit(module, train, loader(data["val"], self.batch_size, 0, False), ckpt_path=checkpoint)
        return trainer


def _attempt(found: list[str], build: Any) -> Any:
    try:
        return build()
    except AutolossError as error:
        found.append(str(error))
        return None


def _constant(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _different(one: RunModule, other: RunModule) -> list[str]:
    mine, its = one.state_dict(), other.state_dict()
    return [
        key
        for key, value in mine.items()
        if isinstance(value, torch.Tensor) and not torch.equal(value.nan_to_num(0.125), its[key].nan_to_num(0.125))
    ]
