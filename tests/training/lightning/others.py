"""LightningModules as people write them who know nothing of autoloss but its balancer; made for either namespace."""

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from autoloss import Balancer, Entry

NAMES = ("depth", "normals", "edges")


def batches(steps, size=16, seed=1):
    """Inputs and a mask for each step."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, 5, generator=generator), torch.rand(size, generator=generator) > 0.4) for _ in range(steps)
    ]


class Network(nn.Module):
    def __init__(self, unused=False):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        self.decoders = nn.ModuleDict({name: nn.Linear(4, 3) for name in NAMES})
        if unused:
            self.idle = nn.Linear(2, 2)

    def forward(self, x):
        features = self.encoder(x)
        return {name: decoder(features) for name, decoder in self.decoders.items()}, features


def losses_of(outputs, mask):
    losses = {name: out.float().square().mean(1) * 4**k for k, (name, out) in enumerate(outputs.items())}
    return {**losses, "normals": Entry(losses["normals"], mask)}


def automatic(pl, weighting="gradnorm", accumulate=1, unused=False):
    class Automatic(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = Network(unused)
            self.balancer = Balancer(NAMES, weighting, accumulate=accumulate)

        def training_step(self, batch, batch_idx):
            x, mask = batch
            outputs, features = self.network(x)
            return self.balancer(losses_of(outputs, mask), anchor=features)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Automatic()


def manual(pl, weighting="gradnorm", accumulate=1, unused=False):
    class Manual(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.network = Network(unused)
            self.balancer = Balancer(NAMES, weighting, accumulate=accumulate)

        def training_step(self, batch, batch_idx):
            x, mask = batch
            optimizer = self.optimizers()
            outputs, features = self.network(x)
            total = self.balancer(losses_of(outputs, mask), anchor=features)
            self.manual_backward(total / accumulate)
            if (batch_idx + 1) % accumulate == 0:
                self.clip_gradients(optimizer, gradient_clip_val=0.5)
                optimizer.step()
                optimizer.zero_grad()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Manual()


def plain(data, weighting="gradnorm", accumulate=1, clip=None, cast=None):
    """The network and balancer after a loop without Lightning."""
    network, balancer = Network(), Balancer(NAMES, weighting, accumulate=accumulate)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for number, (x, mask) in enumerate(data, 1):
        with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
            outputs, features = network(x)
            total = balancer(losses_of(outputs, mask), anchor=features)
        (total / accumulate).backward()
        if number % accumulate == 0:
            if clip is not None:
                clip_grad_norm_(network.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
    return network, balancer


def fit(pl, module, data, epochs=1, resume=None, callbacks=(), **flags):
    """Train ``module`` on the batches of ``data``; the trainer."""
    flags = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False, **flags}
    trainer = pl.Trainer(
        max_epochs=epochs, enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks), **flags
    )
    loader = torch.utils.data.DataLoader(data, batch_size=None)
    trainer.fit(module, loader, ckpt_path=resume, **({"weights_only": True} if resume else {}))
    return trainer
