"""Runs that are trained as one: what a fleet follows, and what is trained alone."""

import io
from functools import partial

import pytest
import torch
from tqdm import tqdm

from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request, train_alone
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.overrides import rewritten
from autoloss.training.fleet.price import SlowerError
from autoloss.training.fleet.training import FleetTraining
from tests.app.fleets import FREE, SMALL, members, request, rows, worth_it

__all__ = ["members", "worth_it"]  # fixtures


def test_what_a_fleet_cannot_do_is_trained_alone_and_one_line_says_why(tmp_path, worth_it, members):
    said = []
    runs = FleetRuns(says=said.append)
    found = runs.train(
        [
            request(tmp_path, "a", "weighting=equal"),
            request(tmp_path, "b", "weighting=graddrop"),
            request(tmp_path, "c", "weighting=uncertainty", "seed=1"),
            request(tmp_path, "d", "checkpoint.every_steps=2"),
            request(tmp_path, "e", "sample_weighting=super_loss", "seed=1"),
        ]
    )
    assert [one["weighting"] for one in found] == ["equal", "graddrop", "uncertainty", "equal", "equal"]
    assert members == [3]
    assert said == ["trained one by one: A fleet does not follow checkpoint.every_steps."]


def test_members_whose_gradients_meet_in_a_fork_are_a_fleet_of_their_own(tmp_path, worth_it, members):
    said = []
    names = ["equal", "graddrop", "graddrop", "uncertainty"]
    given = enumerate(names)
    found = FleetRuns(says=said.append).train(
        [request(tmp_path, f"{i}", f"weighting={name}", f"seed={i}") for i, name in given]
    )
    assert [one["weighting"] for one in found] == names
    assert (sorted(members), said) == ([2, 2], [])


def test_a_stream_and_a_network_pair_are_trained_alone(tmp_path, worth_it, members, monkeypatch):
    from torch.utils.data import IterableDataset

    from autoloss.problems.two_digits import TwoDigits

    class Stream(IterableDataset):
        def __init__(self, table):
            self.table = table

        def __iter__(self):
            return (self.table[i] for i in range(200))

    datasets = TwoDigits.datasets
    monkeypatch.setattr(
        TwoDigits, "datasets", lambda self, seed: {**(of := datasets(self, seed)), "train": Stream(of["train"])}
    )
    said = []
    constant = ("lr_schedule=constant", "weighting=uncertainty")
    found = FleetRuns(says=said.append).train(
        [
            *(request(tmp_path, name, f"seed={name}", *constant) for name in "01"),
            *(
                request(tmp_path, f"gan{name}", "problem=digits_gan", "trainer.max_epochs=1", f"seed={name}")
                for name in "01"
            ),
        ]
    )
    assert [one["state"] for one in found] == ["finished"] * 4
    assert members == []
    assert said == [
        "trained one by one: A fleet does not follow module.",
        "trained one by one: A fleet needs data with a length and an order, but Stream is a stream. Write __len__.",
    ]


def test_a_network_that_cannot_be_mapped_is_trained_alone(tmp_path, worth_it, members, monkeypatch):
    from autoloss.problems.two_digits import TwoDigits

    outputs = TwoDigits.outputs

    def reads(self, network, batch):
        found = outputs(self, network, batch)
        found.anchor.sum().item()
        return found

    monkeypatch.setattr(TwoDigits, "outputs", reads)
    said = []
    found = FleetRuns(says=said.append).train([request(tmp_path, name, f"seed={name}") for name in "01"])
    assert all(one["state"] == "finished" for one in found)
    assert members == []
    assert len(said) == 1
    assert ".item()" in said[0]


def test_a_fleet_that_costs_more_is_not_used(tmp_path, members, monkeypatch):
    monkeypatch.setattr(FREE, -1e9)
    said = []
    found = FleetRuns(says=said.append).train([request(tmp_path, name, f"seed={name}") for name in "01"])
    assert all(one["state"] == "finished" for one in found)
    assert members == []
    assert "must cost less than its members one by one" in said[0]
    assert issubclass(SlowerError, Exception)


def test_where_memory_runs_out_the_fleet_is_halved(tmp_path, worth_it, members, monkeypatch):
    train = FleetTraining.train

    def small(self):
        if len(self.jobs) > 2:
            raise torch.OutOfMemoryError("no room")
        return train(self)

    monkeypatch.setattr(FleetTraining, "train", small)
    said = []
    found = FleetRuns(says=said.append).train([request(tmp_path, name, f"seed={name}") for name in "0123"])
    assert [one["seed"] for one in found] == [0, 1, 2, 3]
    assert said == ["memory ran out: fleets of 2 from now on"]


def test_as_many_are_trained_at_once_as_memory_has_room_for(tmp_path, worth_it, members, monkeypatch):
    from autoloss.training.fleet import room

    monkeypatch.setattr(room, "free_bytes", lambda device: 2.5 * 10**6 / room.SHARE)
    monkeypatch.setattr(room, "member_bytes", lambda job, plan: 10**6)
    said = []
    found = FleetRuns(says=said.append).train([request(tmp_path, name, f"seed={name}") for name in "01234"])
    assert [one["seed"] for one in found] == [0, 1, 2, 3, 4]
    assert members == [2, 2]
    assert said == ["memory has room for 2 at once: fleets of 2 from now on"]


def test_progress_shows_members_the_best_so_far_and_the_time_left(tmp_path, worth_it, members, monkeypatch):
    from autoloss.app import fleet_progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Enough(Exception):
        pass

    seen = {}

    def report(name, epoch, metrics):
        seen[name] = metrics["left_error"]
        if name == "0":
            raise Enough

    shown = {}
    for kind in (Terminal, io.StringIO):
        shown[kind] = kind()
        bar = partial(tqdm, file=shown[kind], mininterval=0, ncols=120)
        monkeypatch.setattr(fleet_progress, "tqdm", bar)
        place = tmp_path / kind.__name__
        found = FleetRuns().train(
            [request(place, name, f"seed={name}", report=partial(report, name)) for name in "012"]
        )
        assert isinstance(found[0], Enough)
    line = next(one for one in reversed(shown[Terminal].getvalue().split("\r")) if "3 at once" in one)
    assert "| 2/2 [" in line
    assert f"2 of 3 members, best left_error {min(seen.values()):.3g}" in line
    assert shown[io.StringIO].getvalue() == ""


def test_a_member_whose_loss_is_not_finite_fails_alone(tmp_path, worth_it, members):
    found = FleetRuns().train(
        [
            request(tmp_path, "a", "weighting=fixed", "optimizer.lr=0.01"),
            request(tmp_path, "b", "weighting=fixed", "optimizer.lr=1e18", "seed=1"),
            request(tmp_path, "c", "weighting=fixed", "optimizer.lr=0.01", "seed=2"),
        ]
    )
    assert members == [3]
    assert isinstance(found[1], Exception)
    with pytest.raises(type(found[1])) as alone:
        train_alone(request(tmp_path, "alone", "weighting=fixed", "optimizer.lr=1e18", "seed=1"))
    assert str(alone.value) == str(found[1])
    for i, name in ((0, "a"), (2, "c")):
        expected = train_alone(
            request(
                tmp_path,
                f"{name} alone",
                *request(tmp_path, name).overrides,
                f"seed={i}",
                "weighting=fixed",
                "optimizer.lr=0.01",
            )
        )
        assert found[i]["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)


def test_a_report_can_end_a_member(tmp_path, worth_it, members):
    class Enough(Exception):
        pass

    def report(epoch, metrics):
        seen.append((epoch, sorted(metrics)))
        if epoch == 1:
            raise Enough

    seen = []
    found = FleetRuns().train(
        [request(tmp_path, "a", report=report), request(tmp_path, "b", "seed=1"), request(tmp_path, "c", "seed=2")]
    )
    assert isinstance(found[0], Enough)
    assert seen == [(1, ["left_error", "pixels_mse", "right_error"])]
    assert [one["steps"] for one in found[1:]] == [4, 4]
    assert not (tmp_path / "a" / "summary.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("trainer.accumulate_grad_batches=3",),
        ("trainer.gradient_clip_val=0.1",),
        ("trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value"),
        ("trainer.check_val_every_n_epoch=2", "batch_size=64"),
        ("groups.both=[left,right]", "base.both=linear(0.5,1)", "weighting=gradnorm", "unbalanced=[pixels]"),
        ("losses.left=focal", "losses.left.gamma=linear(0,2)", "weighting=uncertainty"),
        ("optimizer=sgd", "optimizer.lr=0.1", "lr_schedule=constant", "weighting=dwa"),
        ("trainer.limit_train_batches=3", "problem.pairs=1000", "batch_size=64", "trainer.accumulate_grad_batches=2"),
        ("trainer.limit_train_batches=0.5", "trainer.limit_val_batches=1", "batch_size=32", "record.every=1"),
        ("record.probe_every=3", "record.every=2", "trainer.accumulate_grad_batches=2", "problem.pairs=1000"),
        ("record.probe_every=1", "weighting=gradnorm", "unbalanced=[pixels]"),
        ("sample_weighting=super_loss", "trainer.accumulate_grad_batches=2", "record.every=1"),
        ("penalties.orthogonality.factor=linear(0,0.01)", "penalties.sparsity.factor=0.001", "weighting=gradnorm"),
        ("weighting=famo", "trainer.accumulate_grad_batches=2"),
        ("weighting=auto_lambda", "held_out.primary=[left]", "trainer.gradient_clip_val=0.1"),
        ("weighting=coba", "weighting.warmup=2", "held_out.share=0.2", "held_out.batch_size=16"),
        ("weighting=learned", "weighting.norms=true", "problem=klein_gordon", "problem.points=256"),
        ("problem=klein_gordon", "problem.points=256", "weighting=lr_annealing"),
        ("problem=helmholtz", "problem.points=256", "weighting=gradnorm", "record.every=1"),
        ("trainer.max_steps=3", "record.every=1", "batch_size=64", "problem.pairs=1000"),
        ("trainer.max_steps=19", "trainer.accumulate_grad_batches=2", "batch_size=32", "lr_schedule=cosine"),
        ("trainer.max_steps=4", "trainer.max_epochs=-1", "weighting=famo"),
        ("on_nonfinite=skip", "record.every=1"),
        ("weighting=graddrop", "trainer.accumulate_grad_batches=2", "record.every=1"),
        ("anchor=fork", "weighting=gradnorm", "record.every=1", "unbalanced=[pixels]"),
        ("anchor=parameters", "weighting=cagrad", "trainer.accumulate_grad_batches=2", "base.left=2"),
        ("record.probe_every=1", "anchor=parameters", "record.every=2", "weighting=famo"),
    ],
    ids=lambda options: " ".join(options[:2]),
)
def test_each_option_gives_what_it_gives_alone(tmp_path, worth_it, members, options):
    def made(name, seed):
        chosen = [*(o for o in SMALL if "problem" not in o or not any(p.startswith("problem=") for p in options))]
        config = composed("train", rewritten([*chosen, "checkpoint.every=0", f"seed={seed}", *options]), [])
        return Request(config, tmp_path / name, options, name)

    found = FleetRuns().train([made(f"fleet {seed}", seed) for seed in range(3)])
    assert members == [3]
    for seed, one in enumerate(found):
        alone = train_alone(made(f"alone {seed}", seed))
        assert one["steps"] == alone["steps"]
        for key in ("metrics", "final_weights"):
            assert one[key] == pytest.approx(alone[key], rel=2e-3)
        ours, theirs = rows(tmp_path / f"fleet {seed}"), rows(tmp_path / f"alone {seed}")
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert ours[0] == pytest.approx(theirs[0], rel=1e-4, abs=1e-6, nan_ok=True)
        assert ours[-1] == pytest.approx(theirs[-1], rel=2e-2, abs=1e-4, nan_ok=True)
        one_metrics, other = [(tmp_path / f"{way} {seed}" / "metrics.csv").read_text() for way in ("fleet", "alone")]
        assert one_metrics.splitlines()[0] == other.splitlines()[0]
        assert len(one_metrics.splitlines()) == len(other.splitlines())
