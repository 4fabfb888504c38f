"""What happens to a sweep by hydra/launcher=autoloss_fleet whose process dies or is stopped, with real processes."""

import signal
import time

import pytest

from tests.app.test_fleet_faults import KILLER

SMALL = ("problem.pairs=200", "trainer.max_epochs=2")
FLEET = "hydra/launcher=autoloss_fleet"


@pytest.fixture
def start(started, tmp_path):
    """Starts the command in a process of its own, where a fleet of few members is worth it."""
    (tmp_path / "free.py").write_text(
        "from autoloss.training.fleet import price\nprice.LIGHTNING = 1e9\nfrom autoloss.app.main import run\nrun()\n"
    )

    def begin(*arguments):
        command = ("-W", "ignore", "free.py", "train", "-m", *arguments, "hydra.sweep.dir=sweep")
        return started(*command, log=tmp_path / "said")

    return begin


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_same_command_goes_on_and_trains_nothing_twice(start, tmp_path, number):
    command = ("seed=0,1,2,3", "problem.pairs=200", "trainer.max_epochs=100", FLEET, "hydra.launcher.fleet=2")
    process, deadline = start(*command), time.monotonic() + 300
    while not (tmp_path / "sweep/seed_2/trajectory.csv").exists():
        assert process.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=100) == (0 if number == signal.SIGTERM else -number)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/summary.json")}
    assert sorted(path.parent.name for path in before) == ["seed_0", "seed_1"]
    assert start(*command).wait(timeout=300) == 0, (tmp_path / "said").read_text()
    said = (tmp_path / "said").read_text()
    assert said.count("skipped") == 2
    # A fleet that was stopped is a fleet again; after one that was killed each run is alone.
    assert ("2 runs, at most 2 at once" in said) == (number == signal.SIGTERM)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/summary.json")}
    assert len(after) == 4
    assert before.items() <= after.items()
    assert not list(tmp_path.glob("sweep/*/in_fleet"))


@pytest.mark.slow
def test_after_a_fleet_that_was_killed_its_runs_are_fleets_of_half_the_size(start, tmp_path):
    command = ("seed=0,1,2,3", "problem.pairs=200", "trainer.max_epochs=60", FLEET)
    process, deadline = start(*command), time.monotonic() + 300
    while not (tmp_path / "sweep/seed_2/trajectory.csv").exists():
        assert process.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [path.read_text() for path in tmp_path.glob("sweep/*/in_fleet")] == ["2"] * 4
    assert start(*command).wait(timeout=300) == 0, (tmp_path / "said").read_text()
    assert "4 runs, at most 2 at once" in (tmp_path / "said").read_text()
    assert len(list(tmp_path.glob("sweep/*/summary.json"))) == 4
    assert not list(tmp_path.glob("sweep/*/in_fleet"))


@pytest.mark.slow
def test_the_others_finish_though_one_run_kills_the_process(start, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    command = ("weighting=equal,dwa,killer:Killer", *SMALL, FLEET)
    assert start(*command).wait(timeout=300) == -signal.SIGKILL
    assert not list(tmp_path.glob("sweep/*/summary.json"))
    assert start(*command).wait(timeout=300) == -signal.SIGKILL
    assert sorted(path.parent.name for path in tmp_path.glob("sweep/*/summary.json")) == ["dwa", "equal"]
