"""Noise levels, what a denoiser may predict, and samplers that are compared with exact solutions."""

import math

import pytest
import torch

from autoloss.core.errors import UnknownNameError
from autoloss.problems._denoising import Denoiser, cleaned, descending, levels, sampled, shares, wanted

TARGETS = ("epsilon", "x0", "v")
SHARES = torch.linspace(0.02, 0.98, 49)


class TestSchedules:
    def test_cosine_is_that_of_its_paper(self):
        """The signal's factor is ``cos(pi t / 2)``."""
        alpha, sigma = shares(levels("cosine", SHARES))
        torch.testing.assert_close(alpha, torch.cos(math.pi / 2 * SHARES))
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(49))

    def test_linear_is_ddpms_thousand_steps_as_one_curve(self):
        kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
        at = torch.arange(99, 900, 100)
        stepwise = (1 / kept[at] - 1).sqrt().float()
        torch.testing.assert_close(levels("linear", (at + 1) / 1000), stepwise, rtol=0.03, atol=0)

    def test_edm_has_a_normal_logarithm(self):
        drawn = levels("edm", torch.rand(200_000, generator=torch.Generator().manual_seed(0))).log()
        assert drawn.mean() == pytest.approx(-1.2, abs=0.02)
        assert drawn.std() == pytest.approx(1.2, abs=0.02)

    @pytest.mark.parametrize("schedule", ["cosine", "linear", "edm"])
    def test_levels_rise_and_are_levels_at_both_ends(self, schedule):
        found = levels(schedule, torch.linspace(0, 1, 101))
        assert (found.diff() >= 0).all()
        assert (found[[0, -1]] > 0).all()
        assert found.isfinite().all()

    def test_another_one_is_named(self):
        with pytest.raises(
            UnknownNameError, match="No schedule of noise levels is called 'cosin'. Did you mean 'cosine'"
        ):
            levels("cosin", torch.zeros(1))


@pytest.mark.parametrize("target", TARGETS)
def test_the_right_answer_gives_the_clean_picture(target):
    clean, noise = torch.randn(2, 7, 5, dtype=torch.float64)
    level = torch.logspace(-1, 1, 7, dtype=torch.float64)[:, None]
    alpha, sigma = shares(level)
    said = wanted(target, clean, noise, level)
    torch.testing.assert_close(cleaned(target, said, alpha * clean + sigma * noise, level), clean)


def test_v_turns_from_the_noise_to_the_picture():
    clean, noise = torch.randn(2, 5)
    torch.testing.assert_close(wanted("v", clean, noise, torch.tensor(1e-6)), noise, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(wanted("v", clean, noise, torch.tensor(1e6)), -clean, rtol=1e-4, atol=1e-4)


class TestSampler:
    SIZE = 0.5  # the deviation of normal data, whose best denoiser and whose flow are known

    def made(self, steps: int, second: bool) -> float:
        """The relative error of what is made of a noise of 1."""
        through = descending(*torch.tensor([0.01, 20.0], dtype=torch.float64), steps)
        made = sampled(
            lambda x, s: x * self.SIZE**2 / (self.SIZE**2 + s**2), torch.ones(1, dtype=torch.float64), through, second
        )
        exact = through[0] * self.SIZE / (self.SIZE**2 + through[0] ** 2).sqrt()
        return float((made / exact - 1).abs())

    def test_ddim_is_of_first_order_and_heun_of_second(self):
        assert self.made(64, False) / self.made(128, False) == pytest.approx(2, rel=0.15)
        assert self.made(24, True) / self.made(48, True) == pytest.approx(4, rel=0.3)
        assert self.made(24, True) < self.made(48, False) / 3

    def test_a_step_of_first_order_is_ddims(self):
        """Song et al., 2021, eq. 12 without noise, in their variables ``alpha x0 + sigma n``."""
        seen = torch.randn(3, 4, dtype=torch.float64)
        now, after = torch.tensor([1.5, 0.4], dtype=torch.float64)
        guess = torch.randn(3, 4, dtype=torch.float64)
        found = sampled(lambda x, s: guess, seen, torch.stack([now, after]), False)
        (alpha, sigma), (alpha_after, sigma_after) = shares(now), shares(after)
        scaled = now * seen * alpha  # the sampler starts from `now` times its noise
        predicted = (scaled - alpha * guess) / sigma
        torch.testing.assert_close(alpha_after * found, alpha_after * guess + sigma_after * predicted)

    def test_how_often_the_network_is_called(self):
        for second, calls in ((False, 5), (True, 9)):
            called = []
            sampled(lambda x, s, called=called: called.append(s) or x, torch.ones(2), descending(*LOWHIGH, 5), second)
            assert len(called) == calls

    def test_the_levels_fall_to_zero(self):
        through = descending(*LOWHIGH, 10)
        assert len(through) == 11
        assert (through.diff() < 0).all()
        torch.testing.assert_close(through[[0, -2, -1]], torch.tensor([20.0, 0.01, 0.0]))


LOWHIGH = torch.tensor([0.01, 20.0])


def test_the_network_sees_picture_level_and_class():
    torch.manual_seed(0)
    network = Denoiser(6, 3, 16)
    seen, level, labels = torch.randn(2, 6), torch.ones(2), torch.tensor([0, 1])
    before = network(seen, level, labels)
    assert before.shape == (2, 16)
    assert network.head(before).shape == (2, 6)
    for others in ((seen + 1, level, labels), (seen, 2 * level, labels), (seen, level, labels + 1)):
        assert not torch.allclose(network(*others), before)
