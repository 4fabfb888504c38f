"""What learning ten numbers of losses costs beside learning weights, as a ratio of steps in one run.

Both steps learn the weights of four losses with `auto_lambda`: two `poly`, a `focal` and a `cross_entropy`. In one of
them the ten numbers of these losses are learned too, from every fourth step: the ratio is that of four steps in a row.
The clock is the process's CPU time, since other work shares the machine. Writes benchmarks/results/numbers_cost.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from lenet import batch
from meta_cost import Held
from torch import Tensor

from autoloss import Balancer, build
from autoloss.core.loss import Loss
from autoloss.training.step.loss_numbers import SELDOM

LIMIT = 1.15
PAGE = Path(__file__).with_name("results") / "numbers_cost.md"
NODES = (
    {"name": "poly", "e1": 1.0, "e2": 0.1, "e3": 0.1, "gamma": 0.5},
    {"name": "poly", "e1": 1.0, "e2": 0.1, "e3": 0.1, "gamma": 0.5},
    {"name": "focal", "gamma": 2.0},
    {"name": "cross_entropy", "label_smoothing": 0.1},
)


class Numbered(Held):
    """The setting with a loss of its own for each head; its numbers are ``learned`` or fixed."""

    def __init__(self, device: str, learned: bool) -> None:
        super().__init__(len(NODES), device, len(batch(len(NODES), device)[0]))
        nodes = [{k: "learned" if learned and k != "name" else v for k, v in node.items()} for node in NODES]
        self.of: dict[str, Loss] = {name: build("loss", node) for name, node in zip(self.names, nodes, strict=True)}
        self.balancer = Balancer(self.names, "auto_lambda", learned=self.of if learned else None).to(device)

    def own(self, outs: list[Tensor]) -> dict[str, Tensor]:
        """The losses of the training batch."""
        pairs = zip(self.names, outs, self.classes, strict=True)
        return {name: self.of[name](out, classes) for name, out, classes in pairs}

    def step(self) -> None:
        """One step."""
        net = self.net
        with self.balancer.lookahead(
            net,
            self.optimizer,
            train=lambda net: self.own(net(self.images)[1]),
            held_out=lambda net: self.held(net(self.held_images)[1]),
        ):
            self.finish(self.balancer(self.own(net(self.images)[1])))


def main() -> None:
    """Print the ratio and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights, numbers = Numbered(options.device, False), Numbered(options.device, True)
    found = []
    for _ in range(options.rounds):
        row = []
        for setting in (weights, numbers):
            setting.step()
            begun = time.process_time()
            for _ in range(SELDOM):
                setting.step()
            row.append(time.process_time() - begun)
        found.append(row[1] / row[0])
    count = len(numbers.balancer.player.numbers or ())
    sentence = (
        f"A step that learns {count} numbers and {len(NODES)} weights costs {median(found):.3f} of one that learns "
        f"{len(NODES)} weights (bar {LIMIT}): the median of {len(found)} pairs, from {min(found):.3f} to "
        f"{max(found):.3f}."
    )
    print(sentence)
    setting = f"LeNet 36x36, batch 256, {options.device}, 1 thread, torch {torch.__version__}; process time."
    command = f"`python benchmarks/numbers_cost.py --rounds {options.rounds}`"
    head = f"# What learning the numbers of losses costs\n\n{command}. {setting}"
    PAGE.write_text(f"{head}\n\n{sentence}\n")


if __name__ == "__main__":
    main()
