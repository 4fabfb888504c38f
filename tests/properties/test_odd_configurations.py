"""Odd parameters of everything registered, as the command line gives them: a clear error, or something that works."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import registry
from autoloss.core.schedules.pacing import PACINGS, parse_pacing
from autoloss.core.schedules.progressive import build
from autoloss.core.schedules.schedule import SCHEDULES, parse_schedule
from autoloss.testing import batches, streams
from autoloss.testing.sample_weighting_suite import follow as follow_samples
from autoloss.testing.samples import SAMPLES
from autoloss.testing.subject import follow
from autoloss.training.step.build import build_sample_weighting, build_weighting
from autoloss.training.step.penalties import Penalties
from tests.properties.odd import QUICK, REQUIRED, THOROUGH, refusal

NAMES = ("a", "b", "c")
NUMBERS = (0, 1, -1, 2, 10, 10**30, 2**62, 0.0, 0.5, 1.0, -1.5, 2.5, 1e-40, 1e-18, 1e-10, 1e10, 1e18, 1e30, -1e18)
NO_NUMBERS = (math.nan, math.inf, -math.inf, None, True, False)
TEXTS = ("", "a", "abc", "1", "nan", "linear(0,1)", "linear(0,nan)", "nobody:nothing", "../a", "ä\n'\"", "hard")
LISTS = ([], [1], [0.5, 2.0], [math.nan], ["a"], ["a", "a"], [None], [[1]], [{}], ["linear(0,1)", 1], [1e18, 1])
MAPPINGS = (
    {},
    {"a": 1},
    {"a": None},
    {"a": math.nan},
    {"a": -1},
    {"a": "x"},
    {"zzz": 1},
    {1: 2},
    {"a": [1]},
    {"a": 1e18},
)
ODD = (*NUMBERS, *NO_NUMBERS, *TEXTS, *LISTS, *MAPPINGS)
odd = st.one_of(*map(st.sampled_from, (NUMBERS, NO_NUMBERS, TEXTS, LISTS, MAPPINGS)))


def configured(kind, name):
    """The configuration of a component with an odd value for some of its parameters."""
    known = [key for key in defaults(registry.find(kind, name)) if key != "inner"]
    extra = {"weighting": ["wrap"], "sample_weighting": ["terms"], "penalty": ["factor", "on"]}.get(kind, [])
    keys = st.sampled_from([*known, *known, *known, *extra, "bogus"])
    drawn = st.dictionaries(keys, odd, min_size=1, max_size=2)
    return drawn.map(lambda parameters: {"name": name, **REQUIRED.get(name, {}), **parameters})


def weights(node):
    return follow(build_weighting(node).bind(NAMES), streams.stream(NAMES, 4))


def wrapped(node):
    options = {key: value for key, value in node.items() if key != "name"}
    return weights({"name": "uncertainty", "wrap": [{node["name"]: options}]})


def sample_weights(node):
    return follow_samples(build_sample_weighting(node).bind(batches.SIZE), batches.batches(4))


def losses(node):
    loss, found = build("loss", node), []
    loss.follow(0.5)
    for kind in loss.takes:
        for sample in SAMPLES.get(kind, ()):
            torch.manual_seed(0)
            prediction, target = sample(6)
            values = loss(prediction.requires_grad_(), target)
            found += [values.detach(), *torch.autograd.grad(values.sum(), prediction)]
    return found


def penalties(node):
    network = torch.nn.Linear(3, 2)
    name = node.pop("name")
    made = Penalties({name: node}).bind(network)
    made.follow(0.5)
    return [made.entries(network)[name].values]


def works(make, *given):
    """Whatever was ``given``, it is refused in a sentence, or all that is made of it is finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, refused = refusal(lambda: make(*given))
    assert refused or all(bool(x.isfinite().all()) for x in found), found


MAKERS = {
    "loss": losses,
    "penalty": penalties,
    "sample_weighting": sample_weights,
    "weighting": weights,
    "wrapper": wrapped,
}
COMPONENTS = [(kind, name) for kind in MAKERS for name in registry.names(kind) if name != "perceptual"]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
class TestParameters:
    @QUICK
    @given(data=st.data())
    def test_quick(self, kind, name, data):
        works(MAKERS[kind], data.draw(configured(kind, name)))

    @pytest.mark.slow
    @settings(THOROUGH, max_examples=100)
    @given(data=st.data())
    def test_thorough(self, kind, name, data):
        works(MAKERS[kind], data.draw(configured(kind, name)))


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_nodes(value):
    for node in (
        value,
        {"name": value},
        {"name": "mse", "bogus": value},
        {value: value} if isinstance(value, str) else {},
    ):
        for make in (weights, sample_weights, losses):
            works(make, node)
        works(weights, {"name": "equal", "wrap": [value]})
        works(weights, {"name": "equal", "wrap": {"clamp": value}})


def scheduled(parse, text):
    schedule = parse(text)
    return [torch.tensor([schedule(i / 50) for i in range(51)])]


number = st.sampled_from(["0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e30", "1e-40", "1e400", "", "x", "1_0", " 2 "])


@settings(QUICK, max_examples=100)
@given(
    parse=st.sampled_from([parse_schedule, parse_pacing]),
    name=st.sampled_from([*SCHEDULES, *PACINGS, "bogus", ""]),
    numbers=st.lists(number, max_size=5),
    form=st.sampled_from(["{}({})", " {} ( {} ) ", "{}({}", "{}[{}]", "{}(({}))", "{}({})x"]),
)
def test_schedules(parse, name, numbers, form):
    works(scheduled, parse, form.format(name, ",".join(numbers)))


@pytest.mark.parametrize("parse", [parse_schedule, parse_pacing])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_values_for_schedules(parse, value):
    works(scheduled, parse, value)
