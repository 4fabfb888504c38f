"""What counts as a mistake where a gradient scaler lets gradients overflow now and then, and what does not."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.errors import NonFiniteError
from autoloss.core.registry.lookup import registry
from autoloss.core.table import Entry, LossTable
from autoloss.core.weighting import Weighting
from autoloss.training.lightning.gan.player import PlayerOptions
from autoloss.training.lightning.loaders import loader
from autoloss.training.lightning.modules.gan import GanModule
from autoloss.training.lightning.modules.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from autoloss.training.step.player import Player
from autoloss.weightings.equal import Equal

SCALE = torch.tensor(2.0**16)
SGD = partial(torch.optim.SGD, lr=0.01)


class Overflowing(Weighting):
    """Weights of gradients that were infinite in float16."""

    def forward(self, signals):
        return torch.full_like(signals.values, float("nan"))


def table(value=1.0):
    made = {name: torch.full((4,), value, requires_grad=True) for name in "ab"}
    return LossTable({name: Entry(values) for name, values in made.items()})


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_weights_that_overflow_under_a_scaler_are_left_to_the_scaler(policy):
    player = Player("ab", Overflowing(), on_nonfinite=policy)
    weighed = player.step(table(), Clock(0, 0, 0.0), SCALE)
    player.check()
    assert weighed is not None
    assert not weighed.total.isfinite()  # so are the gradients: the scaler skips the step
    assert player.nonfinite.skipped == 0
    assert player.last.tolist() == [1.0, 1.0]


def test_weights_that_overflow_without_a_scaler_are_an_error_or_skipped():
    with pytest.raises(NonFiniteError, match="Every weight must be finite, but that of loss 'a' is nan at step 3"):
        Player("ab", Overflowing()).step(table(), Clock(3, 0, 0.0))
    player = Player("ab", Overflowing(), on_nonfinite="skip")
    assert player.step(table(), Clock(3, 0, 0.0)) is None
    assert player.nonfinite.skipped == 1


def test_a_loss_that_is_not_finite_is_an_error_under_a_scaler_too():
    with pytest.raises(NonFiniteError, match="Every loss must be finite, but loss 'a' is inf at step 3"):
        Player("ab", Overflowing()).step(table(float("inf")), Clock(3, 0, 0.0), SCALE)


class Moves(pl.Callback):
    """Which batches moved the network."""

    def __init__(self):
        self.moved = []

    def on_train_start(self, trainer, module):
        self.before = nn.utils.parameters_to_vector(module.network.parameters()).detach()

    def on_train_batch_end(self, trainer, module, *rest):
        before, self.before = self.before, nn.utils.parameters_to_vector(module.network.parameters()).detach()
        self.moved.append(not torch.equal(before, self.before))


def built(name):
    problem = registry.build("problem", name)
    terms = {**problem.terms, **getattr(problem, "discriminator_terms", {})}
    return problem, {term: registry.build("loss", loss) for term, loss in terms.items() if loss}


def multitask():
    problem, losses = built("two_digits")
    return MultiTaskModule(problem, losses, build_weighting("imtl_g"), SGD)


def gan():
    problem, losses = built("digits_gan")
    losses["adv"] = registry.build("loss", problem.terms["adv"])
    of = [{term: losses[term] for term in terms} for terms in (problem.terms, problem.discriminator_terms)]
    generator, discriminator = PlayerOptions(of[0], build_weighting("imtl_g"), SGD), PlayerOptions(of[1], Equal(), SGD)
    return GanModule(problem, generator, discriminator)


@pytest.mark.parametrize("module", [multitask, gan])
def test_a_training_in_float16_goes_on_where_gradients_overflow(module):
    pl.seed_everything(0, verbose=False)
    module, moves = module(), Moves()
    # The scale overflows float16 at first; the scaler halves it at each step that it skips.
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**32))
    trainer = pl.Trainer(
        max_epochs=1,
        limit_train_batches=32,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[half],
        callbacks=[moves],
    )
    data = module.problem.datasets(0)
    trainer.fit(module, loader(data["train"], 8, 0, True), loader(data["val"], 8, 0, False))
    assert (moves.moved[0], moves.moved[-1]) == (False, True)
    assert module.player.last.isfinite().all()
