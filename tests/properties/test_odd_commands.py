"""Odd command lines for ``autoloss train``: a configuration that can be trained, or a clear error; never a traceback."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.app.composition import composed
from autoloss.app.hydra_app import split
from autoloss.app.prepare import prepare
from autoloss.app.run_names import directory_name
from tests.properties.odd import QUICK, THOROUGH, refusal

KEYS = (
    "accelerator anchor base base.left batch_size bogus ckpt module.pacing debug experiment groups groups.g held_out"
    " held_out.implicit held_out.primary held_out.share losses losses.left losses.left.gamma losses.bogus"
    " lr_schedule lr_schedule._target_ module name on_nonfinite optimizer optimizer._target_ optimizer.lr penalties"
    " penalties.sparsity penalties.sparsity.on plateau plateau.metric plateau.patience problem problem.name record"
    " record.every sample_weighting sample_weighting.terms seed test threads trainer trainer.max_epochs unbalanced"
    " weighting weighting.lr weighting.name weighting.wrap checkpoint checkpoint.every workers fresh"
)
VALUES = (
    "", "0", "1", "-1", "1e30", "1e-40", "nan", "inf", "null", "true", "false", "abc", "two_digits", "gradnorm", "mse",
    "[]", "[1]", "[a,b]", "[null]", "[left,right]", "{}", "{a:1}", "{1:2}", "{left:1}", "{left:abc}", "{left:[left]}",
    "{name:gradnorm,lr:x}", "linear(0,1)", "root(x)", "a,b", "'", '"', "\\", "../../etc", "/", "ä", "日本", "a\nb", "a b",
    "${seed}", "${bogus}", "${oc.env:HOME}", "${", "???", "nobody:nothing", "os:system", "torch.optim.Adam", "last",
    "[clamp]", "[{clamp:1}]", "[{clamp:{low:x}}]", "tabular", "digits_gan", "0x10", "1_000", "99999999999999999999",
)  # fmt: skip
TYPED = st.characters(exclude_characters="\0", exclude_categories=["Cs"])  # no argument holds a zero
key = st.sampled_from(KEYS.split()) | st.text(TYPED, max_size=6)
value = st.sampled_from(VALUES) | st.text(TYPED, max_size=8)
override = st.builds(
    lambda sign, k, equals, v: f"{sign}{k}{equals}{v}",
    st.sampled_from(("", "", "", "", "+", "++", "~", "~~")),
    key,
    st.sampled_from(("=", "=", "=", "=", "=", "==", ":", " = ", "")),
    value,
)
commands = st.lists(override, min_size=1, max_size=3)
commands = commands.filter(lambda given: not any(one.startswith("-") for one in given))


def understood(arguments):
    """What ``autoloss train`` does before it trains: compose, build every component, name the directory."""

    def compose():
        _, overrides = split(arguments)
        config = composed("train", overrides)
        prepare(config)
        return directory_name([config], overrides)

    name, refused = refusal(compose)
    assert refused or (name not in ("", ".", "..") and "/" not in name), name


@settings(QUICK, max_examples=10)
@given(arguments=commands)
def test_quick(arguments):
    understood(arguments)


@pytest.mark.slow
@settings(THOROUGH, max_examples=500)
@given(arguments=commands)
def test_thorough(arguments):
    understood(arguments)
