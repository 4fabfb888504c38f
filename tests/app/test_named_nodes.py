"""A component may be typed as a mapping, ``{name:focal,gamma:1}``: that is its name, and its parameters as keys."""

import pytest

from autoloss.app.composition import composed
from autoloss.app.hydra_app import split
from autoloss.app.overrides import rewritten
from autoloss.core.registry.lookup import registry

KEYS = {
    "loss": "losses.left",
    "weighting": "weighting",
    "sample_weighting": "sample_weighting",
    "problem": "problem",
    "module": "module",
}
SAME = {
    "losses.right={name:focal}": "losses.right=focal",
    "losses.right.name=focal": "losses.right=focal",
    "losses.right={name: focal, gamma: 1}": "losses.right=focal losses.right.gamma=1",
    "losses.right={focal:{gamma:linear(0,2)}}": "losses.right=focal losses.right.gamma=linear(0,2)",
    "losses.left={name:combined,losses:[cross_entropy,{focal:{gamma:1}}]}": "losses.left=[cross_entropy,{focal:{gamma:1}}]",
    "weighting={name:gradnorm,alpha:1,wrap:[ema]}": "weighting=gradnorm weighting.alpha=1 weighting.wrap=[ema]",
    "weighting={name:fixed,weights:{left:2,right:1,pixels:3}}": "weighting=fixed weighting.weights={left:2,right:1,pixels:3}",
    "sample_weighting={name:super_loss}": "sample_weighting=super_loss",
    "problem={name:noisy_digits,noise:0.1}": "problem=noisy_digits problem.noise=0.1",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, one.name) for kind in KEYS for one in registry.listings[kind]])
def test_every_name_may_stand_in_a_mapping(kind, name):
    assert rewritten([f"{KEYS[kind]}={{name:{name}}}"]) == rewritten([f"{KEYS[kind]}={name}"])


@pytest.mark.parametrize("typed", SAME)
def test_a_mapping_is_what_its_keys_are(typed):
    def config(*arguments):
        return composed("train", split(arguments)[1])

    assert config(typed) == config(*SAME[typed].split())
    assert config(typed) != config()


def test_a_mapping_may_be_one_choice_of_a_sweep():
    assert rewritten(["losses.left={name:focal},poly"]) == rewritten(["losses.left=focal,poly"])
    assert rewritten(["weighting={name:dwa},{name:gradnorm}"]) == rewritten(["weighting=dwa,gradnorm"])


def test_a_search_may_choose_a_loss_with_numbers_of_its_own(autoloss, tmp_path):
    few = ("trainer.max_epochs=1", "search.n_trials=3", "search.confirm=0", "search.keep=false")
    losses = "search.losses.left=[{name:focal,gamma:3},{poly:{e1:2}}]"
    done = autoloss("search", *few, losses, "search.weightings=[fixed]", "name=mine")
    assert done.returncode == 0, done.stderr
    assert "failed:" not in done.stdout
    assert "{name:focal,gamma:3}" in (tmp_path / "outputs/search/mine/leaderboard.csv").read_text()
