"""What is set on a copy of a composition is what Hydra composes."""

import pytest

from autoloss.app.composition import composed
from autoloss.app.overrides import rewritten
from autoloss.core.errors import AutolossError

LISTS = [
    ["weighting=uncertainty", "weighting.lr=0.02"],
    ["weighting=uncertainty", "weighting.lr=0.04"],
    ["weighting=fixed", "weighting.weights={left:0.5,right:1,pixels:1.5}"],
    ["weighting=fixed", "weighting.weights={left:0.1,right:1,pixels:1.5}"],
    ["weighting=gradnorm", "weighting.wrap=[normalise]", "seed=7", "test=True"],
    ["losses.left=focal", "losses.left.gamma=1.5"],
    ["losses.left=focal", "losses.left.gamma=2"],
    ["losses.left=[focal,cross_entropy]", "base.left=0.5"],
    ["trainer.max_epochs=5", "+trainer.overfit_batches=2", "record.every=3"],
    ["optimizer.lr=1", "optimizer={lr: 3}"],
    ["optimizer={lr: 3}", "optimizer.lr=1"],
    ["optimizer.lr=1", "optimizer=sgd"],
    ["optimizer.lr=${seed}", "seed=4"],
    ["~trainer.log_every_n_steps", "seed=5"],
    ["base=null", "base.left=2"],
    ["++base.left=2", "base=null"],
    ["weighting.lr=0.1"],
    ["weigthing=dwa"],
    ["weighting=uncertainty", "weighting.rl=0.1"],
    ["weighting=uncertainty", "weighting.lr=0.1,0.2"],
    ["seed=1,2"],
    ["seed"],
    ["problem=tabular", "problem.csv=a.csv", "losses.a=mse", "losses.a.reduction=1"],
    ["experiment=left_right", "weighting=uncertainty", "weighting.lr=0.2"],
    ["weighting@discriminator.weighting=uncertainty", "problem=digits_gan"],
]


def found(overrides, *kept):
    try:
        return composed("train", overrides, [], *kept)
    except AutolossError as error:
        return str(error)


def test_a_copy_has_what_hydra_composes_in_any_order():
    kept = {}
    for overrides in LISTS:
        whole = rewritten(overrides)
        if not any(one.startswith("problem=") for one in overrides):
            whole = ["problem=two_digits", *whole]
        expected = found(whole)
        assert found(whole, kept) == expected
        assert found(whole, kept) == expected  # a copy: what was set before is not in it
    assert 8 < len(kept) < len(LISTS)


@pytest.mark.parametrize("key", ["seed", "weighting.lr"])
def test_values_alone_compose_nothing_again(key, monkeypatch):
    kept = {}
    base = ["problem=two_digits", "weighting=uncertainty"]
    first = found([*base, f"{key}=1"], kept)
    monkeypatch.setattr("autoloss.app.composition.compose", None)
    second = found([*base, f"{key}=2"], kept)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first != second
