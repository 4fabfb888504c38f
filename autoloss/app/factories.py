"""The pieces that every module is built from, by their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoloss.app.instantiate import factory, tried
from autoloss.core.errors import unknown
from autoloss.core.loss import Loss
from autoloss.core.schedules.progressive import build


def build_loss(node: str | Mapping[str, Any]) -> Loss:
    """The loss that a node of ``config.losses`` names."""
    loss: Loss = build("loss", node)
    return loss


def loss_nodes(
    losses: Mapping[str, Any], terms: Mapping[str, str | None], whose: str = ""
) -> dict[str, str | Mapping[str, Any]]:
    """The loss of each of the ``terms``: what the configuration's ``losses`` say, and else the problem's own."""
    for name in losses:
        if name not in terms:
            raise unknown(f"{whose} loss".strip(), name, terms)
    nodes: dict[str, str | Mapping[str, Any]] = {}
    for name, default in terms.items():
        node = losses.get(name, default)
        if node is not None:
            # A node without a name sets parameters of the problem's own loss.
            nodes[name] = {"name": default, **node} if isinstance(node, Mapping) else node
    return nodes


def build_scheduler(node: Mapping[str, Any], optimizer: Optimizer, steps: int) -> Any:
    """The learning-rate scheduler of ``optimizer`` over ``steps`` steps."""
    filled = {key: steps if key == "T_max" and value is None else value for key, value in node.items()}
    return factory(filled, LRScheduler)(optimizer)


def checked_optimizer(node: Mapping[str, Any], schedule: Mapping[str, Any]) -> partial[Any]:
    """The optimiser that ``node`` names, once it and its ``schedule`` were seen to take their parameters."""
    parameter = Parameter(torch.zeros(1))
    make = factory(node, Optimizer)
    tried(make, [parameter], str(node["_target_"]))
    tried(partial(build_scheduler, schedule, steps=1), SGD([parameter], lr=0.1), str(schedule["_target_"]))
    return make
