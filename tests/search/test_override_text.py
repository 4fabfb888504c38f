"""What is written for Hydra is read back as it was."""

import random

import pytest
from hydra.core.override_parser.types import QuotedString
from omegaconf import OmegaConf

from autoloss.app.overrides import parse, rewritten
from autoloss.core.registry.lookup import registry
from autoloss.search.output import overrides
from autoloss.search.override_text import written
from autoloss.search.space import Candidate

NAMES = (
    *("1", "KL(q||p)", "a,b", "true", "seg.fg", "b/c", "with blank", "é", "it's", 'q"', "a\\", "\\'", "a\\'b", " lead"),
    *("${seed}", "\\${oc.env:HOME}", "a\\\\${", "$", "${"),
    *("null", "NaN", "1e5", "{x}", "[y]", "linear(0,1)", "a=b", "日本", "-", "tab\t", "a:b", "#c", "%", "pairs", "inf"),
)


def plain(value):
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def read(value):
    found = plain(parse(rewritten([f"weighting.weights={written(value)}"]))[0].value())
    found = OmegaConf.to_container(OmegaConf.create({"read": found}), resolve=True)["read"]
    return dict(found["pairs"]) if isinstance(found, dict) and isinstance(found.get("pairs"), list) else found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_back(name):
    assert read(name) == name
    assert read({name: 0.5, "other": 1.5}) == {name: 0.5, "other": 1.5}


def test_any_text_is_read_back():
    draw = random.Random(0)
    for _ in range(1000):
        name = "".join(draw.choice("a1'\"\\ ,:=${}[]()|é.~/") for _ in range(draw.randint(1, 7)))
        assert read(name) == name
        assert read({name: 0.5}) == {name: 0.5}


@pytest.mark.parametrize("value", [True, False, None, 1, 0.5, 1e-7])
def test_other_values_keep_their_kind(value):
    assert read(value) == value
    assert type(read(value)) is type(value)


def test_the_weights_of_a_candidate_reach_the_weighting():
    weights = {name: 0.5 + i for i, name in enumerate(NAMES)}
    line = rewritten(overrides(Candidate({"name": "fixed", "weights": weights})))[1]
    given = OmegaConf.create({"read": plain(parse([line])[0].value())})
    fixed = registry.load("weighting", "fixed")(OmegaConf.to_container(given, resolve=True)["read"])
    assert fixed.given == weights
