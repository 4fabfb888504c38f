"""The classifier that judges generated digits: trained on real ones, once, and kept."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autoloss.problems._digits import part

VERSION = 1  # of the network and its training; another version is trained anew
EPOCHS, BATCH, SEED = 40, 100, 0


class DigitClassifier(nn.Module):
    """Two convolutions and 64 features: images [N, 8, 8] in [0, 1] to features [N, 64] and logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1024, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(2 * images.unsqueeze(1) - 1)
        return features, self.head(features)


@lru_cache(maxsize=1)
def digit_classifier() -> DigitClassifier:
    """The classifier, from the user's cache, or trained on the training digits (seconds) and stored there.

    The cache is ``$XDG_CACHE_HOME/autoloss`` (``~/.cache/autoloss``).
    """
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoloss" / f"digits_{VERSION}.pt"
    # The first call may come from a validation, in inference mode: what is made there can never be trained with.
    with torch.inference_mode(False), torch.enable_grad():
        network = _kept(path)
        if network is None:
            network = _trained()
            _keep(network, path)
        return network.requires_grad_(False).eval()


def _kept(path: Path) -> DigitClassifier | None:
    network = DigitClassifier()
    try:
        network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception:  # absent, cut off, written by another torch: in any case the file is made anew
        return None
    return network


def _trained() -> DigitClassifier:
    images, labels = part("train")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        network = DigitClassifier()
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(EPOCHS):
            for some in torch.randperm(len(images)).split(BATCH):
                optimizer.zero_grad()
                cross_entropy(network(images[some])[1], labels[some]).backward()
                optimizer.step()
    return network


def _keep(network: nn.Module, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several runs may train it at the same time: each writes a file of its own, and the last one stays.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            torch.save(network.state_dict(), file)
        os.replace(file.name, path)
    except OSError:
        pass  # a home that cannot be written to: it is trained again next time
