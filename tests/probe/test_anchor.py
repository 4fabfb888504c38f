"""What people pass as an anchor: it works, or one sentence says what to pass; complex and sparse gradients count whole."""

import pytest
import torch
from torch import nn

from autoloss.core.errors import ConfigError, SignalError
from autoloss.probe.implicit import Implicit
from autoloss.training.balancer import Balancer

TRUNK = nn.Linear(4, 8)
HEAD = nn.Linear(8, 2)


def losses_of(features: torch.Tensor) -> dict[str, torch.Tensor]:
    out = HEAD(features)
    return {"a": out[:, 0].square() * 100, "b": out[:, 1].abs()}


def gram(anchor_of, weighting="mgda", **kwargs) -> torch.Tensor:
    features = TRUNK(torch.ones(3, 4))
    balancer = Balancer(["a", "b"], weighting, **kwargs)
    balancer(losses_of(features), anchor=anchor_of(features))
    return balancer.player.weighed.measured.gram


FORMS = {
    "generator": lambda f: TRUNK.parameters(),
    "module": lambda f: TRUNK,
    "list": lambda f: list(TRUNK.parameters()),
    "nested list": lambda f: [list(TRUNK.parameters())],
    "by loss": lambda f: {"a": TRUNK, "b": TRUNK.parameters()},
    "parameter list": lambda f: nn.ParameterList(TRUNK.parameters()),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_of_parameters_are_the_same_anchor(form) -> None:
    assert torch.allclose(gram(form), gram(lambda f: [TRUNK.weight, TRUNK.bias]))


def test_frozen_parameters_are_left_out() -> None:
    TRUNK.bias.requires_grad_(False)
    try:
        found = gram(lambda f: TRUNK)
    finally:
        TRUNK.bias.requires_grad_(True)
    assert torch.allclose(found, gram(lambda f: TRUNK.weight))


WRONG = {
    "names of parameters": lambda f: dict(TRUNK.named_parameters()),
    "levels of a pyramid": lambda f: {"p3": f},
    "a slip of the pen": lambda f: {"a": f, "B": f},
}


@pytest.mark.parametrize("form", WRONG.values(), ids=WRONG)
def test_a_name_that_is_no_loss_is_an_error(form) -> None:
    with pytest.raises(SignalError, match=r"keys of an anchor must be names .*a, b.*list\(anchor.values\(\)\)"):
        gram(form)


@pytest.mark.parametrize("anchor", ["features", 3, [None], {"a": 1.0}])
def test_what_is_no_tensor_is_an_error(anchor) -> None:
    with pytest.raises(SignalError, match="must be a tensor, tensors in a list, a module"):
        gram(lambda f: anchor)


def complex_case() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Losses, complex features, and their gradients as pairs of real numbers, [2, P]."""
    torch.manual_seed(0)
    weight, x = nn.Parameter(torch.randn(5, dtype=torch.cfloat)), torch.randn(16, 8)
    spectrum = torch.fft.rfft(x) * weight
    signal = torch.fft.irfft(spectrum, n=8)
    losses = {"a": (signal - 1).square().mean(), "b": (signal.roll(1, 1) * x).mean().square()}
    return losses, weight, spectrum


@pytest.mark.parametrize("at", ["parameters", "features"])
def test_complex_gradients_count_as_pairs_of_real_numbers(at: str) -> None:
    losses, weight, spectrum = complex_case()
    anchor = weight if at == "parameters" else spectrum
    rows = torch.stack(
        [
            torch.view_as_real(torch.autograd.grad(one, anchor, retain_graph=True)[0]).flatten()
            for one in losses.values()
        ]
    )
    for weighting in ("mgda", "lr_annealing", "balancer"):
        balancer = Balancer(["a", "b"], weighting)
        balancer(losses, anchor=[anchor])
        measured = balancer.player.weighed.measured
        if measured.gram is not None:
            assert torch.allclose(measured.gram, rows @ rows.T, rtol=1e-5)
        if measured.stats is not None:
            items = rows.reshape(2, 1 if at == "parameters" else 16, -1).norm(dim=2).mean(1)
            assert torch.allclose(measured.stats.item_norm, items)
            assert torch.allclose(measured.stats.largest, rows.abs().amax(1))
            assert torch.allclose(measured.stats.mean, rows.abs().mean(1))


@pytest.mark.parametrize("at", ["features", "parameters"])
def test_complex_gradients_meet_in_a_fork(at: str) -> None:
    torch.manual_seed(0)
    weight, x = nn.Parameter(torch.randn(5, dtype=torch.cfloat)), torch.randn(16, 8)

    def losses(one, other):
        a, b = (torch.fft.irfft(spectrum, n=8) for spectrum in (one, other))
        return {"a": (a - 1).square().mean(), "b": (b.roll(1, 1) * x).mean().square()}

    spectrum = torch.fft.rfft(x) * weight
    balancer = Balancer(["a", "b"], "mgda")
    fork = balancer.fork(spectrum, at)
    balancer(losses(fork["a"], fork["b"]), anchor=fork).backward()
    forked, weights, found = weight.grad, balancer.weights, balancer.player.weighed.measured.gram
    weight.grad = None
    plain = Balancer(["a", "b"], "mgda")
    spectrum = torch.fft.rfft(x) * weight
    plain(losses(spectrum, spectrum), anchor=spectrum if at == "features" else weight).backward()
    assert torch.allclose(found, plain.player.weighed.measured.gram, rtol=1e-5)
    assert weights == pytest.approx(plain.weights, rel=1e-4)
    assert torch.allclose(forked, weight.grad, rtol=1e-4)


def test_sparse_gradients_are_measured() -> None:
    grams = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.Embedding(9, 4, sparse=sparse)
        rows = table(torch.tensor([1, 2, 1]))
        balancer = Balancer(["a", "b"], "mgda")
        balancer({"a": rows.square().mean(), "b": rows.abs().mean()}, anchor=[table.weight])
        grams.append(balancer.player.weighed.measured.gram)
    assert torch.allclose(*grams)


def own_anchors(accumulate: int = 1) -> tuple[Balancer, list[torch.Tensor]]:
    torch.manual_seed(0)
    balancer = Balancer(["a", "b"], {"name": "lr_annealing", "variant": "paper", "decay": 0.0}, accumulate=accumulate)
    one, other = torch.randn(5, 4, requires_grad=True), torch.randn(7, 400, requires_grad=True)
    losses = {"a": one.square().mean(1), "b": (other[:, :4] * 3).square().mean(1)}
    balancer(losses, anchor={"a": one, "b": other})
    gradients = [
        torch.autograd.grad(loss.mean(), at)[0] for loss, at in zip(losses.values(), (one, other), strict=True)
    ]
    return balancer, gradients


def test_statistics_are_those_of_each_losss_own_anchor() -> None:
    balancer, gradients = own_anchors()
    stats = balancer.player.weighed.measured.stats
    for i, gradient in enumerate(gradients):
        assert torch.allclose(stats.item_norm[i], gradient.norm(dim=1).mean())
        assert torch.allclose(stats.largest[i], gradient.abs().amax())
        assert torch.allclose(stats.mean[i], gradient.abs().mean())


def test_statistics_of_own_anchors_merge_over_a_window() -> None:
    """Two micro-batches of 4 and 2 samples are one batch of 6."""
    torch.manual_seed(0)
    one, other = torch.randn(6, 4, requires_grad=True), torch.randn(6, 40, requires_grad=True)

    def statistics(*parts: slice):
        balancer = Balancer(["a", "b"], "balancer", accumulate=len(parts))
        balancer._around.within = True  # keeps the window open
        for part in parts:
            anchor = {"a": one[part] * 1.0, "b": other[part] * 1.0}
            balancer({"a": anchor["a"].square().mean(1), "b": anchor["b"].abs().mean(1)}, anchor=anchor)
        return balancer.player.window.take().stats

    split, whole = statistics(slice(0, 4), slice(4, 6)), statistics(slice(0, 6))
    for name in ("item_norm", "largest", "mean"):
        assert torch.allclose(getattr(split, name), getattr(whole, name)), name


def test_features_of_unlike_first_dimension_are_one_sentence() -> None:
    one, other = torch.randn(4, 6, requires_grad=True), torch.randn(6, 2, requires_grad=True)
    losses = {"a": one.square().mean() + other.square().mean(), "b": one.abs().mean()}
    with pytest.raises(SignalError, match=r"samples as their first dimension.*\[4, 6\] and \[6, 2\]"):
        Balancer(["a", "b"], "balancer")(losses, anchor=[one, other])
    Balancer(["a", "b"], "mgda")(losses, anchor=[one, other])  # inner products need no samples


@pytest.mark.parametrize("weighting", ["balancer", "gradnorm", "mgda", "lr_annealing"])
def test_an_empty_batch_is_no_error(weighting: str) -> None:
    features = torch.randn(0, 4, requires_grad=True)
    total = Balancer(["a", "b"], weighting)(
        {"a": features.square().mean(1), "b": features.abs().mean(1)}, anchor=features
    )
    assert float(total.detach()) == 0.0


class Spectral(nn.Module):
    """A filter in the frequencies, with complex parameters or pairs of real ones."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        weight = torch.randn(5, dtype=torch.cfloat)
        self.weight = nn.Parameter(weight if whole else torch.view_as_real(weight).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight if self.weight.is_complex() else torch.view_as_complex(self.weight)
        return torch.fft.irfft(torch.fft.rfft(x) * weight, n=8)


def looked_ahead(whole: bool, optimizer_of, implicit: Implicit | None = None) -> dict[str, float]:
    network = Spectral(whole)
    x, held = torch.randn(2, 16, 8)

    def losses_of(net, x=x):
        return {"a": (net(x) - 1).square().mean(1), "b": (net(x).roll(1, 1) * x).mean(1).square()}

    balancer, optimizer = Balancer(["a", "b"], "auto_lambda"), optimizer_of(network.parameters(), 0.1)
    for _ in range(3):
        with balancer.lookahead(
            network, optimizer, train=losses_of, held_out=lambda net: losses_of(net, held), implicit=implicit
        ):
            optimizer.zero_grad()
            balancer(losses_of(network)).backward()
            optimizer.step()
    return balancer.weights


def test_hypergradients_of_complex_parameters() -> None:
    assert looked_ahead(True, torch.optim.SGD) == pytest.approx(looked_ahead(False, torch.optim.SGD), rel=1e-5)
    with pytest.raises(ConfigError, match="through Adam needs real parameters"):
        looked_ahead(True, torch.optim.Adam)
    with pytest.raises(ConfigError, match="Implicit differentiation needs real parameters"):
        looked_ahead(True, torch.optim.SGD, Implicit())
