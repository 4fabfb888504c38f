"""Trainings whose precision is torch's default dtype: Lightning sets it around each step."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from autoloss.core.registry.lookup import registry
from autoloss.training.lightning.loaders import loader
from autoloss.training.lightning.modules.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from tests.trainers import quiet_trainer

WEIGHTINGS = ("equal", "gradnorm", "mgda", "lr_annealing", "balancer", "cagrad", "uncertainty", "famo")


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_are_learned_in_float32(weighting, precision):
    pl.seed_everything(0, verbose=False)
    problem = registry.build("problem", "two_digits")
    losses = {term: registry.build("loss", loss) for term, loss in problem.terms.items() if loss}
    module = MultiTaskModule(problem, losses, build_weighting(weighting), partial(torch.optim.SGD, lr=0.01))
    trainer = quiet_trainer(
        max_epochs=1, limit_train_batches=3, limit_val_batches=1, num_sanity_val_steps=0, precision=precision
    )
    data = problem.datasets(0)
    trainer.fit(module, loader(data["train"], 8, 0, True), loader(data["val"], 8, 0, False))
    state = {name: buffer for name, buffer in module.player.named_buffers() if buffer.is_floating_point()}
    assert {buffer.dtype for buffer in state.values()} == {torch.float32}
    assert all(buffer.isfinite().all() for buffer in state.values())
    assert torch.get_default_dtype() is torch.float32


def test_physics_in_double_precision(autoloss):
    short = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1")
    done = autoloss("train", "problem=klein_gordon", "weighting=lr_annealing", "trainer.precision=64-true", *short)
    assert done.returncode == 0, done.stderr
    assert "final weights" in done.stdout
