"""Games with digits, and the metrics that look at them."""

import pytest
import torch

from autoloss.problems import _digit_classifier
from autoloss.problems._digit_classifier import DigitClassifier, _keep, _kept, digit_classifier
from autoloss.problems._digit_games import once, spread
from autoloss.problems._digits import part
from autoloss.problems._frechet import frechet_distance, frechet_of_moments, moments
from autoloss.problems.digits_gan import DigitsGan
from autoloss.problems.digits_vae_gan import DigitsVaeGan


class TestFrechetDistance:
    def test_of_a_set_to_itself_is_zero(self):
        features = torch.randn(200, 8) @ torch.randn(8, 8)
        assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)

    def test_of_independent_coordinates_is_known(self):
        """``sum (m1 - m2)^2 + (s1 - s2)^2`` for uncorrelated features."""
        signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        one, other = signs * torch.tensor([1.0, 2.0]), signs * torch.tensor([3.0, 2.5]) + torch.tensor([1.0, -2.0])
        scale = (4 / 3) ** 0.5  # of a sample's deviation
        wanted = 1 + 4 + (scale * 2) ** 2 + (scale * 0.5) ** 2
        assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-6)

    def test_is_symmetric_and_of_scale_two(self):
        one, other = torch.randn(100, 5), 2 * torch.randn(80, 5) + 1
        there, back = frechet_distance(one, other), frechet_distance(other, one)
        assert there == pytest.approx(back)
        assert frechet_distance(3 * one, 3 * other) == pytest.approx(9 * there)

    def test_sums_of_parts_are_those_of_the_whole(self):
        one, other = torch.randn(90, 4) + 3, torch.randn(60, 4) @ torch.randn(4, 4)
        parts = [sum(moments(part) for part in whole.split(17)) for whole in (one, other)]
        assert frechet_of_moments(*parts) == pytest.approx(frechet_distance(one, other))
        covariance = (parts[0][1:, 1:] - 90 * torch.outer(one.double().mean(0), one.double().mean(0))) / 89
        torch.testing.assert_close(covariance, one.double().T.cov())

    def test_of_features_that_never_vary_is_finite(self):
        one = torch.cat([torch.randn(50, 3), torch.zeros(50, 2)], 1)
        assert frechet_distance(one, one + 1) == pytest.approx(5, abs=1e-5)


class TestClassifier:
    def test_it_knows_digits_that_it_has_not_seen(self):
        for split, least in (("train", 0.99), ("val", 0.95), ("test", 0.95)):
            images, labels = part(split)
            assert float((digit_classifier()(images)[1].argmax(1) == labels).float().mean()) > least

    def test_it_is_kept_and_a_broken_file_is_trained_anew(self, tmp_path):
        path = tmp_path / "a/digits.pt"
        assert _kept(path) is None
        network = DigitClassifier()
        _keep(network, path)
        again = _kept(path)
        assert again is not None
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
        path.write_bytes(b"half a file")
        assert _kept(path) is None

    def test_it_can_be_asked_for_first_by_a_validation(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(_digit_classifier, "EPOCHS", 1)
        digit_classifier.cache_clear()
        try:
            for _ in ("trained", "read"):
                with torch.inference_mode():
                    network = digit_classifier()
                images = torch.rand(2, 8, 8, requires_grad=True)
                network(images)[0].sum().backward()
                assert images.grad.abs().max() > 0
                digit_classifier.cache_clear()
        finally:
            digit_classifier.cache_clear()

    def test_a_home_that_cannot_be_written_to_is_no_error(self, tmp_path):
        (tmp_path / "file").write_text("not a directory")
        _keep(DigitClassifier(), tmp_path / "file" / "digits.pt")


class Means(DigitsGan):
    """A generator without diversity: the mean image of each class."""

    def sampled(self, network, labels):
        images, known = part("train")
        return torch.stack([images[known == k].mean(0) for k in range(10)])[labels]


class Real(DigitsGan):
    """A generator that gives training digits."""

    def sampled(self, network, labels):
        images, known = part("train")
        rows = [int((known == k).nonzero()[torch.randint(int((known == k).sum()), ())]) for k in labels]
        return images[rows]


def test_class_means_fail_where_real_digits_pass():
    val = DigitsGan().datasets(0)["val"]
    torch.manual_seed(0)
    means, real = (problem.evaluate(problem.network(), val) for problem in (Means(), Real()))
    assert means["class_error"] < 0.05
    assert means["deviation"] < 0.01
    assert means["frechet"] > 5 * real["frechet"]
    assert real["deviation"] == pytest.approx(1, abs=0.1)


def test_splits_and_folds_share_no_digit():
    problem = DigitsGan()
    whole = problem.datasets(0)
    assert [len(whole[split]) for split in ("train", "val", "test")] == [1000, 350, 447]
    for fold in problem.folds(3, 0):
        sets = [{row.numpy().tobytes() for row in fold[split].columns["image"]} for split in ("train", "val", "test")]
        assert sum(map(len, sets)) == len(set.union(*sets))


@pytest.mark.parametrize("anchor", ["output", "last_layer"])
def test_which_losses_reach_the_anchor(anchor):
    problem = DigitsVaeGan(anchor=anchor)
    network, discriminator = problem.network(), problem.discriminator()
    batch = {name: column[:6] for name, column in problem.datasets(0)["val"].columns.items()}
    generated = problem.generate(network, batch)
    outputs = problem.generator_outputs(network, discriminator, generated, batch)
    assert set(outputs.terms) == set(problem.terms)
    assert isinstance(outputs.anchor, torch.Tensor)
    assert outputs.anchor.is_leaf == (anchor == "last_layer")
    for name, value in {
        "rec": outputs.terms["rec"].prediction,
        "adv": outputs.terms["adv"].fake,
        "match": outputs.terms["match"].prediction[0],
        "kl": outputs.terms["kl"].prediction,
    }.items():
        (found,) = torch.autograd.grad(value.sum(), outputs.anchor, retain_graph=True, allow_unused=True)
        assert (found is not None) == (name != "kl")


def test_spread_is_within_a_class():
    images = torch.cat([torch.zeros(20, 2, 2), torch.ones(20, 2, 2)])
    labels = torch.cat([torch.arange(10).repeat(2), torch.arange(10).repeat(2)])
    assert float(spread(images, labels)) == pytest.approx(images[::10].std(0).mean())
    assert float(spread(images, labels // 1)) > 0.5
    assert float(spread(labels[:, None].float(), labels)) == 0


def test_once_is_once_for_each_tensor():
    calls = []
    double = once(lambda x: calls.append(x) or 2 * x)
    x, y = torch.ones(2), torch.ones(2)
    assert double(x) is double(x)
    assert double(x) is not double(y)
    assert len(calls) == 2
