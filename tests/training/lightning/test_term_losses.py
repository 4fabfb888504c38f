"""A module's losses while it trains: their schedules, across an interruption too, and wrong labels."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from autoloss.core.errors import ConfigError, EmptySelectionWarning, LabelError
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.schedules.progressive import build
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.problems._tensors import TensorTable
from autoloss.training.lightning.loaders import loader
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.weightings.equal import Equal
from autoloss.weightings.scheduled import Scheduled
from tests.trainers import quiet_trainer


class Labelled(Problem):
    """Classes of random points; ``wrong`` is what one label is."""

    terms = {"classes": "cross_entropy"}
    metrics = {"error": "min"}

    def __init__(self, wrong: int = 0, one_class: bool = False) -> None:
        self.wrong, self.one_class = wrong, one_class

    def datasets(self, seed):
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        y = (0 * x if self.one_class else x).argmax(1)
        y[5] = self.wrong
        return {"train": TensorTable(x=x, y=y), "val": TensorTable(x=x, y=y.clamp(max=3))}

    def network(self):
        torch.manual_seed(0)
        return nn.Linear(4, 4)

    def outputs(self, network, batch):
        prediction = network(batch["x"])
        return Outputs({"classes": Term(prediction, batch["y"])}, prediction)

    def measure(self, outputs):
        term = outputs.term("classes")
        return {"error": (term.prediction.argmax(1) != term.target).float()}


class Seen(pl.Callback):
    """Notes a parameter of the loss at each step."""

    def __init__(self, name):
        self.name, self.values = name, []

    def on_train_batch_end(self, trainer, module, *args):
        self.values.append(getattr(module.losses["classes"], self.name))


def fit(loss, problem=None, callbacks=(), epochs=4, checkpoint=None, directory=None):
    problem = problem or Labelled()
    losses = {"classes": build("loss", loss)}
    module = MultiTaskModule(problem, losses, Equal(), lambda p: torch.optim.Adam(p, 0.05))
    trainer = quiet_trainer(
        max_epochs=epochs,
        default_root_dir=directory,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )
    data = [loader(problem.datasets(0)[split], 16, 0, split == "train") for split in ("train", "val")]
    trainer.fit(module, *data, ckpt_path=checkpoint)
    return module, trainer


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory.*exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]
FOCAL = {"name": "focal", "gamma": "linear(0,2)"}


def test_a_parameter_follows_progress_step_by_step() -> None:
    seen = Seen("gamma")
    fit(FOCAL, callbacks=[seen], epochs=2)
    assert seen.values == pytest.approx([2 * step / 8 for step in range(8)])


def test_an_interrupted_training_goes_on_with_the_schedule_bit_for_bit(tmp_path) -> None:
    whole, _ = fit(FOCAL)
    part, trainer = fit(FOCAL, epochs=4, callbacks=[Stop(2)], directory=tmp_path)
    seen = Seen("gamma")
    resumed, _ = fit(FOCAL, callbacks=[seen], checkpoint=tmp_path / "at.ckpt")
    assert seen.values == pytest.approx([2 * step / 16 for step in range(8, 16)])
    assert torch.equal(resumed.network.weight, whole.network.weight)
    assert not torch.equal(part.network.weight, whole.network.weight)


class Stop(pl.Callback):
    """Saves a checkpoint and stops after some epochs."""

    def __init__(self, after):
        self.after = after

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch + 1 == self.after:
            trainer.should_stop = True

    def on_train_end(self, trainer, module):
        trainer.save_checkpoint(trainer.default_root_dir + "/at.ckpt")


def test_a_wrong_label_names_its_loss_at_once_on_a_cpu() -> None:
    with pytest.raises(LabelError, match=r"must be whole and lie in \[0, 3\], but loss 'classes' was given 7\."):
        fit("cross_entropy", Labelled(wrong=7))


def test_a_wrong_label_on_a_device_ends_the_epoch(monkeypatch) -> None:
    monkeypatch.setattr(DeferredChecks, "at_hand", lambda self, tensor: False)
    seen = Seen("label_smoothing")
    with pytest.raises(LabelError, match="but loss 'classes' was given 7"):
        fit({"combined": {"losses": ["cross_entropy", "focal"]}}, Labelled(wrong=7))
    with pytest.raises(LabelError, match="but loss 'classes' was given 7"):
        fit("cross_entropy", Labelled(wrong=7), [seen])
    assert len(seen.values) == 4


def test_batches_of_one_class_only_warn_once_and_train() -> None:
    with pytest.warns(EmptySelectionWarning, match="^Loss 'classes': Triplet needs two samples of a class") as found:
        module, _ = fit("triplet", Labelled(one_class=True), epochs=2)
    assert len([w for w in found if w.category is EmptySelectionWarning]) == 1
    assert module.network.weight.isfinite().all()


@pytest.mark.parametrize(
    "given",
    [{"loss": {"name": "focal", "gamma": "linear(0,2)"}}, {"penalties": {"sparsity": "linear(0,1)"}}, {}],
    ids=str,
)
def test_a_schedule_in_a_training_without_an_end_is_an_error_at_the_first_step(given, tmp_path):
    problem = Labelled()
    data = [loader(problem.datasets(0)[split], 16, 0, split == "train") for split in ("train", "val")]
    losses = {"classes": build("loss", given.get("loss", "cross_entropy"))}
    weighting = Equal() if given else Scheduled({"classes": "linear(1,0)"})
    adam = lambda p: torch.optim.Adam(p, 0.05)  # noqa: E731
    module = MultiTaskModule(problem, losses, weighting, adam, penalties=given.get("penalties"))
    trainer = quiet_trainer(max_epochs=-1, num_sanity_val_steps=0, default_root_dir=tmp_path)  # fmt: skip
    with pytest.raises(ConfigError, match="follows progress, so the length of training must be known, but it is not"):
        trainer.fit(module, *data)
