"""A loop on Hugging Face Accelerate, weighted by `autoloss.Balancer`.

Accelerate shares batches out, casts, accumulates and scales; the balancer only makes the total that
`accelerator.backward` gets. Its state is registered, so that `save_state` and `load_state` continue it. It watches the
optimizer, because the last step of an epoch may have fewer batches, and a step may be skipped under float16.

    python examples/accelerate_loop.py              # or: accelerate launch examples/accelerate_loop.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import autoloss


class Network(nn.Module):
    """A shared encoder and two heads: a sum to regress, and its sign."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
        self.total, self.sign = nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The predicted sum [B] and the logit of its sign [B]."""
        features = self.encoder(x)
        return self.total(features)[:, 0], self.sign(features)[:, 0]


def train(
    epochs: int = 3,
    accumulate: int = 2,
    seed: int = 0,
    checkpoint: Path | None = None,
    resume: Path | None = None,
    cpu: bool = False,
    mixed_precision: str = "no",
    size: int = 512,
) -> tuple[nn.Module, autoloss.Balancer]:
    """Train; write ``checkpoint`` after each epoch, go on from ``resume``. The network and the balancer."""
    accelerator = Accelerator(gradient_accumulation_steps=accumulate, cpu=cpu, mixed_precision=mixed_precision)
    torch.manual_seed(seed)
    x = torch.randn(size, 8)
    y = 10 * x.sum(1)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    network, optimizer, loader = accelerator.prepare(network, optimizer, loader)

    balancer = autoloss.Balancer(["sum", "sign"], weighting="gradnorm")
    balancer.watch(optimizer)
    accelerator.register_for_checkpointing(balancer)
    # Not the features: Accelerate casts what a network returns to copies that no head has seen.
    shared = list(accelerator.unwrap_model(network).encoder[-1].parameters())
    if resume is not None:
        accelerator.load_state(str(resume))
    for _ in range(epochs):
        for inputs, targets in loader:
            with accelerator.accumulate(network):
                total, sign = network(inputs)
                losses = {
                    "sum": (total.float() - targets).square(),
                    "sign": nn.functional.binary_cross_entropy_with_logits(
                        sign.float(), (targets > 0).float(), reduction="none"
                    ),
                }
                # Under float16 gradients are measured at the scale of the backward.
                scale = (
                    None if accelerator.scaler is None else accelerator.scaler.scale(torch.ones((), device=x.device))
                )
                accelerator.backward(balancer(losses, anchor=shared, scale=scale))
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        if checkpoint is not None:
            accelerator.save_state(str(checkpoint))
    balancer.close()
    return accelerator.unwrap_model(network), balancer


if __name__ == "__main__":
    print("weights:", {name: round(weight, 4) for name, weight in train()[1].weights.items()})
