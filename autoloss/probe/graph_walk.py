"""Where a graph leads: a loss's to which outputs of one node, and past it; and through what DDP puts in the way."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

Edge = tuple[Node | None, int]
SINK = "_DDPSinkBackward"


def outputs_reached(loss: Tensor, node: Node) -> tuple[set[int], bool]:
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
            waiting += _next_edges(edge[0], edge[1])
    return outputs, past


def _next_edges(node: Node, output: int) -> Sequence[Edge]:
    # DDP passes everything that its module returns through one node, each to itself. With a static
    # graph a gradient may not be asked for out of turn, so that this one must be seen through.
    if node.name() != SINK:
        return node.next_functions
    differentiable: tuple[bool, ...] = node.needs_input_grad  # type: ignore[attr-defined]
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return [edges[sum(differentiable[1 : output + 1])]]


def before_ddp(tensor: Tensor) -> Tensor | GradientEdge:
    """Where to differentiate for ``tensor``: itself, or what a raw DDP's node copied it from.

    With ``find_unused_parameters=True`` DDP returns copies of what its module computed: the features
    that it returns are not those that its heads were computed from.
    """
    node = tensor.grad_fn
    if node is None or node.name() != SINK:
        return tensor
    inside, output = _next_edges(node, get_gradient_edge(tensor).output_nr)[0]
    assert inside is not None
    return GradientEdge(inside, output)


def nodes_of(tensors: Sequence[Tensor | None]) -> dict[Node, None]:
    """Every node of the graphs of ``tensors``, in the order in which they are met."""
    waiting = [tensor.grad_fn for tensor in tensors if tensor is not None]
    seen: dict[Node, None] = {}
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen[node] = None
            waiting += [inside for inside, _ in node.next_functions]
    return seen


def leaves_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """The leaves (parameters) that ``tensor`` is computed from; its graph is walked."""
    if tensor.grad_fn is None:
        return (tensor,) if tensor.requires_grad else ()
    leads = [node for node in nodes_of([tensor]) if node.name() == "torch::autograd::AccumulateGrad"]
    return tuple(node.variable for node in leads)  # type: ignore[attr-defined]
