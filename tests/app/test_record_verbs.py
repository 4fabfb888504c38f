"""What is made from a run's record by commands: replays and schedules, also where names and files are unusual."""

import json
import shlex

import pytest

TINY = ("problem.pairs=64", "trainer.max_epochs=1", "record.every=1")


def test_a_replay_leaves_what_is_not_balanced_as_it_is(autoloss, tmp_path):
    more = ("unbalanced=[pixels]", "penalties.orthogonality=0.01", "base.pixels=0.5")
    done = autoloss("train", *TINY, *more, "weighting=gradnorm", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "run/record.json").read_text())["players"][""]
    assert about["unbalanced"] == ["pixels", "orthogonality"]
    done = autoloss("replay", "run", "weighting=uw_so,dwa")
    assert done.returncode == 0, done.stderr
    header, *rows = [line.split() for line in done.stdout.splitlines() if line.strip()][1:5]
    for row in rows:
        found = dict(zip(reversed(header), reversed(row), strict=False))
        assert (found["pixels"], found["orthogonality"]) == ("0.5", "1")


def test_the_command_of_distill_trains_the_same_problem_again(autoloss, tmp_path):
    done = autoloss("train", "problem=klein_gordon", *TINY[1:], "hydra.run.dir='my run'")
    assert done.returncode == 0, done.stderr
    done = autoloss("distill", "my run")
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout.splitlines()[-1].removeprefix("use it: "))
    assert command[:2] == ["autoloss", "train"]
    assert any(one.startswith("problem=") for one in command)
    done = autoloss(*command[1:], "hydra.run.dir=again")
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / d / "summary.json").read_text()) for d in ("my run", "again"))
    assert one["problem"] == two["problem"]
    assert two["weighting"] == "scheduled"


@pytest.mark.parametrize("file", ["summary.json", "config.json", "record.json", "trajectory.csv", "metrics.csv"])
@pytest.mark.parametrize(
    "garbage", [b"\x00\xff{[garbage", b"[]", b'"text"', b'{"metrics": 3, "players": 7}', b"[" * 100_000, b"a" * 200_000]
)
def test_a_damaged_file_is_one_sentence_or_left_out(autoloss, tmp_path, file, garbage):
    run = tmp_path / "run"
    run.mkdir()
    (run / "trajectory.csv").write_text("step,epoch,progress,loss_weight/a,loss_raw/a\n0,0,0,1,2\n5,0,1,0.5,2\n")
    (run / file).write_bytes(garbage)
    for verb in (["report"], ["replay", "weighting=dwa"], ["distill"]):
        done = autoloss(verb[0], str(run), *verb[1:])
        assert done.returncode in (0, 2), done.stderr
        assert done.stderr.count("\n") == (done.returncode == 2), done.stderr


@pytest.mark.parametrize("verb", ["report", "replay", "distill"])
def test_a_directory_that_cannot_be_written_is_one_sentence(autoloss, tmp_path, verb):
    run = tmp_path / "run"
    run.mkdir()
    (run / "trajectory.csv").write_text("step,epoch,progress,loss_weight/a,loss_raw/a\n0,0,0,1,2\n5,0,1,0.5,2\n")
    for name in ("report.html", "replay.html", "schedule.yaml"):
        (run / name).mkdir()  # permissions do not stop a superuser
    done = autoloss(verb, "run", *(["weighting=dwa"] if verb == "replay" else []))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be" in done.stderr
