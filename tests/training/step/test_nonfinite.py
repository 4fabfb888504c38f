"""What counts as a mistake where a gradient scaler lets gradients overflow now and then, and what does not."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.errors import NonFiniteError
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.registry.lookup import registry
from autoloss.core.table import Entry, LossTable
from autoloss.core.weighting import Weighting
from autoloss.training.balancer import Balancer
from autoloss.training.lightning.gan.player import PlayerOptions
from autoloss.training.lightning.loaders import loader
from autoloss.training.lightning.modules.gan import GanModule
from autoloss.training.lightning.modules.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from autoloss.training.step.nonfinite import LEAST_SCALE, PATIENCE
from autoloss.training.step.player import Player
from autoloss.weightings.equal import Equal
from tests.trainers import quiet_trainer
from tests.weightings.test_conformance import REQUIRED

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


COMPARE_GRADIENTS = [name for name in registry.names("weighting") if registry.load("weighting", name).needs & GRADIENTS]
# Kernels are not measured in a fork.
IN_A_FORK = [name for name in COMPARE_GRADIENTS if Need.KERNEL not in registry.load("weighting", name).needs]


def comparing(name, **options):
    given = {"ntk": {"every": 1}, "autoscale": {"every": 1}, **REQUIRED}
    return Player("abc", registry.build("weighting", name, **given.get(name, {})), **options)


def steep(player, forked=False, bad=True):
    """A batch whose losses are finite; the gradient of b at the features, a root at 0, is not."""
    features = torch.zeros(4, 2, requires_grad=True) if bad else torch.ones(4, 2, requires_grad=True)
    copies = player.fork(features * 1) if forked else dict.fromkeys("abc", features)
    losses = {"a": (copies["a"] - 1).square().sum(1), "b": copies["b"].abs().sum(1).sqrt() + 1}
    losses["c"] = (copies["c"] - 2).square().sum(1)
    return LossTable(losses, copies if forked else features)


GRADIENT = "gradient at the anchor must be finite, but that of loss 'b' is not at step 3"


@pytest.mark.parametrize("name", COMPARE_GRADIENTS)
def test_a_gradient_that_is_not_finite_is_an_error_that_names_loss_and_step(name):
    with pytest.raises(NonFiniteError, match=GRADIENT):
        comparing(name).step(steep(comparing(name)), Clock(3, 0, 0.0))


@pytest.mark.parametrize("policy", ["raise", "skip"])
@pytest.mark.parametrize("name", IN_A_FORK)
def test_in_a_fork_it_is_an_error_in_the_backward(name, policy):
    player = comparing(name, on_nonfinite=policy)
    weighed = player.step(steep(player, forked=True), Clock(3, 0, 0.0))
    with pytest.raises(NonFiniteError, match=GRADIENT):
        weighed.total.backward()


@pytest.mark.parametrize("name", COMPARE_GRADIENTS)
def test_a_batch_with_such_a_gradient_is_skipped_on_request(name):
    player = comparing(name, on_nonfinite="skip")
    assert player.step(steep(player), Clock(3, 0, 0.0)) is None
    assert player.nonfinite.skipped == 1
    assert player.step(steep(player, bad=False), Clock(4, 0, 0.0)) is not None
    assert player.nonfinite.skipped == 1


@pytest.mark.parametrize("name", COMPARE_GRADIENTS)
def test_under_a_scaler_only_what_lasts_is_said(name):
    player = comparing(name)
    for _ in range(PATIENCE):
        weighed = player.step(steep(player), Clock(3, 0, 0.0), SCALE)
        assert not weighed.total.isfinite()
        player.forget()
    player.step(steep(player, bad=False), Clock(3, 0, 0.0), SCALE)
    for _ in range(PATIENCE):
        player.step(steep(player), Clock(3, 0, 0.0), SCALE)
        player.forget()
    with pytest.raises(NonFiniteError, match=GRADIENT):
        player.step(steep(player), Clock(3, 0, 0.0), SCALE)
    with pytest.raises(NonFiniteError, match=GRADIENT):
        comparing(name).step(steep(player), Clock(3, 0, 0.0), torch.tensor(LEAST_SCALE))


@pytest.mark.parametrize("name", IN_A_FORK)
def test_under_a_scaler_a_fork_raises_nothing_at_first(name):
    player = comparing(name)
    weighed = player.step(steep(player, forked=True), Clock(3, 0, 0.0))
    (weighed.total * SCALE).backward()
    player.check()


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("weighting", ["equal", "gradnorm", "balancer", "mgda", {"name": "vqgan", "adversarial": "b"}])
def test_a_training_in_float16_does_not_stand_still_where_the_probe_overflows(weighting, forked):
    """The gradients at the features overflow at the scaler's first factor, whatever the weights are."""
    torch.manual_seed(0)
    trunk, head = nn.Linear(4, 8), nn.Linear(8, 2)
    parameters = [*trunk.parameters(), *head.parameters()]
    balancer = Balancer("ab", weighting)
    optimizer, scaler = torch.optim.SGD(parameters, lr=1e-4), torch.amp.GradScaler("cpu")
    for step in range(60):
        if step == 50:
            before = nn.utils.parameters_to_vector(parameters).detach()
        with torch.autocast("cpu", dtype=torch.float16):
            features = trunk(torch.randn(8, 4))
            anchor = balancer.fork(features) if forked else features
            a, b = (head(anchor[name] if forked else anchor)[:, i].float() for i, name in enumerate("ab"))
        main = 0.01 if isinstance(weighting, dict) else 10
        losses = {"a": a.square().sum() * main, "b": b.abs().sum() * 10}
        total = balancer(losses, anchor=anchor, scale=scaler.scale(torch.ones(())))
        optimizer.zero_grad()
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() < 2.0**16
    assert not torch.equal(before, nn.utils.parameters_to_vector(parameters))


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
    trainer = quiet_trainer(
        max_epochs=1,
        limit_train_batches=32,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        plugins=[half],
        callbacks=[moves],
    )
    data = module.problem.datasets(0)
    trainer.fit(module, loader(data["train"], 8, 0, True), loader(data["val"], 8, 0, False))
    assert (moves.moved[0], moves.moved[-1]) == (False, True)
    assert module.player.last.isfinite().all()


class Inverse(Weighting):
    """Has no weight for a loss of 0."""

    def forward(self, signals):
        return 1 / signals.values


def test_a_weight_that_overflows_with_a_loss_of_0_names_that_loss_and_the_remedy():
    balancer = Balancer(["a", "b"], Inverse())
    balancer({"a": torch.ones(()), "b": torch.ones(())})
    with pytest.raises(NonFiniteError, match=r"not be 0 for long, but loss 'b' is, .* inf at step 1\. Give None where"):
        balancer({"a": torch.tensor(1e-45), "b": torch.zeros(())})
    with pytest.raises(NonFiniteError, match="Every weight must be finite, but that of loss 'a'"):
        Balancer(["a", "b"], Inverse())({"a": torch.tensor(1e-45), "b": torch.ones(())})
