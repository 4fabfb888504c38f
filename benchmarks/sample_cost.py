"""What weights of samples cost: `python benchmarks/sample_cost.py > benchmarks/results/sample_cost.md`.

The step is that of the cost benchmark (LeNet, K heads, batch 256) with a loss for each sample; the ratio is to the same
step with uniform weights. All rules take turns in every round; the time is that of this process.
"""

from __future__ import annotations

import argparse

import torch
from step_cost import ratios
from steps import Setting, Step
from torch.nn import functional

from autoloss import Balancer, Entry, SampleNeed
from autoloss.core.registry.lookup import ORIGIN, registry

SAMPLES, BAR = 60_000, 1.05


def step(size: int, rule: str, device: str) -> Step:
    """A step whose samples are weighed by ``rule``, in each of ``size`` losses."""
    setting = Setting(size, device)
    balancer = Balancer(setting.names, "equal", sample_weighting=rule, samples=SAMPLES, total_steps=1000).to(device)
    balancer.set_epoch(20)
    batch = len(setting.images)
    index = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))[:batch].to(device)
    spread = torch.linspace(0, 1, batch, device=device)
    keys = {"weight": torch.ones_like(spread), "time": spread, "level": 0.01 + spread}

    def run() -> None:
        _, outs = setting.net(setting.images)
        entries = {}
        for name, out, classes in zip(setting.names, outs, setting.classes, strict=True):
            logits = balancer.temper(name, out, index, classes)
            entries[name] = Entry(functional.cross_entropy(logits, classes, reduction="none"), labels=classes)
        setting.finish(balancer(entries, index=index, keys=keys))

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    listings = [one for one in registry.listings["sample_weighting"] if one.origin == ORIGIN]
    needs = {one.name: registry.load(one.kind, one.name).needs for one in listings}
    # A rule that measures held-out data always costs a held-out step.
    rules = [name for name in needs if name != "uniform" and SampleNeed.ALIGNMENT not in needs[name]]
    columns = {}
    for size in options.sizes:
        steps = {"sum": step(size, "uniform", options.device)}
        steps |= {name: step(size, name, options.device) for name in rules}
        columns[size] = ratios(steps, options.rounds, options.device)
    print(
        f"# What weights of samples cost\n\nLeNet 36 x 36, K losses of 256 samples out of {SAMPLES}, {options.device}, "
        f"one thread, torch {torch.__version__}. Ratio to the same step with uniform weights, median over "
        f"{options.rounds} rounds. Made by `python benchmarks/sample_cost.py`.\n"
    )
    print("| rule | " + " | ".join(f"K = {size}" for size in options.sizes) + " |")
    print("|---|" + "---|" * len(options.sizes))
    for name in rules:
        print(f"| {name} | " + " | ".join(f"{columns[size][name]:.3f}" for size in options.sizes) + " |")
    over = [
        f"{name} at K = {size}: {column[name]:.3f}"
        for size, column in columns.items()
        for name in rules
        if column[name] > BAR
    ]
    print(f"\nThe bar is {BAR}. " + (f"Over it: {', '.join(over)}." if over else "Every row is within it."))


if __name__ == "__main__":
    main()
