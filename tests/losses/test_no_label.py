"""What has no label is absent: it is not a loss of 0."""

import warnings

import pytest
import torch

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, EmptySelectionWarning, LabelError
from autoloss.core.loss import FunctionLoss, Loss, per_sample
from autoloss.core.problem import Outputs, Term
from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.core.table import Entry, LossTable
from autoloss.losses.combined import Combined
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.mse import Mse
from autoloss.training.balancer import Balancer
from autoloss.training.step.build import build
from autoloss.training.step.entries import table_of
from autoloss.training.step.player import Player

IGNORING = [one.spelling for one in registry.listings["loss"] if "ignore_index" in defaults(one)]
SHAPES = {"classes": (), "pixels": (4, 4)}


def drawn(shape: tuple[int, ...], batch: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, 5, *shape, generator=generator)
    return logits, torch.randint(0, 5, (batch, *shape), generator=generator)


def reduced(values: torch.Tensor | Entry) -> tuple[float, int]:
    found = LossTable.of({"a": values}).reduced(["a"])
    return float(found.values[0]), int(found.counts[0])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("ignored", [-100, 255, 0])
@pytest.mark.parametrize("name", [*IGNORING, "combined"])
def test_samples_without_a_label_are_absent(name: str, ignored: int, shape: tuple[int, ...]) -> None:
    inside = {"losses": [{"name": one, "ignore_index": ignored} for one in ("cross_entropy", "dice")]}
    loss = build("loss", {"name": name, **(inside if name == "combined" else {"ignore_index": ignored})})
    logits, labels = drawn(shape)
    labels = labels.clamp(min=1)  # 0 is a label to ignore here
    expected = float(loss(logits[:2], labels[:2]).detach().mean())
    labels[2:] = ignored
    values = loss(logits.requires_grad_(), labels)
    mean, count = reduced(values)
    assert (mean, count) == (pytest.approx(expected, rel=1e-6), 2)
    assert reduced(Entry(values)) == (mean, count)
    assert reduced(Entry(values, mask=torch.arange(8) == 1)) == (pytest.approx(float(values[1].detach())), 1)
    assert not values[2:].any()
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    assert gradient.isfinite().all()
    assert not gradient[2:].any()


def test_a_mask_of_ones_own_leaves_out_more_and_brings_nothing_back() -> None:
    logits, labels = drawn(())
    labels[4:] = -100
    values = CrossEntropy(ignore_index=-100)(logits, labels)
    mask = torch.arange(8) >= 2
    expected = float(values[2:4].mean())
    assert reduced(Entry(values, mask)) == (pytest.approx(expected), 2)
    samples, present = Entry(values, mask).samples()
    assert present.tolist() == [False] * 2 + [True] * 2 + [False] * 4
    assert torch.equal(samples[present], values[2:4])
    assert reduced(_table(Term(logits, labels, mask), CrossEntropy(ignore_index=-100)).entry("a"))[1] == 2


@pytest.mark.parametrize("name", IGNORING)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_an_image_without_labels_costs_nothing(name: str, smooth: float) -> None:
    known = defaults(registry.find("loss", name))
    more = {"smooth": smooth} if "smooth" in known else {}
    logits, labels = drawn((4, 4))
    labels[:] = 255
    values = build("loss", {"name": name, "ignore_index": 255, **more})(logits, labels)
    assert not values.any()
    assert reduced(values) == (0.0, 0)


def test_the_mean_is_that_of_torch() -> None:
    logits, labels = drawn(())
    labels[3:] = -100
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100)
    assert torch.allclose(
        Balancer(["a"], "equal")({"a": CrossEntropy(ignore_index=-100)(logits, labels)}), expected, rtol=1e-6
    )


def test_a_loss_without_any_label_is_absent_and_learns_nothing() -> None:
    logits, labels = drawn(())
    labels[:] = -100
    balancer = Balancer(["a", "b"], "uncertainty")
    before = {name: value.clone() for name, value in balancer.player.weighting.state_dict().items()}
    with pytest.warns(EmptySelectionWarning, match="left none"):
        balancer({"a": CrossEntropy(ignore_index=-100)(logits, labels), "b": logits.square().mean(1)})
    assert balancer.weights["a"] == 1.0
    for name, value in balancer.player.weighting.state_dict().items():
        if value.dim() == 1 and len(value) == 2:
            assert torch.equal(value[0], before[name][0]), name


def test_a_loss_of_ones_own_says_what_is_absent_by_per_sample() -> None:
    class Own(Loss):
        def forward(self, prediction, target):
            return per_sample((prediction - target.nan_to_num()).abs(), ~target.isnan())

    values = Own()(torch.ones(3, 2), torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan], [3.0, 5.0]]))
    assert reduced(values) == (pytest.approx((1 + 3) / 2), 2)


@pytest.mark.parametrize("rule", registry.names("sample_weighting"))
def test_a_sample_without_a_label_is_not_easy(rule: str) -> None:
    """The rule gives the labelled samples the weights that it gives them alone."""
    logits, labels = drawn(())
    labels[4:] = -100

    def weights(rows: slice) -> torch.Tensor:
        torch.manual_seed(0)
        balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=8)
        balancer._around.within = True
        samples = balancer.player.samples
        values = CrossEntropy(ignore_index=-100)(balancer_temper(balancer, logits[rows], rows, labels), labels[rows])
        if samples is None:
            return values[:4]
        if balancer.player.foresees:
            samples.foresee({"a": torch.ones(len(values))})
        entry = Entry(values, labels=labels[rows].clamp(min=0))
        keys = {"weight": torch.arange(8.0), "level": 0.2 * torch.arange(1.0, 9.0), "time": torch.arange(8.0) / 8}
        table = LossTable({"a": entry}, index=torch.arange(8)[rows], keys={key: of[rows] for key, of in keys.items()})
        return samples.weigh(table, Clock(0, 0, 0.5, 0))[1][0].weights[:4]

    def balancer_temper(balancer, logits, rows, labels):
        return balancer.temper("a", logits, index=torch.arange(8)[rows], labels=labels[rows].clamp(min=0))

    assert torch.allclose(weights(slice(0, 8)), weights(slice(0, 4)), rtol=1e-6)


def test_parts_without_a_label_leave_the_other_parts() -> None:
    """cross_entropy ignores 0 (the background), dice does not."""
    logits, labels = drawn((4, 4))
    labels[3:] = 0
    parts = [{"name": "cross_entropy", "ignore_index": 0}, "dice"]
    entropy, overlap = (build("loss", one)(logits, labels) for one in parts)
    for rule, together in (("average", 0.5 * (entropy + overlap)), ("product", entropy * overlap)):
        loss = Combined(parts, rule)
        assert loss.ignore_index is None
        assert torch.allclose(loss(logits, labels), torch.where(torch.arange(8) < 3, together, overlap))
        assert reduced(loss(logits, labels))[1] == 8


def _table(term: Term, loss: Loss) -> LossTable:
    return table_of(Outputs({"a": term}), {"a": loss}, Player(["a"], build("weighting", "equal")), Clock(0, 0, 0.0, 0))


def test_nan_targets_may_mean_no_label() -> None:
    prediction = torch.randn(4, 2, requires_grad=True)
    target = torch.randn(4, 2)
    target[1:3] = torch.nan
    table = _table(Term(prediction, target, nan_is_absent=True), Mse())
    total = table.reduced(["a"])
    (gradient,) = torch.autograd.grad(total.scalars[0], prediction)
    rows = torch.tensor([0, 3])
    assert torch.allclose(total.values[0], (prediction - target)[rows].square().mean())
    assert gradient.isfinite().all()
    assert not gradient[1:3].any()
    masked = _table(Term(prediction, target, torch.tensor([True, True, False, False]), nan_is_absent=True), Mse())
    assert int(masked.reduced(["a"]).counts[0]) == 1
    assert _table(Term(prediction, target), Mse()).reduced(["a"]).values.isnan().all()


def test_a_target_that_is_partly_nan_is_an_error() -> None:
    with pytest.raises(LabelError, match="NaN for all of a sample or for none"):
        _table(Term(torch.zeros(2, 2), torch.tensor([[0.0, torch.nan], [0.0, 1.0]]), nan_is_absent=True), Mse())


def test_labels_to_ignore_are_no_class_of_a_sample_weighting() -> None:
    logits, labels = drawn(())
    labels[4:] = -100
    entry = _table(Term(logits, labels), CrossEntropy(ignore_index=-100)).entry("a")
    assert entry is not None
    assert entry.labels is not None
    assert int(entry.labels.min()) >= 0


@pytest.mark.parametrize("number", [0, 0.0, 1.5, True])
def test_a_plain_number_for_a_loss_says_what_to_pass(number: float) -> None:
    balancer = Balancer(["a", "b"], "equal")
    with pytest.raises(ConfigError, match=r"tensor, or None where .* 'b' is .*\{'b': None\}"):
        balancer({"a": torch.ones(3), "b": number})
    with pytest.raises(ConfigError, match="tensor, or None"):
        balancer({"a": torch.ones(3), "b": Entry(number)})


def test_losses_without_names_and_complex_losses_are_one_sentence() -> None:
    balancer = Balancer(["a", "b"], "equal")
    with pytest.raises(ConfigError, match="Losses must come by name"):
        balancer([torch.ones(()), torch.ones(())])
    with pytest.raises(ConfigError, match="real numbers"):
        balancer({"a": torch.ones((), dtype=torch.cfloat), "b": torch.ones(())})


@pytest.mark.parametrize("weighting", registry.names("weighting"))
def test_every_weighting_takes_a_loss_that_is_all_ignored(weighting: str) -> None:
    needed = {"ol_aux": {"main": "b"}, "gradient_cosine": {"main": "b"}, "vqgan": {"adversarial": "a"}}
    given_by = {"name": weighting, **needed.get(weighting, {})}
    made = Balancer(["a", "b"], given_by).player
    if isinstance(made.weighting, Surgery) or made.looks_ahead(0):
        return
    results = []
    for absent in ("ignored", "none"):
        balancer = Balancer(["a", "b"], given_by)
        torch.manual_seed(0)
        trunk = torch.nn.Linear(3, 4)
        logits, labels = drawn((), 6)
        for step in range(3):
            features = trunk(torch.ones(6, 3) * (step + 1))
            scores = torch.cat([features, features[:, :1]], 1)
            values = CrossEntropy(ignore_index=-100)(scores, torch.full((6,), -100) if step == 1 else labels)
            loss = None if step == 1 and absent == "none" else values
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EmptySelectionWarning)
                total = balancer({"a": loss, "b": features.square().mean(1)}, anchor=features).detach()
            results.append((absent, float(total), balancer.weights["b"]))
    half = len(results) // 2
    for one, other in zip(results[:half], results[half:], strict=True):
        assert one[1:] == pytest.approx(other[1:], rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [lambda p, t: (p - t).square().mean(), lambda p, t: (p - t).abs(), lambda p, t: [0.0] * len(p)],
    ids=["a mean", "a value for each item", "a list"],
)
def test_a_loss_of_the_wrong_shape_is_an_error_of_the_term(wrong) -> None:
    with pytest.raises(ConfigError, match=r"one value for each sample, \[4\], but .* of 'a' gave"):
        _table(Term(torch.zeros(4, 2, requires_grad=True), torch.zeros(4, 2)), FunctionLoss(wrong))


@pytest.mark.parametrize("given", [0.5, 2, "half", [0.5]])
def test_a_number_in_place_of_a_loss_is_answered_with_what_to_pass(given):
    with pytest.raises(ConfigError, match=r"'a' is .* Pass the tensor itself, without `\.item\(\)`, or"):
        Balancer(["a", "b"], "equal")({"a": given, "b": torch.ones(())})


@pytest.mark.parametrize("names", [[0.1, 0.2], [torch.ones(())], 3, None, torch.ones(())])
def test_what_is_no_list_of_names_is_answered_with_one(names):
    with pytest.raises(ConfigError, match=r"Losses must be given by name, .* Write \[\"depth\", \"normals\"\]\."):
        Balancer(names, "equal")
