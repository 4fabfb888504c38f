"""MNIST's 4 against 9 with 199 nines for each four: which samples should count, if ten balanced images are known?

After Ren et al. (ICML 2018): 5000 training images, ten clean balanced ones for the weights, 500 balanced test images,
a LeNet, SGD with momentum 0.9 at 1e-3, batch 100. Their figure reads about 0.955 for reweighting at this share, and
the unweighted baseline fails. `--data` is the directory of MNIST's four idx files.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from statistics import mean, stdev

import torch
from multi_mnist import FILES, read_idx
from spread import spread
from torch import Tensor, nn
from torch.nn import functional

from autoloss import Balancer

METHODS = {
    "unweighted": "uniform",
    "the ten clean images alone": "uniform",
    "inverse class frequency": {"name": "given", "key": "weight"},
    "reweight": "reweight",
    "meta_weight_net": "meta_weight_net",
}
SIZE, CLEAN, BATCH = 5000, 10, 100


def network() -> nn.Module:
    """Convolutions of 16, 32 and 64 channels, two layers, one output."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 100), nn.ReLU(), nn.Linear(100, 1), nn.Flatten(0)),
    )


def data(directory: Path, share: float, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Images and labels (1 for nine) of the training, clean and test sets."""
    generator = torch.Generator().manual_seed(seed)
    parts = {}
    for split, counts in (("train", (SIZE - round(share * SIZE) + 5, round(share * SIZE) + 5)), ("test", (250, 250))):
        images, labels = (read_idx(directory, name) for name in FILES[split])
        chosen = []
        for digit, count in zip((4, 9), counts, strict=True):
            of = (labels == digit).nonzero()[:, 0]
            chosen.append(of[torch.randperm(len(of), generator=generator)[:count]])
        parts[split] = [images[rows][:, None].float() / 255 for rows in chosen]
    four, nine = parts["train"]
    return {
        "train": _joined(four[5:], nine[5:]),
        "clean": _joined(four[:5], nine[:5]),
        "test": _joined(*parts["test"]),
    }


def _joined(four: Tensor, nine: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([four, nine]), torch.cat([torch.zeros(len(four)), torch.ones(len(nine))])


def accuracy(method: str, directory: Path, share: float, steps: int, seed: int, device: str) -> float:
    """Test accuracy after the last step."""
    torch.set_num_threads(1)
    # The method itself leaves out a batch in which no sample helps.
    warnings.filterwarnings("ignore", message="A batch should have samples")
    parts = {split: (x.to(device), y.to(device)) for split, (x, y) in data(directory, share, seed).items()}
    torch.manual_seed(seed)
    net = network().to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    balancer = Balancer(["class"], "equal", sample_weighting=METHODS[method], total_steps=steps).to(device)
    images, labels = parts["clean" if method.startswith("the ten") else "train"]
    rarity = torch.where(labels == 1, 0.5 / (labels == 1).float().mean(), 0.5 / (labels == 0).float().mean())
    generator = torch.Generator().manual_seed(seed)

    def loss(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"class": functional.binary_cross_entropy_with_logits(net(x), y, reduction="none")}

    for step in range(steps):
        if step % max(1, len(images) // BATCH) == 0:
            order = torch.randperm(len(images), generator=generator)
        rows = order[BATCH * (step % max(1, len(images) // BATCH)) :][:BATCH].to(device)
        x, y = images[rows], labels[rows]
        with balancer.lookahead(
            net, train=lambda net, x=x, y=y: loss(net, x, y), held_out=lambda net: loss(net, *parts["clean"])
        ):
            optimizer.zero_grad()
            balancer(loss(net, x, y), keys={"weight": rarity[rows]}).backward()
            optimizer.step()
    with torch.no_grad():
        return float(((net(parts["test"][0]) > 0) == (parts["test"][1] > 0)).float().mean())


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/mnist"))
    parser.add_argument("--share", type=float, default=0.995)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    print(f"share of nines {options.share}, {options.steps} steps, seeds {options.seeds}, {options.device}", end=", ")
    print(f"torch {torch.__version__}\n")
    print("| method | mean accuracy | deviation | each seed |\n|---|---|---|---|", flush=True)
    found = {}
    rest = (options.data, options.share, options.steps)
    jobs = [(method, *rest, seed, options.device) for method in options.methods for seed in options.seeds]
    accuracies = spread(accuracy, jobs, options.workers)
    for method in options.methods:
        each = [next(accuracies) for _ in options.seeds]
        found[method] = mean(each)
        deviation = stdev(each) if len(each) > 1 else float("nan")
        print(f"| {method} | {mean(each):.4f} | {deviation:.4f} | {' '.join(f'{a:.3f}' for a in each)} |", flush=True)
    if {"reweight", "unweighted", "the ten clean images alone"} <= set(found):
        ahead = found["reweight"] - max(found["unweighted"], found["the ten clean images alone"])
        within = found["reweight"] >= 0.94 and ahead >= 0.05
        verdict = "within" if within else "below"
        print(f"\nreweight {found['reweight']:.4f}, {100 * ahead:.1f} points ahead: {verdict} the bar")


if __name__ == "__main__":
    main()
