"""Walks of autograd graphs: which outputs of a node a loss depends on, which nodes and leaves a graph has."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

Edge = tuple[Node | None, int]
SINK = "_DDPSinkBackward"


def outputs_reached(loss: Tensor, node: Node) -> tuple[set[int], bool]:
    """The outputs of ``node`` that ``loss`` depends on, and whether it depends on the node's input by another path.

    A node with several inputs and outputs (a stack that is split again, a compiled region) does not say which
    output depends on which input. The answer may therefore name too many outputs, but never too few.
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
            waiting += _next_edges(edge[0], edge[1])
    return outputs, past


def _next_edges(node: Node, output: int) -> Sequence[Edge]:
    # DDP passes all outputs of its module through one node, output i from input i. With a static graph
    # no extra gradient may be asked for, so the walk must match outputs and inputs by itself.
    if node.name() != SINK:
        return node.next_functions
    differentiable: tuple[bool, ...] = node.needs_input_grad  # type: ignore[attr-defined]
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return [edges[sum(differentiable[1 : output + 1])]]


def before_ddp(tensor: Tensor) -> Tensor | GradientEdge:
    """``tensor`` itself, or, where DDP returned it, the edge of the tensor that DDP copied.

    With ``find_unused_parameters=True`` DDP returns copies of its module's outputs. The heads inside the module
    were computed from the original, so a gradient must be taken there.
    """
    node = tensor.grad_fn
    if node is None or node.name() != SINK:
        return tensor
    inside, output = _next_edges(node, get_gradient_edge(tensor).output_nr)[0]
    assert inside is not None
    return GradientEdge(inside, output)


def nodes_of(tensors: Sequence[Tensor | None]) -> dict[Node, None]:
    """Every node of the graphs of ``tensors``, as the keys of a dict in the order of the walk."""
    waiting = [tensor.grad_fn for tensor in tensors if tensor is not None]
    seen: dict[Node, None] = {}
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen[node] = None
            waiting += [inside for inside, _ in node.next_functions]
    return seen


def leaves_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """The leaves (parameters) that ``tensor`` is computed from, found by a walk of its graph."""
    if tensor.grad_fn is None:
        return (tensor,) if tensor.requires_grad else ()
    ends = [node for node in nodes_of([tensor]) if node.name() == "torch::autograd::AccumulateGrad"]
    return tuple(node.variable for node in ends)  # type: ignore[attr-defined]
