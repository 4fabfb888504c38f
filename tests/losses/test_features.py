"""Losses on a network's activations."""

import pytest
import torch
from torch import nn

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.losses.feature_matching import FeatureMatching
from autoloss.losses.perceptual import Perceptual


def test_feature_matching_is_a_mean_over_layers() -> None:
    generated, real = [torch.randn(4, 3), torch.randn(4, 2, 5, 5)], [torch.randn(4, 3), torch.randn(4, 2, 5, 5)]
    apart = [(g - r).abs().flatten(1).mean(1) for g, r in zip(generated, real, strict=True)]
    assert torch.allclose(FeatureMatching()(generated, real), (apart[0] + apart[1]) / 2)


def test_relative_feature_matching_ignores_a_layer_s_scale() -> None:
    generated, real = [torch.randn(4, 3), torch.randn(4, 7)], [torch.randn(4, 3), torch.randn(4, 7)]
    scaled = [[1000 * layers[0], layers[1]] for layers in (generated, real)]
    relative = FeatureMatching(relative=True)
    assert torch.allclose(relative(*scaled), relative(generated, real), rtol=1e-5)
    assert not torch.allclose(FeatureMatching()(*scaled), FeatureMatching()(generated, real))


def test_relative_feature_matching_of_a_silent_layer_is_finite() -> None:
    generated = torch.randn(2, 3, requires_grad=True)
    FeatureMatching(relative=True)(generated, torch.zeros(2, 3)).sum().backward()
    assert generated.grad is not None
    assert generated.grad.isfinite().all()


def test_feature_matching_does_not_pull_at_the_real_side() -> None:
    real = torch.randn(2, 3, requires_grad=True)
    generated = torch.randn(2, 3, requires_grad=True)
    FeatureMatching()(generated, real).sum().backward()
    assert real.grad is None


def test_feature_matching_needs_the_same_layers() -> None:
    with pytest.raises(ConfigError, match="there are 1 of the prediction and 2 of the target"):
        FeatureMatching()([torch.zeros(2, 3)], [torch.zeros(2, 3), torch.zeros(2, 3)])


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(16, 2))


def test_perceptual_is_zero_for_equal_images_and_passes_gradients() -> None:
    loss = Perceptual(tiny(), layers=["0", "2"])
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    assert torch.equal(loss(images, images.detach()), torch.zeros(3))
    loss(images, torch.rand(3, 1, 4, 4)).sum().backward()
    assert images.grad is not None
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("normalised", [False, True])
def test_perceptual_is_the_distance_of_activations(norm: str, normalised: bool) -> None:
    net = tiny().eval()
    one, other = torch.rand(2, 3, 1, 4, 4)
    first = [net[0](x) for x in (one, other)]
    third = [net[:3](x) for x in (one, other)]
    apart = []
    for a, b in (first, third):
        if normalised:
            a, b = nn.functional.normalize(a, dim=1), nn.functional.normalize(b, dim=1)
        apart.append(((a - b).abs() if norm == "l1" else (a - b).square()).flatten(1).mean(1))
    found = Perceptual(tiny(), ["0", "2"], norm, normalised)(one, other)
    assert torch.allclose(found, (apart[0] + apart[1]) / 2, rtol=1e-5)


def test_perceptual_network_is_frozen() -> None:
    loss = Perceptual(tiny()).train()
    assert not loss.network.training
    assert not any(p.requires_grad for p in loss.parameters())
    before = {name: buffer.clone() for name, buffer in loss.named_buffers()}
    loss(torch.rand(3, 1, 4, 4, requires_grad=True), torch.rand(3, 1, 4, 4)).sum().backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in loss.named_buffers())


def test_perceptual_network_by_import_path() -> None:
    assert isinstance(Perceptual("torch.nn:Identity").network, nn.Identity)
    with pytest.raises(ConfigError, match="must be module:function that makes a network, but 'torch.nn:Nothing'"):
        Perceptual("torch.nn:Nothing")
    with pytest.raises(ConfigError, match="must make a torch.nn.Module, but it made"):
        Perceptual("collections:OrderedDict")


def test_perceptual_layers_must_exist() -> None:
    with pytest.raises(UnknownNameError, match="No layer is called '9'"):
        Perceptual(tiny(), ["9"])
    with pytest.raises(ConfigError, match="`norm` must be one of l1, l2, but norm='l3'"):
        Perceptual(tiny(), norm="l3")
