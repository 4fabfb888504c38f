"""Finds what makes gradients at an anchor wrong or unavailable, and says what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from autoloss.core.errors import SignalError
from autoloss.probe.anchor import AnchorPoint
from autoloss.probe.graph_walk import SINK, before_ddp, nodes_of

REENTRANT = "CheckpointFunctionBackward"
# A part of torch's message, and the error that we raise instead.
EXPLANATIONS = {
    "use_reentrant": "Losses must be differentiable on their own to be compared, but activation checkpointing between "
    "them and the anchor is reentrant. Pass use_reentrant=False to torch.utils.checkpoint.",
    "setStorage": "Gradients must be measured while parameters are whole, but FSDP has sharded them again. Compute "
    "losses and total in the wrapped module's forward, or use fully_shard and return the losses from it as tensors in "
    "a dict or list, where torch finds them.",
}


def check_obstacles(losses: Sequence[Tensor | None], anchor: AnchorPoint) -> None:
    """Raise :class:`SignalError` if the graph of ``losses`` makes gradients at ``anchor`` wrong or absent.

    torch itself would raise no error. This happens with a raw DDP with a static graph, whose reduction a probe would
    start too early, and with reentrant checkpoints and shards, which hide a parameter from the graph.
    """
    seen = nodes_of(losses)
    if any(node.name() == SINK and node.ddp_weakref().static_graph for node in seen):  # type: ignore[attr-defined]
        raise SignalError(
            "Gradients must be measured inside the forward that DistributedDataParallel wraps where its graph "
            "is static, but the losses were computed outside. Compute losses and total in the wrapped "
            "module's forward, leave out static_graph=True, or use a fork."
        )
    missed = [tensor for tensor in anchor.tensors if _node(tensor) not in seen]
    if any(type(t).__name__ == "DTensor" or hasattr(t, "_fsdp_flattened") for t in missed):
        raise SignalError(
            "A parameter must be whole to be an anchor, but FSDP has sharded it again. Pass the features as anchor, "
            "or reshard_after_forward=False to the fully_shard of its module."
        )
    if missed and anchor.parameters and any(node.name() == REENTRANT for node in seen):
        raise SignalError(
            f"Parameters must be reached through the graph to be an anchor, but {len(missed)} of {len(anchor.tensors)} "
            "are behind reentrant activation checkpointing. Pass use_reentrant=False to torch.utils.checkpoint, or the "
            "features as anchor."
        )


def explained(error: RuntimeError) -> SignalError | None:
    """The error to raise instead of torch's ``error``, or ``None`` if it is not a known one."""
    return next((SignalError(meaning) for words, meaning in EXPLANATIONS.items() if words in str(error)), None)


def _node(tensor: Tensor) -> Node:
    at = before_ddp(tensor)
    return get_gradient_edge(at).node if isinstance(at, Tensor) else at.node
