"""Every registered loss against the public suite, with each kind of data that it takes."""

from functools import partial
from typing import Any

import pytest

from autoloss.core.loss import TAKES, Loss
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.testing import LossSuite
from autoloss.testing.samples import BOUNDED, SAMPLES

NEEDS: dict[str, dict[str, Any]] = {"combined": {"losses": ["cross_entropy", "focal"]}}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "adaptive_robust": [{"alpha": a, "scale": 0.5} for a in (2.0, 0.0, -2.0, -float("inf"))] + [{"learn": True}],
    "binary_cross_entropy": [{"positive_weight": 3.0}],
    "combined": [
        {"losses": ["mse", "mae"], "rule": "product"},
        {"losses": ["contrastive", "triplet"], "weights": [1, 2]},
    ],
    "consistency": [{"form": "kl"}, {"form": "pseudo_label", "threshold": 0.3}],
    "cosine": [{"margin": -0.5}],
    "cross_entropy": [{"label_smoothing": 0.1}],
    "dice": [{"smooth": 0.0}],
    "feature_matching": [{"relative": True}],
    "focal": [{"gamma": 0.5, "alpha": 0.25}, {"gamma": 0.0}],
    "focal_tversky": [{"gamma": 2.0}],
    "gan_hinge": [{"bounded": True}],
    "gaussian_kl": [{"free_bits": 0.5}],
    "huber": [{"delta": 0.1}],
    "jaccard": [{"smooth": 0.0}],
    "kl": [{"free_bits": 0.2}],
    "least_squares": [{"fake": -1.0, "wanted": 0.0}],
    "log_cosh": [{"scale": 0.1}],
    "quantile": [{"q": 0.9}],
    "smooth_l1": [{"eps": 0.0}, {"eps": 0.1}],
    "smooth_l2": [{"eps": 5.0}],
    "total_variation": [{"isotropic": True}],
    "tversky": [{"alpha": 1.0, "beta": 1.0, "smooth": 0.0}],
}
# It needs a network; tested in test_features.py. Penalties on inputs are tested in test_input_penalties.py.
APART = {"perceptual"}


def _takes(name: str) -> tuple[str, ...]:
    return registry.build("loss", name, **NEEDS.get(name, {})).takes


CASES = {
    f"{name}({', '.join(f'{k}={v}' for k, v in parameters.items())})-{kind}-{i}": (name, kind, sample, parameters)
    for name in registry.names("loss")
    if name not in APART
    for kind in _takes(name)
    for i, sample in enumerate(SAMPLES.get(kind, ()))
    for parameters in (NEEDS.get(name, {}), *(VARIANTS.get(name, []) if i == 0 else []))
}


class TestRegistered(LossSuite):
    @pytest.fixture(autouse=True, params=CASES)
    def _of(self, request: pytest.FixtureRequest) -> None:
        name, kind, self.sample, parameters = CASES[request.param]
        self.loss = partial(registry.build, "loss", name, **parameters)
        if name == "combined":
            self.sample = SAMPLES[self.loss().takes[0]][0]
        self.scales = () if kind in BOUNDED else LossSuite.scales


def test_every_kind_of_data_has_samples_and_a_loss() -> None:
    assert set(SAMPLES) == set(TAKES) - {"judged"}
    assert {kind for name in registry.names("loss") if name not in APART for kind in _takes(name)} == set(TAKES)


@pytest.mark.parametrize("name", [one.name for one in registry.listings["loss"] if one.origin == ORIGIN])
def test_says_when_to_use_it_and_how_it_treats_what_is_difficult(name: str) -> None:
    loss: type[Loss] = registry.load("loss", name)
    said = (loss.use, loss.avoid, loss.outliers, loss.imbalance, loss.gradients)
    assert loss.citation
    for sentence in said:
        assert sentence.endswith((".", ")")), sentence
        assert len(sentence) < 140, sentence
