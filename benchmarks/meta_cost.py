"""What learning weights from held-out data costs, in time and memory, as ratios to a plain summed step.

`make bench` runs it after `step_cost.py`, whose clock and rounds it uses. The double backward, beside ours, unrolls a
step of SGD and differentiates it twice: what libraries for hypergradients do. Memory is the peak of what torch has
allocated during a step, beyond what there was before it.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from lenet import BATCH, batch
from step_cost import ratios
from steps import Setting, Step, plain
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from autoloss import Balancer

LIMITS = {"whole": 3.0, "quarter": 2.5, "now and then": 1.45}
MEMORY, FLAT = 1.7, 1.15


class Held(Setting):
    """The setting with a held-out batch of ``size`` samples."""

    def __init__(self, losses: int, device: str, size: int) -> None:
        super().__init__(losses, device)
        images, classes = batch(losses, device)
        self.held_images, self.held_classes = images[:size].flip(-1), classes[:, :size]

    def held(self, outs: list[Tensor]) -> dict[str, Tensor]:
        """The losses of the held-out batch."""
        pairs = zip(self.names, outs, self.held_classes, strict=True)
        return {name: functional.cross_entropy(out, classes) for name, out, classes in pairs}


def ours(losses: int, device: str, weighting: object, size: int = BATCH) -> Step:
    """The weights learned by one forward-mode pass through the real step."""
    setting = Held(losses, device, size)
    balancer, net = Balancer(setting.names, weighting).to(device), setting.net

    def step() -> None:
        with balancer.lookahead(
            net,
            setting.optimizer,
            train=lambda net: setting.losses()[1],
            held_out=lambda net: setting.held(net(setting.held_images)[1]),
        ):
            setting.finish(balancer(setting.losses()[1]))

    return step


def double(losses: int, device: str, size: int = BATCH) -> Step:
    """The weights' gradient by an unrolled step of SGD, differentiated twice."""
    setting = Held(losses, device, size)
    names, values = zip(*setting.net.named_parameters(), strict=True)
    weights = torch.ones(losses, device=device, requires_grad=True)
    lr = setting.optimizer.param_groups[0]["lr"]

    def step() -> None:
        total = (weights * torch.stack(list(setting.losses()[1].values()))).sum()
        gradients = torch.autograd.grad(total, values, create_graph=True)
        moved = {name: p - lr * g for name, p, g in zip(names, values, gradients, strict=True)}
        held = setting.held(functional_call(setting.net, moved, (setting.held_images,))[1])
        torch.autograd.grad(torch.stack(list(held.values())).sum(), weights)
        for parameter, gradient in zip(values, gradients, strict=True):
            parameter.grad = gradient.detach()
        setting.optimizer.step()

    return step


def peak(step: Step, device: str) -> int:
    """The most bytes that a step holds over what there was before it."""
    step()
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    held = most = 0
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def rows() -> dict[str, tuple[str, partial[Step]]]:
    """Each row's name, its bar, and what makes its step."""
    now_and_then = {"name": "auto_lambda", "wrap": {"every_n": {"n": 5}}}
    return {
        "sum": ("", partial(plain)),
        "auto_lambda": ("whole", partial(ours, weighting="auto_lambda")),
        "learned": ("whole", partial(ours, weighting="learned")),
        "auto_lambda, a quarter held out": ("quarter", partial(ours, weighting="auto_lambda", size=BATCH // 4)),
        "learned, a quarter held out": ("quarter", partial(ours, weighting="learned", size=BATCH // 4)),
        "double backward": ("", partial(double)),
    } | {"auto_lambda, every_n(5), mean of 5 steps": ("now and then", partial(five, weighting=now_and_then))}


def five(losses: int, device: str, weighting: object) -> Step:
    """Five steps, of which one looks ahead."""
    step = ours(losses, device, weighting)

    def steps() -> None:
        for _ in range(5):
            step()

    return steps


def verdict(times: dict[int, dict[str, float]], memory: dict[int, dict[str, float]]) -> list[str]:
    """The rows that exceed their bar."""
    over = []
    for name, (bar, _) in rows().items():
        for size, column in times.items():
            limit = LIMITS.get(bar)
            if limit is not None and column[name] > limit:
                over.append(f"{name} at K = {size}: {column[name]:.3f}, the bar is {limit:.2f}")
            if limit is not None and memory[size][name] > min(MEMORY, memory[size]["double backward"]):
                over.append(f"{name} at K = {size}: memory {memory[size][name]:.2f}, the bar is {MEMORY:.2f}")
        first, last = (times[size][name] for size in (min(times), max(times)))
        if bar == "whole" and last > FLAT * first:
            over.append(f"{name}: {last / first:.2f} times as slow at K = {max(times)} as at {min(times)}")
    return over


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"LeNet 36x36, batch 256, {options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"ratio to a plain summed step, median over {options.rounds} rounds\n", flush=True)
    times: dict[int, dict[str, float]] = {}
    memory: dict[int, dict[str, float]] = {}
    for size in options.sizes:
        steps = {name: make(size, options.device) for name, (_, make) in rows().items()}
        times[size] = {n: t / (5 if "5" in n else 1) for n, t in ratios(steps, options.rounds, options.device).items()}
        bytes_of = {name: peak(step, options.device) for name, step in steps.items()}
        memory[size] = {name: of / bytes_of["sum"] for name, of in bytes_of.items()}
    for title, table in (("time", times), ("peak memory", memory)):
        print(f"| {title} | " + " | ".join(f"K = {size}" for size in options.sizes) + " |")
        print("|---|" + "---|" * len(options.sizes))
        for name in rows():
            print(f"| {name} | " + " | ".join(f"{table[size][name]:.3f}" for size in options.sizes) + " |")
        print()
    over = verdict(times, memory)
    print("Every row is within its bar." if not over else "Over the bar:\n" + "\n".join(over))


if __name__ == "__main__":
    main()
