"""Run by torch.distributed.run: Lightning trains on a share of each batch; writes what was learned."""

import json
import os
import sys

import others
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader

from autoloss.core.problem import Outputs, Problem
from autoloss.core.registry.lookup import registry
from autoloss.training.lightning.multitask import MultiTaskModule

UNUSED, STATIC = {"strategy": {"find_unused_parameters": True}}, {"strategy": {"static_graph": True}}
FLAGS = {"gradient_clip_val": 0.5, "accumulate_grad_batches": 2}


class Three(Problem):
    """The three tasks as a problem of ours; with loaders of their own, each task has a batch, or none."""

    terms = {"depth": None, "normals": None, "edges": None}

    def network(self):
        return others.Network()

    def outputs(self, network, batch):
        if isinstance(batch, dict):
            found = {n: network(x)[0][n].square().mean(1) * 4 for n, x in batch.items() if x is not None}
            return Outputs(found, list(network.encoder.parameters()))
        x, mask = batch
        outputs, features = network(x)
        return Outputs(others.losses_of(outputs, mask), features)

    def datasets(self, seed):
        raise NotImplementedError

    def measure(self, outputs):
        return {}


def multitask(pl, weighting="gradnorm", accumulate=1, unused=False):
    return MultiTaskModule(Three(), {}, registry.build("weighting", weighting), lambda p: torch.optim.Adam(p, lr=0.01))


CASES = {
    "automatic": (others.automatic, {}, {}),
    "automatic, unused": (others.automatic, {"unused": True}, UNUSED),
    "automatic, static": (others.automatic, {}, STATIC),
    "automatic, flags": (others.automatic, {"accumulate": 2}, FLAGS),
    "automatic, bf16-mixed": (others.automatic, {"accumulate": 2}, {**FLAGS, "precision": "bf16-mixed"}),
    "manual": (others.manual, {}, {}),
    "manual, accumulation": (others.manual, {"accumulate": 2}, {}),
    "multitask": (multitask, {}, {}),
    "multitask, values": (multitask, {"weighting": "uncertainty"}, {}),
    "multitask, static": (multitask, {}, STATIC),
    "multitask, flags": (multitask, {}, {**FLAGS, **UNUSED}),
    "multitask, bf16-mixed": (multitask, {}, {**FLAGS, "precision": "bf16-mixed"}),
    "multitask, loaders": (multitask, {}, UNUSED),
}


def loader_of(case, rank, ranks):
    """This rank's share of each batch, uneven; or what the tasks' own loaders give it."""
    here = slice(None) if ranks == 1 else (slice(0, 11), slice(11, 16))[rank]
    if "loaders" not in case:
        return DataLoader([(x[here], mask[here]) for x, mask in others.batches(8)], batch_size=None)
    sizes = {"depth": 8, "normals": 4, "edges": 6}
    loaders = {n: [x[here] for x, _ in others.batches(steps, seed=steps)] for n, steps in sizes.items()}
    return CombinedLoader({n: DataLoader(xs, batch_size=None) for n, xs in loaders.items()}, "max_size")


def train(case, rank, ranks):
    make, options, flags = CASES[case]
    module = make(pl, **options)
    if ranks == 1:
        flags = {k: v for k, v in flags.items() if k != "strategy"}
    else:
        # A strategy serves one trainer.
        strategy = DDPStrategy(**flags.get("strategy", {}))
        flags = {**flags, "strategy": strategy, "devices": ranks, "use_distributed_sampler": False}
    flags = {"accelerator": "cpu", "devices": 1, **flags}
    trainer = pl.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )
    trainer.fit(module, loader_of(case, rank, ranks))
    player = getattr(module, "player", None) or module.balancer.player
    state = {name: value.tolist() for name, value in player.state_dict().items()}
    used = [
        p.detach().reshape(-1) for p in nn.ModuleList([module.network.encoder, module.network.decoders]).parameters()
    ]
    return {"state": state, "parameters": torch.cat(used).tolist()}


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    rank = int(os.environ.get("RANK", 0))
    found = {case: train(case, rank, ranks) for case in CASES}
    with open(f"{sys.argv[2]}/{ranks}-{rank}.json", "w") as file:
        json.dump(found, file)
