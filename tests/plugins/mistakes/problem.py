"""The mistakes of the page on problems, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoloss import Loss, Outputs, Problem, Term
from autoloss.core.clock import Clock
from autoloss.core.problem import Verdict
from autoloss.losses.mse import Mse
from autoloss.training.lightning.gan.player import GENERATOR, GanPlayer, PlayerOptions
from autoloss.training.lightning.gan.player_table import player_table
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from tests.plugins.mistakes.making import X, asked
from tests.trainers import quiet_trainer


class Curves(Problem):
    """What the problem of the page is, in short."""

    terms: Mapping[str, str | None] = {"sine": "mse", "cosine": "mse"}
    metrics = {"error": "min"}

    def __init__(self, given: Callable[[Tensor], Outputs] | None = None) -> None:
        self.given = given

    def datasets(self, seed: int) -> Any:
        raise NotImplementedError

    def network(self) -> nn.Module:
        return nn.Linear(4, 2)

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        assert self.given is not None
        return self.given(network(batch))

    def measure(self, outputs: Outputs) -> Any:
        return {}


class Unbranched(Curves):
    """Computes its terms from the features themselves."""


class Unfinished(Problem):
    """Has no methods."""


def terms(features: Tensor, **more: Any) -> Outputs:
    pair = {name: Term(x, torch.zeros_like(x)) for name, x in zip(("sine", "cosine"), features.unbind(1), strict=True)}
    return Outputs({**pair, **more})


def trained(problem: Problem, losses: Mapping[str, Loss], weighting: Any = "equal", **more: Any) -> None:
    """One step of a training."""
    module = MultiTaskModule(problem, losses, build_weighting(weighting), partial(torch.optim.SGD, lr=0.1), **more)
    trainer = quiet_trainer(max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(module, DataLoader(X, 8), DataLoader(X, 8))


def played(name: str, term: Any, loss: Loss) -> object:
    """The table of a generator's losses."""
    options = PlayerOptions({name: loss}, build_weighting("equal"), partial(torch.optim.SGD, lr=0.1))
    return player_table(GanPlayer(GENERATOR, [name], options), Outputs({name: term}), Clock(0, 0, 0.0), 8)


def means_its_metrics() -> None:
    class Meaning(Curves):
        """Takes the mean of a metric itself."""

        def measure(self, outputs: Outputs) -> Any:
            return {"error": outputs.term("sine").prediction.abs().mean()}

    problem = Meaning(terms)
    module = MultiTaskModule(problem, BOTH, build_weighting("equal"), partial(torch.optim.SGD, lr=0.1))
    with torch.no_grad():
        errors = [module.network(x)[:, 0].abs().mean() for x in (X[:6], X[6:])]
    trainer = quiet_trainer()
    (found,) = trainer.validate(module, DataLoader(X, 6), verbose=False)
    assert found["val/error"] == pytest.approx(float(sum(errors) / 2))  # of 6 samples and of 2, each counts as one


BOTH = {"sine": Mse(), "cosine": Mse()}
FIXED = torch.zeros(8)
NAMES = {"cosin": Term(FIXED, FIXED)}


MISTAKES: list[Callable[[], object]] = [
    lambda: trained(Curves(lambda features: terms(features, **NAMES)), BOTH),
    lambda: trained(Curves(terms), {"sine": Mse()}),
    lambda: trained(Curves(terms), BOTH, "my_unit_norm"),
    lambda: trained(Unbranched(terms), BOTH, anchor="fork"),
    lambda: trained(type("Empty", (Curves,), {"terms": {}})(), {}),
    lambda: Unfinished(),  # type: ignore[abstract]
    lambda: played("radius", Term(FIXED, FIXED), Mse()),
    lambda: played("adv", Verdict(FIXED, FIXED), Mse()),
    asked("problem=my_ring", "discriminator.losses.adv=gan_hinge"),
    asked("problem=my_ring", "module=multitask"),
    means_its_metrics,
]
