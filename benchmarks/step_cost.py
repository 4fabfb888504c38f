"""What a training step costs, as a ratio to the same step with a plain sum: `make bench`.

Every method takes its turn in every round, so that a machine whose speed drifts slows all of them
alike; a ratio is taken within a round, and its median over rounds is what the table shows. On a CPU
the time is this process's own, on one thread by default: what else the machine does stays out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from lenet import Lenet, batch
from torch.nn import functional

from autoloss import Balancer

Step = Callable[[], None]
VALUES = ["equal", "uncertainty", "dwa"]
GRADIENTS = ["gradnorm"]


def ours(size: int, weighting: str, device: str) -> Step:
    """One step with the losses weighed by ``weighting``, gradients compared at the features."""
    net, optimizer, (images, classes) = _setting(size, device)
    names = [f"t{k}" for k in range(size)]
    balancer = Balancer(names, weighting).to(device)

    def step() -> None:
        features, outs = net(images)
        losses = {n: functional.cross_entropy(o, c) for n, o, c in zip(names, outs, classes, strict=True)}
        total = balancer(losses, anchor=features)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def plain(size: int, device: str) -> Step:
    """One step with a plain sum."""
    net, optimizer, (images, classes) = _setting(size, device)

    def step() -> None:
        _, outs = net(images)
        losses = [functional.cross_entropy(o, c) for o, c in zip(outs, classes, strict=True)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()

    return step


def _setting(size: int, device: str) -> tuple[Lenet, torch.optim.Optimizer, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    net = Lenet(size).to(device)
    return net, torch.optim.SGD(net.parameters(), lr=1e-3), batch(size, device)


def seconds(step: Step, repeats: int, device: str) -> float:
    """The time of ``repeats`` steps."""
    if device == "cpu":
        begun = time.process_time()
        for _ in range(repeats):
            step()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def ratios(steps: dict[str, Step], rounds: int, repeats: int, device: str) -> dict[str, float]:
    """The median over rounds of each step's time over that of ``sum`` in the same round."""
    for step in steps.values():
        seconds(step, 2, device)
    times = [{name: seconds(step, repeats, device) for name, step in steps.items()} for _ in range(rounds)]
    return {name: median(row[name] / row["sum"] for row in times) for name in steps}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 8, 16, 32, 64])
    parser.add_argument("--methods", nargs="+", default=[*VALUES, *GRADIENTS])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"LeNet 36x36, batch 256, {options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("ratio to a plain summed step, median over rounds\n")
    columns = []
    for size in options.sizes:
        steps = {"sum": plain(size, options.device)}
        steps |= {name: ours(size, name, options.device) for name in options.methods}
        columns.append(ratios(steps, options.rounds, options.repeats, options.device))
    print("| method | " + " | ".join(f"K = {size}" for size in options.sizes) + " |")
    print("|---|" + "---|" * len(options.sizes))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.3f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
