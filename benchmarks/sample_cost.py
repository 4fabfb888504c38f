"""What weights of samples cost: `python benchmarks/sample_cost.py > benchmarks/results/sample_cost.md`.

The step is that of the cost benchmark (LeNet, K heads, batch 256) with a loss for each sample. What a rule adds to it
is a hundredth or less, which is lost in the difference of two whole steps. So the weighing alone is timed, from the
logits to the total and back; what it takes longer than with uniform weights is set against a step. All rules take turns
in every round; the time is that of this process.
"""

from __future__ import annotations

import argparse
from time import process_time

import torch
from steps import Setting, Step
from torch import Tensor
from torch.nn import functional

from autoloss import Balancer, Entry, SampleNeed
from autoloss.core.registry.lookup import ORIGIN, registry

SAMPLES, BAR, CALLS = 60_000, 1.05, 20


class Weighing:
    """The weighing of ``size`` losses by ``rule``, from the logits of the heads to the total."""

    def __init__(self, setting: Setting, rule: str, device: str) -> None:
        self.setting, names, batch = setting, setting.names, len(setting.images)
        self.balancer = Balancer(names, "equal", sample_weighting=rule, samples=SAMPLES, total_steps=1000).to(device)
        self.balancer.set_epoch(20)
        self.index = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))[:batch].to(device)
        spread = torch.linspace(0, 1, batch, device=device)
        self.keys = {"weight": torch.ones_like(spread), "time": spread, "level": 0.01 + spread}

    def total(self, outs: list[Tensor]) -> Tensor:
        """The weighted sum of the losses."""
        entries = {}
        for name, out, classes in zip(self.setting.names, outs, self.setting.classes, strict=True):
            logits = self.balancer.temper(name, out, self.index, classes)
            entries[name] = Entry(functional.cross_entropy(logits, classes, reduction="none"), labels=classes)
        return self.balancer(entries, index=self.index, keys=self.keys)


def step(size: int, device: str) -> Step:
    """A whole step with uniform weights."""
    setting = Setting(size, device)
    weighing = Weighing(setting, "uniform", device)
    return lambda: setting.finish(weighing.total(setting.net(setting.images)[1]))


def alone(size: int, rule: str, device: str) -> Step:
    """The weighing by ``rule`` without the network."""
    setting = Setting(size, device)
    weighing = Weighing(setting, rule, device)
    outs = [out.detach().requires_grad_() for out in setting.net(setting.images)[1]]
    return lambda: weighing.total(outs).backward()


def seconds(run: Step, calls: int, device: str) -> float:
    """Time of this process for one of ``calls`` calls."""
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    begun = process_time()
    for _ in range(calls):
        run()
    if device != "cpu":
        torch.cuda.synchronize()
    return (process_time() - begun) / calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    listings = [one for one in registry.listings["sample_weighting"] if one.origin == ORIGIN]
    needs = {one.name: registry.load(one.kind, one.name).needs for one in listings}
    # A rule that measures held-out data always costs a held-out step.
    rules = [name for name in needs if name != "uniform" and SampleNeed.ALIGNMENT not in needs[name]]
    columns: dict[int, dict[str, float]] = {}
    for size in options.sizes:
        whole = step(size, options.device)
        runs = {name: alone(size, name, options.device) for name in ["uniform", *rules]}
        times: dict[str, list[float]] = {name: [] for name in ["", *runs]}
        for _ in range(options.rounds):
            times[""].append(seconds(whole, 1, options.device))
            for name, run in runs.items():
                times[name].append(seconds(run, CALLS, options.device))
        # What disturbs a measurement makes it longer.
        least = {name: min(of) for name, of in times.items()}
        columns[size] = {name: 1 + (least[name] - least["uniform"]) / least[""] for name in rules}
    print(
        f"# What weights of samples cost\n\nLeNet 36 x 36, K losses of 256 samples out of {SAMPLES}, {options.device}, "
        f"one thread, torch {torch.__version__}. A step with the rule over one with uniform weights: 1, and what the "
        f"weighing alone takes longer, over the step; least times of {options.rounds} rounds. Made by "
        "`python benchmarks/sample_cost.py`.\n"
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
