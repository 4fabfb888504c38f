"""Every registered loss against the public suite, in each of the shapes that it takes."""

from functools import partial
from typing import Any

import pytest

from autoloss.core.registry import registry
from autoloss.testing import LossSuite, samples

REGRESSION = {"numbers": samples.regression, "images": lambda batch: samples.regression(batch, 2, 4, 4)}
BINARY = {"labels": samples.binary, "several_labels": lambda batch: samples.binary(batch, 3)}
CLASSES = {"classes": samples.classes, "pixels": lambda batch: samples.classes(batch, 3, 4, 4)}
SOFT = {"probabilities": lambda batch: (samples.classes(batch)[0], samples.regression(batch, 5)[0].softmax(1))}
MASKS = {"mask": lambda batch: samples.binary(batch, 4, 4), "pixels": CLASSES["pixels"]}

SAMPLES: dict[str, dict[str, Any]] = {
    "binary_cross_entropy": BINARY,
    "cross_entropy": CLASSES | SOFT,
    "dice": MASKS,
    "focal": BINARY | CLASSES,
    "hinge": BINARY | CLASSES,
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "binary_cross_entropy": [{"positive_weight": 3.0}],
    "cross_entropy": [{"label_smoothing": 0.1}],
    "dice": [{"smooth": 0.0}],
    "feature_matching": [{"relative": True}],
    "focal": [{"gamma": 0.5, "alpha": 0.25}, {"gamma": 0.0}],
    "gan_hinge": [{"bounded": True}],
    "huber": [{"delta": 0.1}],
    "least_squares": [{"fake": -1.0, "wanted": 0.0}],
    "smooth_l1": [{"eps": 0.0}, {"eps": 0.1}],
}
# Of another form: tested in test_input_penalties.py and test_features.py.
APART = {"gradient_penalty", "r1", "r2", "perceptual"}
CASES = {
    f"{name}({', '.join(f'{k}={v}' for k, v in parameters.items())})-{kind}": (name, sample, parameters)
    for name in registry.names("loss")
    if name not in APART
    for kind, sample in SAMPLES.get(name, REGRESSION).items()
    for parameters in ({}, *VARIANTS.get(name, []))
}


class TestRegistered(LossSuite):
    @pytest.fixture(autouse=True, params=CASES)
    def _of(self, request: pytest.FixtureRequest) -> None:
        name, self.sample, parameters = CASES[request.param]
        self.loss = partial(registry.build, "loss", name, **parameters)
