"""Two players under a Trainer: interrupted, averaged, recorded."""

import csv
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.training.lightning.callbacks.record import RecordCallback
from autoloss.training.lightning.callbacks.sample_grid import SampleGrid
from autoloss.training.lightning.gan.pace import Pace
from autoloss.training.step.build import build_sample_weighting, build_weighting


class Save(pl.Callback):
    def __init__(self, directory):
        self.directory = directory

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.directory / "last.ckpt")


class Stop(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            raise RuntimeError("pulled the plug")


@pytest.mark.parametrize("weightings", [("equal", "equal"), ("gradnorm", "uncertainty"), ("balancer", "rlw")])
def test_a_resumed_run_equals_the_uninterrupted_one_for_both_players(play, tmp_path, weightings):
    def fresh():
        return play.module(
            generator=play.options("generator", weightings[0], scheduler=cosine, clip=0.5),
            discriminator=play.options("discriminator", weightings[1], scheduler=cosine, accumulate=2),
            average=0.9,
            pace=Pace(target=0.6, every=2),
        )

    whole = play.fit(fresh(), 4, callbacks=[Save(tmp_path / "whole")])
    with pytest.raises(RuntimeError, match="pulled the plug"):
        play.fit(fresh(), 4, callbacks=[Save(tmp_path / "again"), Stop()])
    pl.seed_everything(99, verbose=False)
    again = play.fit(fresh(), 4, callbacks=[Save(tmp_path / "again")], checkpoint=str(tmp_path / "again/last.ckpt"))
    one, other = (torch.load(tmp_path / d / "last.ckpt", weights_only=True) for d in ("whole", "again"))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert (
            torch.equal(value, other["state_dict"][name])
            if isinstance(value, torch.Tensor)
            else (value == other["state_dict"][name])
        ), name
    assert str(one["optimizer_states"]) == str(other["optimizer_states"])
    assert whole.callback_metrics.keys() == again.callback_metrics.keys()
    assert all(torch.equal(whole.callback_metrics[k], again.callback_metrics[k]) for k in whole.callback_metrics)


def test_a_checkpoint_of_0_1_0_which_calls_the_players_seats_goes_on(play, tmp_path):
    def fresh():
        weighed = build_sample_weighting("super_loss")
        return play.module(
            generator=play.options("generator", "gradnorm"),
            discriminator=play.options("discriminator", "uncertainty", sample_weighting=weighed),
        )

    whole = fresh()
    play.fit(whole, 4)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        play.fit(fresh(), 4, callbacks=[Save(tmp_path), Stop()])
    found = torch.load(tmp_path / "last.ckpt", weights_only=True)
    seats = [key for key in found["state_dict"] if "_player." in key]
    for key in seats:
        # A seat had an extra state of its own, and the rest was its player's.
        inside = "" if key.endswith("_extra_state") else "player."
        found["state_dict"][key.replace("_player.", f"_seat.{inside}")] = found["state_dict"].pop(key)
    assert {"generator_seat.player.last", "generator_seat._extra_state"} <= found["state_dict"].keys()
    torch.save(found, tmp_path / "old.ckpt")
    again = fresh()
    play.fit(again, 4, checkpoint=str(tmp_path / "old.ckpt"))
    one, other = whole.state_dict(), again.state_dict()
    assert one.keys() == other.keys()
    assert all(str(one[key]) == str(other[key]) for key in seats)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def cosine(optimizer, turns):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, turns)


def test_schedulers_end_where_training_does(play):
    for steps in (1, 4):
        module = play.module(discriminator=play.options("discriminator", steps=steps, scheduler=cosine))
        play.fit(module, 3)
        assert module.optimizers()[1].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_validation_uses_the_average_and_leaves_training_s_random_numbers_alone(play):
    def trained(every):
        module = play.module(average=0.9)
        trainer = play.fit(module, 4, check_val_every_n_epoch=every)
        return module, trainer.callback_metrics

    often, metrics = trained(1)
    seldom, same = trained(4)
    for a, b in zip(often.parameters(), seldom.parameters(), strict=True):
        assert torch.equal(a, b)
    assert metrics == same
    assert set(metrics) == {"val/distance", "val/bias"}
    raw = play.module()
    assert play.fit(raw, 4).callback_metrics["val/distance"] != metrics["val/distance"]
    assert all(torch.equal(a, b) for a, b in zip(raw.network.parameters(), often.network.parameters(), strict=True))


def test_the_average_is_that_of_the_parameters(play):
    seen = []

    class See(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            seen.append([p.detach().clone() for p in pl_module.network.parameters()])

    module = play.module(average=0.5)
    start = [p.detach().clone() for p in module.network.parameters()]
    play.fit(module, 2, callbacks=[See()])
    for step, now in enumerate(seen):
        decay = min(0.5, (1 + step) / (10 + step))
        start = [decay * a + (1 - decay) * p for a, p in zip(start, now, strict=True)]
    for a, b in zip(module.average.network.parameters(), start, strict=True):
        torch.testing.assert_close(a, b)


def test_records_name_the_players_and_count_batches(play, tmp_path):
    module = play.module(
        generator=play.options("generator", "gradnorm"), discriminator=play.options("discriminator", steps=3)
    )
    board = TensorBoardLogger(str(tmp_path), name="", version="")
    play.fit(module, 2, callbacks=[RecordCallback(tmp_path, 3), SampleGrid(tmp_path)], logger=board)
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 3, 6, 9]
    assert module.discriminator_player.steps_done == 12
    assert all(float(row["loss_weight/generator/near"]) > 0 for row in rows)
    assert all(float(row["loss_weight/discriminator/penalty"]) == 1 for row in rows)
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "images": 0}).Reload()
    assert [e.step for e in events.Scalars("loss_raw/discriminator/adv")] == [0, 3, 6, 9]
    assert [e.step for e in events.Scalars("val/distance")] == [6, 12] or [
        e.step for e in events.Scalars("val/distance")
    ] == [5, 11]
    assert [e.step for e in events.Images("samples")] == [6, 12]
    assert (tmp_path / "samples.png").read_bytes()[:4] == b"\x89PNG"


def test_a_lazy_penalty_is_absent_in_between_and_counts_for_every_step(play):
    from autoloss.losses.r1 import R1

    seen = []

    class See(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            weighed = pl_module.discriminator_player.weighed
            seen.append((bool(weighed.losses.present[1]), float(weighed.losses.values[1])))

    lazy = play.options("discriminator", "uncertainty", losses={"penalty": R1(gamma=0.5, every=4)})
    plain = play.options("discriminator", "uncertainty")
    play.fit(play.module(discriminator=lazy), 2, callbacks=[See()])
    assert [present for present, _ in seen] == [True, False, False, False] * 3
    first = seen[0][1]
    seen.clear()
    play.fit(play.module(discriminator=plain), 1, callbacks=[See()])
    assert first == pytest.approx(4 * seen[0][1])


def test_a_penalty_is_never_balanced(play):
    module = play.module(discriminator=play.options("discriminator", "uncertainty"))
    play.fit(module, 2)
    adv, penalty = module.discriminator_player.last.tolist()
    assert penalty == 1
    assert adv != 1


LOOKING_AHEAD = {"famo", "meta", "auto_lambda", "ol_aux", "moml"}


@pytest.mark.parametrize("name", sorted(registry.names("weighting")))
def test_every_weighting_serves_a_generator(play, name):
    given = {"pbi": {}, "vqgan": {"adversarial": "adv"}, "scheduled": {"schedules": {"adv": "linear(0,1)"}}}
    try:
        weighting = build_weighting({"name": name, **given.get(name, {})})
    except ConfigError as error:
        pytest.skip(str(error))
    from autoloss.core.need import OUTCOME

    if weighting.needs & OUTCOME:
        with pytest.raises(ConfigError, match=f"Weighting '{name}' needs to look at what its step did"):
            play.options("generator", weighting)
        return
    module = play.module(generator=play.options("generator", weighting))
    play.fit(module, 1)
    assert all(p.isfinite().all() for p in module.network.parameters())
    assert module.player.weighed is not None


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(play, precision):
    module = play.module(generator=play.options("generator", "gradnorm"))
    play.fit(module, 1, precision=precision)
    assert module.player.last.dtype == torch.float32
    assert module.player.last.isfinite().all()


def test_a_fork_at_the_samples_gives_what_the_samples_as_anchor_give(play):
    def trained(anchor):
        module = play.module(generator=play.options("generator", "gradnorm"), anchor=anchor)
        play.fit(module, 2)
        return module

    one, other = trained("features"), trained("fork")
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_samples_are_weighed_for_either_player(play, points, tmp_path):
    class Indexed(points):
        def datasets(self, seed):
            data = super().datasets(seed)
            data["train"].columns["index"] = torch.arange(48)
            data["val"].columns["index"] = torch.arange(8)
            return data

        def generator_outputs(self, network, discriminator, generated, batch):
            outputs = super().generator_outputs(network, discriminator, generated, batch)
            return replace(outputs, index=batch["index"], keys={"weight": (batch["index"] < 24).float()})

    given = build_sample_weighting({"name": "given", "terms": ["near"]})
    module = play.module(
        Indexed(),
        generator=play.options("generator", sample_weighting=given, samples=48),
        discriminator=play.options("discriminator", sample_weighting=build_sample_weighting("super_loss")),
        average=0.9,
    )
    play.fit(module, 2, callbacks=[RecordCallback(tmp_path, every=1)])
    its = module.discriminator_player.samples
    assert its.names == ("adv",)
    assert its.rules[0].seen == 12
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    used = [float(row["sample_used/generator/near"]) for row in rows]
    assert sum(used) / len(used) == pytest.approx(0.5)
    assert float(rows[0]["sample_weight_mean/discriminator/adv"]) > 0
    with pytest.raises(ConfigError, match="learns from held-out data, but a GAN has none"):
        play.options("generator", sample_weighting=build_sample_weighting("reweight"))
