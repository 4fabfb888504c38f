"""A loop that weighs noise levels, and the points that its network makes."""

import importlib.util
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[2] / "examples/diffusion_loop.py"


def example():
    spec = importlib.util.spec_from_file_location("diffusion_loop", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_points_of_the_ring_are_made_from_noise_and_weights_bring_them_closer():
    train = example().train
    found, uniform = train("min_snr", steps=500), train("uniform", steps=500)
    assert found["distance"] < 0.07
    assert found["distance"] < 0.7 * uniform["distance"]
    assert train(steps=1)["distance"] > 4 * found["distance"]


def test_the_sampler_follows_the_network():
    """All noise ends where a network that is sure of one point says that it was."""
    module, point = example(), torch.tensor([0.6, -0.8])

    class Sure(torch.nn.Module):
        def forward(self, known):
            return point.expand(len(known), 2)

    torch.testing.assert_close(module.made(Sure(), 5), point.expand(5, 2))
