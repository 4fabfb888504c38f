"""A fleet warns of what a run alone warns of."""

import warnings

import pytest

from autoloss.core.problem import Term
from autoloss.core.table import Entry
from tests.training.fleet.trainings import MEMBERS, Three, member, train_alone, train_fleet


class Strays(Three):
    """From its third batch on, `code` does not reach the anchor; a mask leaves no sample of `size`."""

    def outputs(self, network, batch):
        found = super().outputs(network, batch)
        self.calls += 1
        if self.calls > 2:
            found.terms["code"] = Entry(network["size"].weight.square().mean())
        size = found.terms["size"]
        found.terms["size"] = Term(size.prediction, size.target, mask=batch["x"][:, 0] > 9)
        return found


class Alone(Three):
    """The contrastive loss has a batch without a pair."""

    terms = {"kind": "triplet", "size": "mse", "code": None}

    def outputs(self, network, batch):
        found = super().outputs(network, batch)
        features = network["trunk"](batch["x"])
        found.terms["kind"] = Term(features, batch["kind"] * 0 + (batch["x"][:, 0] * 1e6).long())
        return found


def said(train):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train()
    texts = [str(one.message) for one in found]
    return [text for text in texts if "should" in text or "needs two" in text]


@pytest.mark.parametrize("kind", [Strays, Alone])
@pytest.mark.filterwarnings("ignore")
def test_the_same_warnings(kind):
    data = kind().datasets(0)["train"]
    losses = {"kind": kind.terms["kind"]}
    problems = [kind() for _ in range(2)]
    fleet = said(
        lambda: train_fleet(
            [member(problems[0], seed, "gradnorm", losses=losses) for seed in range(MEMBERS)],
            [data] * MEMBERS,
            epochs=1,
        )
    )
    alone = said(lambda: train_alone(member(problems[1], 0, "gradnorm", losses=losses), data, 0, epochs=1))
    assert alone
    assert set(fleet) == set(alone)
