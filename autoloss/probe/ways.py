"""Where a loss's graph leads: to which outputs of one node, and past it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node

Edge = tuple[Node | None, int]


def ways(loss: Tensor, node: Node) -> tuple[set[int], bool]:
    """Which outputs of ``node`` the graph of ``loss`` leads to, and whether it leads to the node's input past it.

    A node with several inputs and outputs (a stack that is taken apart again, a compiled region)
    does not say which belong together: more may be named than are true, never fewer.
    """
    source = node.next_functions[0]
    outputs: set[int] = set()
    past = False
    waiting: list[Edge] = [(loss.grad_fn, loss.output_nr)]
    seen: set[Edge] = set()
    while waiting:
        edge = waiting.pop()
        if edge[0] is node:
            outputs.add(edge[1])
        elif edge == source:
            past = True
        elif edge[0] is not None and edge not in seen:
            seen.add(edge)
            waiting += _inputs(edge[0], edge[1])
    return outputs, past


def _inputs(node: Node, output: int) -> Sequence[Edge]:
    # DDP passes everything that its module returns through one node, each to itself. With a static
    # graph a gradient may not be asked for out of turn, so that this one must be seen through.
    if node.name() != "_DDPSinkBackward":
        return node.next_functions
    differentiable: tuple[bool, ...] = node.needs_input_grad  # type: ignore[attr-defined]
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return [edges[sum(differentiable[1 : output + 1])]]
