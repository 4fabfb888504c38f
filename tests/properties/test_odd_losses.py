"""Odd predictions, targets and masks, thrown at every registered loss: a clear error, or values that tell the truth."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.core.registry.lookup import registry
from autoloss.core.schedules.progressive import build
from autoloss.testing.samples import SAMPLES
from tests.properties.odd import ODD, QUICK, REQUIRED, THOROUGH, refusal

USUAL, LARGE = 1e4, 1e10  # up to the first size everything must be finite, up to the second nothing NaN
CLASSES = (-100, -1, 0, 1, 4, 5, 10**6)
DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64)
# What a loss does not look at cannot spoil its value.
BLIND = {
    "entropy",
    "gan_hinge",
    "least_squares",
    "minimax",
    "non_saturating",
    "total_variation",
    "triplet",
    "wasserstein",
}
PATTERNS = ("one", "row", "all", "scale")

oddities = st.tuples(
    st.sampled_from(["prediction", "target"]), st.sampled_from(PATTERNS), st.sampled_from(ODD), st.sampled_from(CLASSES)
)
shapes = st.sampled_from(
    [
        lambda x: x.squeeze(),
        lambda x: x.flatten(),
        lambda x: x.flatten(1) if x.dim() > 1 else x,
        lambda x: x.unsqueeze(-1),
        lambda x: x.unsqueeze(0),
        lambda x: x[:1],
        lambda x: x[:0],
        lambda x: x[..., :1],
        lambda x: x[..., :0],
        lambda x: torch.cat([x, x]),
        lambda x: x.mT if x.dim() > 1 else x,
        lambda x: x.sum(),
    ]
)


def spoilt(tensor, pattern, value, label):
    """``tensor`` with an odd value, or (of whole numbers) an odd label, somewhere."""
    tensor, put = tensor.clone(), value if tensor.is_floating_point() else label
    if pattern == "scale" and tensor.is_floating_point():
        return tensor * value
    if tensor.numel():
        view = tensor.view(-1) if pattern == "one" else tensor
        view[slice(None) if pattern == "all" else 0] = put
    return tensor


def values_of(loss, prediction, target, mask):
    """The values and the gradient of their sum, or ``None`` for a clear error."""
    prediction = prediction.requires_grad_(prediction.is_floating_point())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, refused = refusal(lambda: loss.masked(prediction, target, mask))
    if refused:
        return None
    assert values.shape == (len(prediction),), (values.shape, prediction.shape, target.shape)
    chosen = values if mask is None else values[mask]
    (gradient,) = torch.autograd.grad(chosen.sum(), prediction, allow_unused=True)
    return chosen.detach(), torch.zeros(()) if gradient is None else gradient


def tried(name, kind, draw, batch, odd, mask):
    """Whatever stands in the data, a loss gives finite values of what is finite, and says of what is not."""
    loss = build("loss", {"name": name, **REQUIRED.get(name, {})})
    torch.manual_seed(0)
    prediction, target = SAMPLES[kind][draw % len(SAMPLES[kind])](batch)
    where, pattern, value, label = odd
    if where == "prediction":
        prediction = spoilt(prediction, pattern, value, label)
    else:
        target = spoilt(target, pattern, value, label)
    here = None if mask is None else torch.tensor(mask[:batch], dtype=torch.bool)
    found = values_of(loss, prediction, target, here)
    if found is None:
        return
    values, gradient = found
    looked = [prediction.detach()] if name in BLIND else [prediction.detach(), target]
    sizes = [float(x.abs().max()) for x in looked if x.is_floating_point() and x.numel()]
    if all(bool(x.isfinite().all()) for x in looked):
        largest = max(sizes, default=0.0)
        assert largest > LARGE or not values.isnan().any(), values
        assert largest > USUAL or values.isfinite().all(), values
        assert not values.isfinite().all() or gradient.isfinite().all(), gradient
    if kind != "embeddings" or (batch == 6 and here is None and where == "prediction"):  # others may be in no pair
        lost = torch.stack([x.isnan().view(batch, -1).any(1) for x in looked if batch]).any(0) if batch else here
        assert not batch or not values[lost if here is None else lost[here]].isfinite().any(), (values, lost)


def reshaped(name, kind, draw, change, dtypes, both):
    """Whatever shape or type the data have, a loss gives [B] or a clear error."""
    loss = build("loss", {"name": name, **REQUIRED.get(name, {})})
    torch.manual_seed(0)
    prediction, target = SAMPLES[kind][draw % len(SAMPLES[kind])](6)
    prediction = change(prediction.to(dtypes[0] or prediction.dtype))
    target = (change if both else lambda x: x)(target.to(dtypes[1] or target.dtype))
    values_of(loss, prediction.detach(), target, None)


CASES = [
    (name, kind)
    for name in registry.names("loss")
    if name != "perceptual"  # it needs a network
    for kind in build("loss", {"name": name, **REQUIRED.get(name, {})}).takes
    if kind in SAMPLES
]
masks = st.none() | st.lists(st.booleans(), min_size=6, max_size=6)
dtypes = st.tuples(*[st.none() | st.sampled_from(DTYPES)] * 2)
VALUES = {"draw": st.integers(0, 1), "batch": st.sampled_from([0, 1, 2, 6]), "odd": oddities, "mask": masks}
SHAPES = {"draw": st.integers(0, 1), "change": shapes, "dtypes": dtypes, "both": st.booleans()}


@pytest.mark.parametrize(("name", "kind"), CASES)
class TestLosses:
    @QUICK
    @given(**VALUES)
    def test_odd_values(self, name, kind, **drawn):
        tried(name, kind, **drawn)

    @QUICK
    @given(**SHAPES)
    def test_odd_shapes(self, name, kind, **drawn):
        reshaped(name, kind, **drawn)

    @pytest.mark.slow
    @settings(THOROUGH, max_examples=100)
    @given(**VALUES)
    def test_odd_values_thoroughly(self, name, kind, **drawn):
        tried(name, kind, **drawn)

    @pytest.mark.slow
    @settings(THOROUGH, max_examples=100)
    @given(**SHAPES)
    def test_odd_shapes_thoroughly(self, name, kind, **drawn):
        reshaped(name, kind, **drawn)


def penalised(name, entries, size):
    """A penalty of finite parameters is finite and at least 0, and one of others is not finite."""
    tensors = [torch.tensor(row).view(2, 2).requires_grad_() for row in entries]
    value = build("penalty", name)(tensors)
    gradients = torch.autograd.grad(value, tensors)
    largest = max(float(t.detach().abs().nan_to_num(torch.inf).max()) for t in tensors)
    assert largest < torch.inf or not value.isfinite(), value
    if largest <= size:
        assert value.isfinite(), value
        assert value >= 0, value
        assert all(bool(g.isfinite().all()) for g in gradients), gradients


@pytest.mark.parametrize("name", registry.names("penalty"))
@settings(QUICK, max_examples=30)
@given(entries=st.lists(st.lists(st.sampled_from(ODD), min_size=4, max_size=4), min_size=1, max_size=3))
def test_penalties(name, entries):
    penalised(name, entries, USUAL)
