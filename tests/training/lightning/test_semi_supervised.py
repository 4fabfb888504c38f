"""Few labels and many samples: consistency and entropy with a ramp-up, a mean teacher, and pseudo-labels."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.schedules.progressive import build
from autoloss.problems._tensors import TensorTable
from autoloss.training.lightning.loaders import loader
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from tests.trainers import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec")


class Clusters(Problem):
    """Two clusters of 256 points with a label at every 16th, and a teacher that is the mean of the network so far."""

    terms = {"labelled": "cross_entropy", "teacher": "consistency", "sure": "entropy"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        draw = torch.Generator().manual_seed(0)
        y = torch.arange(256) % 2
        x = torch.randn(256, 6, generator=draw) * 0.8 + (2.0 * y[:, None] - 1)
        known = torch.arange(256) % 16 < 2
        table = TensorTable(x=x, y=y.where(known, -7), known=known)
        return {"train": table, "val": TensorTable(x=x, y=y, known=torch.ones(256).bool())}

    def network(self):
        torch.manual_seed(0)
        student = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
        teacher = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        return nn.ModuleDict({"student": student, "teacher": teacher.requires_grad_(False)})

    def outputs(self, network, batch):
        features = network["student"][:2](batch["x"])
        logits = network["student"][2](features)
        terms = {
            "labelled": Term(logits, batch["y"], batch["known"]),
            "teacher": Term(logits, network["teacher"](batch["x"])),
            "sure": Term(logits, logits, ~batch["known"]),
        }
        return Outputs(terms, features)

    def measure(self, outputs):
        term = outputs.term("labelled")
        return {"error": (term.prediction.argmax(1) != term.target).float()}


class Teach(pl.Callback):
    """Moves the teacher after each step, and keeps the weights that the losses had."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, module, *args):
        module.network["teacher"].update_parameters(module.network["student"])
        self.weights.append(module.player.weighed.weights.tolist())


@pytest.mark.parametrize("form", ["mse", "kl", "pseudo_label"])
def test_unlabelled_terms_ramp_up_and_the_network_learns(form: str) -> None:
    problem, teach = Clusters(), Teach()
    losses = {
        "labelled": build("loss", "cross_entropy"),
        "teacher": build("loss", {"name": "consistency", "form": form, "threshold": 0.9}),
        "sure": build("loss", "entropy"),
    }
    ramps = {"teacher": "rampup(2,0.5)", "sure": "rampup(0.1)"}
    weighting = build_weighting({"name": "scheduled", "schedules": ramps})
    module = MultiTaskModule(problem, losses, weighting, lambda p: torch.optim.Adam(p, 0.02))
    trainer = quiet_trainer(max_epochs=5, num_sanity_val_steps=0, callbacks=[teach])
    data = problem.datasets(0)
    trainer.fit(module, *(loader(data[split], 64, 0, split == "train") for split in ("train", "val")))
    first, half, last = teach.weights[0], teach.weights[10], teach.weights[-1]
    assert first == pytest.approx([1.0, 2 * math.exp(-5), 0.1 * math.exp(-5)])
    assert half == pytest.approx([1.0, 2.0, 0.1 * math.exp(-5 * 0.25)])
    assert last[2] == pytest.approx(0.1 * math.exp(-5 * 0.05**2))
    assert float(trainer.callback_metrics["val/error"]) < 0.1
    student, teacher = (dict(module.network[n].named_parameters()) for n in ("student", "teacher"))
    assert all(torch.isfinite(p).all() for p in student.values())
    assert not torch.equal(student["2.weight"], teacher["module.2.weight"])
