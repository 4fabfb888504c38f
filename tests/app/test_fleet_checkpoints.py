"""Checkpoints of the members of a fleet: those of the runs alone."""

import json

import pytest
import torch
from torch.utils import _pytree as pytree

import autoloss as autoloss_package
from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request, train_alone
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.overrides import rewritten
from tests.app.fleets import members, worth_it

__all__ = ["members", "worth_it"]  # fixtures
SMALL = ("problem.pairs=200", "trainer.max_epochs=2", "lr_schedule=cosine", "trainer.accumulate_grad_batches=2")
KINDS = {
    "adam": ("weighting=uncertainty", "sample_weighting=super_loss"),
    "sgd": ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=0.05", "penalties.sparsity=0.001"),
    "adamw": ("optimizer=adamw", "weighting=gradnorm"),
}


def loaded(directory):
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_alone_goes_on_from_the_checkpoint_of_a_member(autoloss, tmp_path, worth_it, members, kind):
    def made(way, seed):
        given = rewritten([*SMALL, *KINDS[kind], f"seed={seed}", "record.every=1"])
        return Request(composed("train", given, []), tmp_path / f"{way} {seed}", given)

    assert all(one["state"] == "finished" for one in FleetRuns().train([made("fleet", seed) for seed in range(3)]))
    assert members == [3]
    train_alone(made("alone", 1))
    ours, theirs = loaded(tmp_path / "fleet 1"), loaded(tmp_path / "alone 1")
    assert ours.keys() == theirs.keys()
    for found in (ours, theirs):
        # Lightning counts the batches of its own validation.
        found["loops"]["fit_loop"].pop("epoch_loop.val_loop.batch_progress")
    for key in ("epoch", "global_step", "loops", "lr_schedulers", "pytorch-lightning_version"):
        if key == "lr_schedulers":
            assert pytree.tree_structure(ours[key]) == pytree.tree_structure(theirs[key])
        else:
            assert ours[key] == theirs[key], key
    assert ours["autoloss_plateaus"]["count"] == theirs["autoloss_plateaus"]["count"]
    for key in ("state_dict", "optimizer_states"):
        assert pytree.tree_structure(ours[key]) == pytree.tree_structure(theirs[key])
        for one, other in zip(pytree.tree_leaves(ours[key]), pytree.tree_leaves(theirs[key]), strict=True):
            if isinstance(one, torch.Tensor) and one.is_floating_point():
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
            elif not isinstance(one, torch.Tensor):
                assert one == other
    size = [(tmp_path / f"{way} 1/checkpoints/last.ckpt").stat().st_size for way in ("fleet", "alone")]
    assert size[0] == pytest.approx(size[1], rel=0.02)
    found = []
    for way in ("fleet", "alone"):
        directory = tmp_path / f"{way} 1"
        again = [*SMALL, *KINDS[kind], "seed=1", "record.every=1", "trainer.max_epochs=4", "ckpt=last"]
        done = autoloss("train", *again, f"hydra.run.dir={directory}")
        assert done.returncode == 0, done.stderr
        found.append(json.loads((directory / "summary.json").read_text()))
    assert found[0]["steps"] == found[1]["steps"] == 4
    for key in ("metrics", "final_weights"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-2)


@pytest.mark.parametrize("more", [("weighting=uncertainty",), ("weighting=auto_lambda", "sample_weighting=super_loss")])
def test_a_member_leaves_the_model_of_the_run_alone(tmp_path, worth_it, members, more):
    def made(way, seed):
        given = rewritten([*SMALL, *more, f"seed={seed}"])
        return Request(composed("train", given, []), tmp_path / f"{way} {seed}", given)

    assert all(one["state"] == "finished" for one in FleetRuns().train([made("fleet", seed) for seed in range(3)]))
    assert members == [3]
    train_alone(made("alone", 1))
    ours, theirs = (
        torch.load(tmp_path / f"{way} 1/checkpoints/model.pt", weights_only=True) for way in ("fleet", "alone")
    )
    assert ours.keys() == theirs.keys()
    assert ours["balancer"] == theirs["balancer"]
    for part in ("network", "balancer_state"):
        assert ours[part].keys() == theirs[part].keys()
        for name, tensor in theirs[part].items():
            torch.testing.assert_close(ours[part][name], tensor, rtol=1e-3, atol=1e-4)
    assert autoloss_package.load(tmp_path / "fleet 1").balancer.weights.keys() == {"left", "right", "pixels"}
