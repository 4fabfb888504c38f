"""Lightning's optimiser steps are those of the balancer and of our module: short windows, L-BFGS, averages."""

import importlib

import pytest
import torch

from autoloss import Balancer
from autoloss.app.main import main
from autoloss.weightings.uncertainty import Uncertainty


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def pl(request):
    return pytest.importorskip(request.param)


def module_of(pl, make=torch.optim.SGD, weighting="uncertainty", automatic=True, **options):
    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.automatic_optimization = automatic
            self.net = torch.nn.Linear(5, 2)
            self.balancer = Balancer("ab", weighting, total_steps=30)

        def losses(self, net, x):
            out = net(x)
            return {"a": out[:, 0].square(), "b": out[:, 1].abs()}

        def training_step(self, x, i):
            if automatic:
                return self.balancer(self.losses(self.net, x))
            optimizer = self.optimizers()
            look = self.balancer.lookahead(
                self.net, optimizer, train=lambda net: self.losses(net, x), held_out=lambda net: self.losses(net, x)
            )
            with look:
                optimizer.zero_grad()
                self.manual_backward(self.balancer(self.losses(self.net, x)))
                optimizer.step()
            return None

        def configure_optimizers(self):
            optimizer = make(self.net.parameters(), lr=0.01, **options)
            self.balancer.watch(optimizer)
            return optimizer

    return Module()


def fit(pl, module, epochs=15, **flags):
    torch.manual_seed(1)
    data = torch.utils.data.DataLoader(torch.randn(40, 5), 8)  # 5 batches an epoch: windows of 4 and of 1
    flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, **flags}
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **flags)
    trainer.fit(module, data)
    return trainer


def test_a_short_last_window_is_a_step_too(pl):
    module = module_of(pl)
    trainer = fit(pl, module, accumulate_grad_batches=4)
    assert trainer.global_step == module.balancer.clock.step == 30
    assert module.balancer.clock.progress == 1.0


def test_lbfgs_learns_once_a_step(pl):
    module, steps = module_of(pl, torch.optim.LBFGS, max_iter=5), []
    update = module.balancer.player.weighting.update
    module.balancer.player.weighting.update = lambda signals: (steps.append(signals.step), update(signals))
    fit(pl, module, epochs=2)
    assert steps == list(range(10))


def test_a_look_ahead_takes_the_wrapped_optimiser(pl):
    module = module_of(pl, weighting="auto_lambda", automatic=False)
    fit(pl, module, epochs=1)
    assert module.balancer.clock.step == 5
    assert module.balancer.player.weighting.value.abs().max() > 0


def test_weights_are_averaged_with_all_buffers(pl):
    callbacks = importlib.import_module(f"{pl.__name__}.callbacks")
    module = module_of(pl)
    fit(pl, module, epochs=2, callbacks=[callbacks.WeightAveraging(use_buffers=True)])
    assert module.balancer.clock.step == 10


@pytest.mark.parametrize("accumulate", [1, 2])
def test_autoloss_train_learns_once_for_each_step_of_lbfgs(tmp_path, monkeypatch, accumulate):
    steps, update = [], Uncertainty.update
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Uncertainty, "update", lambda self, s: (steps.append(s.step), update(self, s))[1])
    keys = "train weighting=uncertainty optimizer._target_=torch.optim.LBFGS ~optimizer.weight_decay seed=0"
    keys += " trainer.max_epochs=1 trainer.limit_train_batches=3 problem.pairs=640 lr_schedule=constant name=lbfgs"
    keys += f" trainer.accumulate_grad_batches={accumulate} record.every=1"
    assert main(keys.split()) == 0
    assert steps == list(range(3 if accumulate == 1 else 2))
