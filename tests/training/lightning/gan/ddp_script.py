"""Run by torch.distributed.run: two players on two ranks; writes what each rank has learned and drawn."""

import importlib.util
import json
import logging
import sys
import warnings
from pathlib import Path

import torch

from autoloss.training.lightning.gan.pace import Pace

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
spec = importlib.util.spec_from_file_location("game", Path(__file__).with_name("conftest.py"))
game = importlib.util.module_from_spec(spec)
spec.loader.exec_module(game)


class Noting(game.Points):
    """Notes the first samples, and spoils one loss on one rank where it is asked to."""

    def __init__(self, spoiled):
        super().__init__()
        self.spoiled, self.first, self.calls = spoiled, None, 0

    def generate(self, network, batch):
        generated = super().generate(network, batch)
        if self.first is None:
            self.first = generated.samples.detach().flatten().tolist()
        return generated

    def generator_outputs(self, network, discriminator, generated, batch):
        self.calls += 1
        if self.spoiled and self.calls == 2 and torch.distributed.get_rank() == 1:
            batch = {"x": batch["x"] * float("nan")}
        return super().generator_outputs(network, discriminator, generated, batch)


CASES = {
    "plain": ({}, {}, {}),
    "weighted": ({"weighting": "gradnorm"}, {"weighting": "uncertainty", "clip": 0.1}, {"average": 0.9}),
    "accumulated": ({"accumulate": 2, "weighting": "balancer"}, {"accumulate": 2, "steps": 2}, {}),
    "paced": ({}, {}, {"pace": Pace(target=0.55, rate=5.0, every=2)}),
    "skipping": ({"accumulate": 2}, {"accumulate": 2}, {"on_nonfinite": "skip"}),
}


def train(name):
    mine, its, more = CASES[name]
    problem = Noting(name == "skipping")
    module = game.module(problem, game.options("generator", **mine), game.options("discriminator", **its), **more)
    game.fit(module, 3, batch_size=4, devices=2, strategy="ddp_find_unused_parameters_true")
    state = {key: value.tolist() for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    skipped = module.player.nonfinite.skipped
    return {"state": state, "drawn": problem.first, "done": module.generator_player.steps_done, "skipped": skipped}


if __name__ == "__main__":
    found = {name: train(name) for name in CASES}
    rank = torch.distributed.get_rank()
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
