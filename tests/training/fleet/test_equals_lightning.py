"""A member of a fleet equals the run alone: the module of ``autoloss train`` under Lightning, in float64."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from autoloss.training.lightning.loaders import HeldOut, loader
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.step.build import build_loss, build_weighting
from tests.training.fleet.equality import double  # noqa: F401 - a fixture
from tests.training.fleet.test_equals_alone import weightings
from tests.training.fleet.test_lookahead import AHEAD, name_of
from tests.training.fleet.trainings import BATCH, Three, assert_same, member, train_fleet

pytestmark = pytest.mark.usefixtures("double")
CLIP = 0.5


def adam(parameters, seed):
    return torch.optim.Adam(parameters, lr=0.01 * (1 + seed))


def under_lightning(problem, seed, weighting, epochs, accumulate):
    data = problem.datasets(0)
    torch.manual_seed(seed)
    module = MultiTaskModule(
        problem,
        {name: build_loss(loss) for name, loss in problem.terms.items() if loss},
        build_weighting(weighting),
        lambda parameters: adam(parameters, seed),
        held_out=HeldOut(data["val"], BATCH, seed),
    )
    trainer = pl.Trainer(
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=CLIP,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader(data["train"], BATCH, seed, shuffle=True))
    return SimpleNamespace(network=module.network, player=module.player)


def check(weighting, epochs, accumulate):
    from autoloss.training.fleet.clip import Clip

    problem = Three(missing=True)
    ours = [member(problem, seed, weighting, adam) for seed in (0, 1)]
    train_fleet(ours, [problem.datasets(0)["train"]] * 2, epochs, accumulate, Clip(norm=CLIP))
    theirs = [under_lightning(problem, seed, weighting, epochs, accumulate) for seed in (0, 1)]
    assert_same(ours, theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighting", ["gradnorm", *AHEAD], ids=name_of)
def test_the_module(weighting):
    check(weighting, 4, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighting", list(weightings()), ids=name_of)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_weighting_after_50_steps(weighting, accumulate):
    check(weighting, 17 * accumulate, accumulate)
