"""`autoloss search search.fleet=...`: trials that are trained as one."""

import csv
import io
import json
import shlex
from functools import partial

import pytest
import torch
from tqdm import tqdm

from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request, train_alone
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.overrides import rewritten
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.price import SlowerError
from autoloss.training.fleet.training import FleetTraining

SMALL = ("problem.pairs=200", "trainer.max_epochs=2")
FREE = "autoloss.training.fleet.price.LIGHTNING"  # a fleet of so few members need not be faster


@pytest.fixture
def worth_it(monkeypatch):
    monkeypatch.setattr(FREE, 1e9)


@pytest.fixture
def members(monkeypatch):
    """How many members each fleet had that was trained."""
    found = []
    train = FleetTraining.train
    monkeypatch.setattr(FleetTraining, "train", lambda self: (found.append(len(self.jobs)), train(self))[1])
    return found


def request(place, name, *overrides, report=None):
    chosen = [one for one in SMALL if "pairs" not in one or "problem=digits_gan" not in overrides]
    config = composed("train", [*chosen, "checkpoint.every=0", *overrides], [])
    return Request(config, place / name, overrides, name, report=report)


def rows(place):
    with (place / "trajectory.csv").open(newline="") as file:
        return [{name: float(x or "nan") for name, x in row.items()} for row in csv.DictReader(file)]


def test_a_search_trains_at_once_and_finds_what_each_trial_finds_alone(autoloss, tmp_path, worth_it, members):
    more = ("search.fleet=4", "search.n_trials=7", "search.confirm=1", "search.confirm_seeds=2", "name=mine")
    done = autoloss("search", *SMALL, *more)
    assert done.returncode == 0, done.stderr
    assert sum(members) >= 4 + 4
    root = tmp_path / "outputs/search/mine"
    assert "confirmed on fresh seeds" in done.stdout
    summaries = sorted(root.glob("trials/*/summary.json"))
    assert len(summaries) == 7
    for path in summaries[1:4]:
        summary = json.loads(path.read_text())
        again = autoloss(*summary["command"][1:], f"hydra.run.dir={tmp_path / path.parent.name}")
        assert again.returncode == 0, again.stderr
        alone = json.loads((tmp_path / path.parent.name / "summary.json").read_text())
        for key in ("metrics", "final_weights"):
            assert summary[key] == pytest.approx(alone[key], rel=1e-4)
        assert summary["steps"] == alone["steps"]
        ours, theirs = rows(path.parent), rows(tmp_path / path.parent.name)
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert ours[-1] == pytest.approx(theirs[-1], rel=1e-3, abs=1e-6, nan_ok=True)
        for name in ("metrics.csv", "record.json", "report.html"):
            assert (path.parent / name).is_file()
    assert len(list(root.glob("confirm/*/*/confirmed.json"))) == 4
    assert shlex.split(done.stdout.rpartition("next: ")[2].splitlines()[0])[:2] == ["autoloss", "train"]


def test_the_same_command_again_trains_nothing_twice(autoloss, worth_it, members):
    command = ("search", *SMALL, "search.fleet=3", "search.n_trials=5", "search.confirm=0", "name=mine")
    assert autoloss(*command).returncode == 0
    before = len(members)
    done = autoloss(*command)
    assert done.returncode == 0, done.stderr
    assert len(members) == before
    more = autoloss(*command, "search.n_trials=7")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count(" done: ") == 2


def test_what_a_fleet_cannot_do_is_trained_alone_and_one_line_says_why(tmp_path, worth_it, members):
    said = []
    runs = FleetRuns(says=said.append)
    found = runs.train(
        [
            request(tmp_path, "a", "weighting=equal"),
            request(tmp_path, "b", "weighting=graddrop"),
            request(tmp_path, "c", "weighting=uncertainty", "seed=1"),
            request(tmp_path, "d", "on_nonfinite=skip"),
            request(tmp_path, "e", "sample_weighting=super_loss", "seed=1"),
        ]
    )
    assert [one["weighting"] for one in found] == ["equal", "graddrop", "uncertainty", "equal", "equal"]
    assert members == [3]
    assert said == [
        "trained one by one: A fleet does not follow on_nonfinite.",
        "trained one by one: Weights of a fleet must be known before the backward, which is one for all members, but "
        "'graddrop' combines gradients inside of it. It is trained alone.",
    ]


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


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_a_pruner_acts_on_members(autoloss, tmp_path, worth_it, members, monkeypatch, pruner):
    left = []
    drop = Fleet.drop
    monkeypatch.setattr(Fleet, "drop", lambda self, gone: (drop(self, gone), left.append(stack_of(self)))[0])
    more = ("search.fleet=4", "search.n_trials=9", f"search.pruner={pruner}", "search.confirm=0", "name=mine")
    done = autoloss("search", "problem.pairs=200", "trainer.max_epochs=6", *more)
    assert done.returncode == 0, done.stderr
    assert max(members) > 1
    pruned = done.stdout.count(" pruned: ")
    assert pruned
    assert all(size == stack or not size for size, stack in left)
    # A pruned trial leaves its record up to there, and no result; the others were trained to the end.
    trials = sorted((tmp_path / "outputs/search/mine/trials").iterdir())
    summaries = [json.loads((one / "summary.json").read_text()) for one in trials if (one / "summary.json").exists()]
    assert len(trials) - len(summaries) == pruned
    assert len({one["steps"] for one in summaries}) == 1
    for one in trials:
        if not (one / "summary.json").exists():
            assert 0 < rows(one)[-1]["step"] < summaries[0]["steps"] - 1
    assert "trained one by one" not in done.stdout


def stack_of(fleet):
    """The members, and how many the stacked tensors hold."""
    return len(fleet), len(next(iter(fleet.stacked.parameters.values())))


def test_a_search_goes_on_without_a_member_whose_loss_is_not_finite(autoloss, worth_it, members):
    space = "search.space.optimizer.lr=[0.01,1e18]"
    more = ("search.fleet=4", "search.n_trials=8", "search.weightings=[fixed]", "search.confirm=0", space)
    done = autoloss("search", *SMALL, *more)
    assert done.returncode == 0, done.stderr
    assert max(members) > 1
    assert "failed: Every loss must be finite" in done.stdout
    assert done.stdout.count(" done: ") > 2


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5", "true"])
def test_a_size_that_is_none_is_one_sentence(autoloss, given):
    done = autoloss("search", *SMALL, f"search.fleet={given}")
    assert done.returncode == 2
    assert "search.fleet must be" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_comparison_trains_at_once_and_finds_the_same(autoloss, tmp_path, worth_it, members):
    command = ("compare", "problem.pairs=200", "trainer.max_epochs=2", "weighting=equal,uncertainty,gradnorm")
    one = autoloss(*command, "compare.seeds=3", "compare.fleet=1", f"hydra.run.dir={tmp_path / 'one'}")
    assert one.returncode == 0, one.stderr
    assert members == []
    many = autoloss(*command, "compare.seeds=3", f"hydra.run.dir={tmp_path / 'many'}")
    assert many.returncode == 0, many.stderr
    assert members == [9]
    for path in (tmp_path / "one").rglob("summary.json"):
        other = tmp_path / "many" / path.relative_to(tmp_path / "one")
        ours, theirs = json.loads(path.read_text()), json.loads(other.read_text())
        for key in ("metrics", "test_metrics", "final_weights"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4)
        assert ours["command"] == theirs["command"]
    rerun = autoloss(*ours["command"][1:], f"hydra.run.dir={tmp_path / 'rerun'}")
    assert rerun.returncode == 0, rerun.stderr
    again = autoloss(*command, "compare.seeds=3", f"hydra.run.dir={tmp_path / 'many'}")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before, skipped") == 9


def test_folds_are_members_too(autoloss, worth_it, members):
    done = autoloss("compare", *SMALL, "weighting=equal,uncertainty", "compare.folds=3", "compare.fleet=8")
    assert done.returncode == 0, done.stderr
    assert members == [6]


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
    ],
    ids=lambda options: options[0],
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
