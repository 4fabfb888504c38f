"""A student that learns from labels and from a teacher: labels, soft answers, and features.

- Balance `labels`, `teacher` and `features`: a softened answer has small gradients (they fall with the square
  of the temperature, which the loss `distillation` gives back), and features have units of their own.
- Leave alone: nothing, if all three are to be fitted. Where the teacher is weak, give it less by a base weight:
  `base={"teacher": 0.3}`.
- Safe: any weighting. `features` never reaches 0, so methods that go by progress (`dwa`, `gradnorm` with a
  large alpha) end up with most of the weight on it.

    python examples/distillation.py
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

import autoloss

CLASSES, TEMPERATURE = 3, 4.0


def network(width: int) -> nn.Sequential:
    """A classifier of points in a plane."""
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, CLASSES))


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points, and the ring in which each lies; one label of ten is wrong."""
    points = 2 * torch.rand(size, 2) - 1
    labels = (points.norm(dim=1) * 2.5).long().clamp(max=CLASSES - 1)
    return points, torch.where(torch.rand(size) < 0.1, torch.randint(CLASSES, (size,)), labels)


def train(steps: int = 300, seed: int = 0) -> dict[str, float]:
    """The student's error (a tenth of the labels is wrong), and the weights."""
    torch.manual_seed(seed)
    teacher, student, adapter = network(64), network(8), nn.Linear(8, 64)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.02)
    for _ in range(steps):
        points, labels = batch(256)
        optimizer.zero_grad()
        functional.cross_entropy(teacher(points), labels).backward()
        optimizer.step()
    teacher.requires_grad_(False)
    optimizer = torch.optim.Adam([*student.parameters(), *adapter.parameters()], lr=0.02)
    balancer = autoloss.Balancer(["labels", "teacher", "features"], "auto", total_steps=steps)
    wrong = torch.zeros(1)
    for _ in range(steps):
        points, labels = batch(256)
        features, known = student[:2](points), teacher[:2](points)
        logits, soft = student[2](features), (teacher[2](known) / TEMPERATURE).softmax(1)
        wrong = logits.argmax(1) != labels
        losses = {
            "labels": functional.cross_entropy(logits, labels, reduction="none"),
            "teacher": TEMPERATURE**2
            * functional.kl_div((logits / TEMPERATURE).log_softmax(1), soft, reduction="none").sum(1),
            "features": (adapter(features) - known).square().mean(1),
        }
        optimizer.zero_grad()
        balancer(losses, anchor=features).backward()
        optimizer.step()
    return {"error": float(wrong.float().mean()), **balancer.weights}


if __name__ == "__main__":
    print(train())
