"""Weightings from gradient statistics, and VQGAN's from norms."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.need import Need
from autoloss.core.signals import Signals, Stats
from autoloss.testing import WeightingSuite
from autoloss.testing.streams import stream
from autoloss.testing.subject import follow
from autoloss.training.balancer import Balancer as Loop
from autoloss.weightings.balancer import Balancer
from autoloss.weightings.lr_annealing import LrAnnealing
from autoloss.weightings.vqgan import Vqgan


@pytest.fixture(scope="session")
def measured(signals_of) -> Callable[..., Signals]:
    """Signals with statistics; what is not given is 1."""

    def build(
        item_norm: Sequence[float] = (),
        largest: Sequence[float] = (),
        mean: Sequence[float] = (),
        present: list[bool] | None = None,
    ) -> Signals:
        size = max(len(item_norm), len(largest), len(mean))
        given = [torch.tensor(x) if len(x) else torch.ones(size) for x in (item_norm, largest, mean)]
        return replace(signals_of(torch.ones(size), present=present), measured_stats=Stats(*given))

    return build


class TestBalancer:
    def test_shares_out_the_gradient(self, measured):
        weighting = Balancer({"a": 3.0}, total_norm=2.0).bind(["a", "b"])
        norms = torch.tensor([5.0, 0.1])
        assert_close(weighting(measured(norms.tolist())) * norms, torch.tensor([1.5, 0.5]))

    def test_averages_without_bias(self, measured):
        """As audiocraft: sum of decay^k x over sum of decay^k, this step's included."""
        weighting = Balancer(decay=0.5).bind(["a"])
        for norm, average in ((4.0, 4.0), (1.0, (0.5 * 4 + 1) / 1.5), (3.0, (0.25 * 4 + 0.5 * 1 + 3) / 1.75)):
            signals = measured([norm])
            assert_close(weighting(signals), torch.tensor([1 / average]))
            weighting.update(signals)

    def test_does_not_see_the_scale_of_a_loss(self, measured):
        norms = torch.tensor([2.0, 3.0])
        usual = Balancer().bind(["a", "b"])(measured(norms.tolist()))
        for scale in (1e-6, 1e3, 1e6):
            scaled = Balancer().bind(["a", "b"])(measured([2.0, 3.0 * scale]))
            assert_close(scaled * torch.tensor([1.0, scale]), usual)

    def test_of_a_loss_without_gradient_is_one(self, measured):
        assert_close(Balancer().bind(["a", "b"])(measured([0.0, 4.0])), torch.tensor([1.0, 0.125]))

    def test_absent_losses_have_no_share(self, measured):
        weights = Balancer().bind(["a", "b"])(measured([2.0, 0.0], present=[True, False]))
        assert_close(weights[0], torch.tensor(0.5))

    def test_balances_a_loss_a_hundred_times_as_steep(self):
        """EnCodec's own check: L1 to +1, and 100 times L1 to -1, from 0."""
        x = torch.zeros(1, 1, requires_grad=True)
        losses = {"one": (x - 1).abs().mean(), "hundred": 100 * (x + 1).abs().mean()}
        assert_close(torch.autograd.grad(sum(losses.values()), x, retain_graph=True)[0], torch.tensor([[99.0]]))
        y = x * 1
        losses = {"one": (y - 1).abs().mean(), "hundred": 100 * (y + 1).abs().mean()}
        total = Loop(["one", "hundred"], Balancer())(losses, anchor=y)
        assert_close(torch.autograd.grad(total, x)[0], torch.zeros(1, 1))

    def test_needs_a_share_above_zero(self):
        with pytest.raises(ConfigError, match="Some loss must have a share"):
            Balancer({"a": 0.0}).bind(["a"])
        with pytest.raises(ConfigError, match=r"shares\.a"):
            Balancer({"a": -1.0})
        with pytest.raises(ConfigError, match="no loss 'c'"):
            Balancer({"c": 1.0}).bind(["a"])


class TestLrAnnealing:
    @pytest.mark.parametrize(("variant", "settled"), [("paper", 4.0), ("author", 2.0)])
    def test_settles_at_max_over_mean_or_its_root(self, variant, settled, measured):
        weighting = LrAnnealing(variant=variant).bind(["a", "b"])
        signals = measured(largest=[8.0, 1.0], mean=[3.0, 2.0])
        for _ in range(150):
            weighting.update(signals)
        assert_close(weighting(signals), torch.tensor([1.0, settled]))

    def test_moves_by_one_minus_decay(self, measured):
        signals = measured(largest=[8.0, 1.0], mean=[1.0, 2.0])
        for variant, second in (("paper", 0.9 * 1.3 + 0.4), ("author", 0.9 * 1.3 + 0.4 / 1.3)):
            weighting = LrAnnealing(decay=0.9, variant=variant).bind(["a", "b"])
            assert_close(weighting(signals), torch.tensor([1.0, 0.9 + 0.4]))
            weighting.update(signals)
            assert_close(weighting(signals), torch.tensor([1.0, second]))

    def test_refers_to_the_loss_that_is_named(self, measured):
        weighting = LrAnnealing("b", decay=0.0).bind(["a", "b", "c"])
        weights = weighting(measured(largest=[9.0, 6.0, 9.0], mean=[2.0, 1.0, 3.0]))
        assert_close(weights, torch.tensor([3.0, 1.0, 2.0]))

    @pytest.mark.parametrize(
        ("largest", "mean", "present"),
        [([0.0, 1.0], [0.0, 1.0], None), ([3.0, 0.0], [1.0, 0.0], None), ([0.0, 5.0], [0.0, 1.0], [False, True])],
        ids=["reference flat", "loss flat", "reference absent"],
    )
    def test_nothing_to_go_by_moves_nothing(self, largest, mean, present, measured):
        weighting = LrAnnealing().bind(["a", "b"])
        weighting.update(measured(largest=[8.0, 1.0], mean=[1.0, 2.0]))
        weighting.update(measured(largest=largest, mean=mean, present=present))
        assert_close(weighting.weights, torch.tensor([1.0, 1.3]))

    def test_reference_must_exist(self):
        with pytest.raises(UnknownNameError, match="Did you mean 'residual'"):
            LrAnnealing("residuals").bind(["residual", "boundary"])

    def test_variant_must_exist(self):
        with pytest.raises(ConfigError, match="`variant` must be one of author, paper, but variant='papre'"):
            LrAnnealing(variant="papre")


class TestVqgan:
    def gram(self, *norms: float) -> torch.Tensor:
        return torch.diag(torch.tensor(norms)) ** 2

    def test_makes_gradients_equally_long(self, signals_of):
        weighting = Vqgan("b", weight=0.8).bind(["a", "b"])
        for norm in (1e-2, 3.0, 1e3):
            weights = weighting(signals_of([1.0, 1.0], gram=self.gram(3.0, norm)))
            assert float(weights[0]) == 1
            assert float(weights[1]) * norm == pytest.approx(0.8 * 3, rel=4e-2 if norm == 1e-2 else 1e-3)

    def test_of_equal_gradients_is_one_but_for_delta(self, signals_of):
        weights = Vqgan("b").bind(["a", "b"])(signals_of([1.0, 1.0], gram=self.gram(2.0, 2.0)))
        assert float(weights[1]) == pytest.approx(1 / (1 + 1e-4), rel=1e-6)

    def test_compares_with_the_main_losses_together(self, signals_of):
        """Their inner products count: two that oppose each other make a short gradient."""
        rows = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 4.0], [0.0, 0.5]])
        signals = signals_of(torch.ones(4), gram=rows @ rows.T)
        assert_close(Vqgan("d", delta=0).bind("abcd")(signals), torch.tensor([1.0, 1.0, 1.0, 20**0.5 / 0.5]))
        assert_close(Vqgan("d", ["a", "b"], delta=0).bind("abcd")(signals), torch.tensor([1.0, 1.0, 1.0, 4.0]))
        two = Vqgan(["c", "d"], delta=0).bind("abcd")(signals)
        assert_close(two, torch.tensor([1.0, 1.0, 0.5, 4.0]))

    def test_absent_main_losses_do_not_count(self, signals_of):
        signals = signals_of(torch.ones(3), gram=torch.ones(3, 3), present=[True, False, True])
        assert_close(Vqgan("c", delta=0).bind("abc")(signals)[2], torch.tensor(1.0))

    def test_is_clipped_where_the_adversarial_gradient_vanishes(self, signals_of):
        signals = signals_of([1.0, 1.0], gram=self.gram(7.0, 0.0))
        assert_close(Vqgan("b", weight=0.5).bind("ab")(signals), torch.tensor([1.0, 5000.0]))
        assert_close(Vqgan("b", delta=0, clip=30).bind("ab")(signals), torch.tensor([1.0, 30.0]))

    @pytest.mark.parametrize("delta", [0.0, 1e-4])
    def test_of_no_gradients_is_its_weight(self, delta, signals_of):
        weights = Vqgan("b", weight=0.5, delta=delta).bind("ab")(signals_of([1.0, 1.0], gram=torch.zeros(2, 2)))
        assert_close(weights, torch.tensor([1.0, 0.5]))

    def test_sets_in_at_its_step(self, signals_of):
        weighting = Vqgan("b", start=10).bind("ab")
        assert [weighting.needs_at(step) for step in (0, 9, 10)] == [Need.VALUES, Need.VALUES, weighting.needs]
        assert_close(weighting(signals_of([1.0, 1.0], step=9)), torch.tensor([1.0, 0.0]))
        assert weighting(signals_of([1.0, 1.0], gram=torch.eye(2), step=10))[1] > 0.99

    def test_sets_in_at_its_progress(self, signals_of):
        weighting = Vqgan("b", start_progress=0.5).bind("ab")
        at = {p: float(weighting(signals_of([1.0, 1.0], gram=torch.eye(2), progress=p))[1]) for p in (0.0, 0.49, 0.5)}
        assert at == pytest.approx({0.0: 0.0, 0.49: 0.0, 0.5: 1.0}, abs=1e-3)

    def test_checks_its_names(self):
        with pytest.raises(UnknownNameError, match="Did you mean 'adv'"):
            Vqgan("adw").bind(["rec", "adv"])
        with pytest.raises(ConfigError, match="all are adversarial"):
            Vqgan("adv").bind(["adv"])
        with pytest.raises(ConfigError, match="'adv' is both"):
            Vqgan("adv", "adv")
        with pytest.raises(ConfigError, match="must name a loss"):
            Vqgan([])


@pytest.mark.parametrize(
    "method", [Balancer, LrAnnealing, lambda: Vqgan("b")], ids=["balancer", "lr_annealing", "vqgan"]
)
def test_none_waits_for_the_device(method):
    """Tensors without data raise wherever a value would be read."""
    follow(method().bind(["a", "b"]).to("meta"), stream(["a", "b"], device="meta"))


class TestVqganConforms(WeightingSuite):
    fewest = 2

    def weighting(self):
        return Vqgan("b", start=2)
