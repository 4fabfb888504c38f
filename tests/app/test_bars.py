"""What moves on a terminal, read through a pseudo-terminal; and what is told once beside it."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
import time

import pytest

SHORT = ("problem=two_digits", "problem.pairs=200", "trainer.max_epochs=3")


def on_terminal(tmp_path, *arguments, interrupt_at=None):
    """Everything that a command writes to a terminal, and its exit code."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))  # a new one has no columns
    command = [sys.executable, "-m", "autoloss", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen, until = b"", time.monotonic() + 200
    while time.monotonic() < until:
        try:
            more = os.read(ours, 65536)
        except OSError:
            break
        if not more:
            break
        seen += more
        if interrupt_at and interrupt_at in seen:
            process.send_signal(2)
            interrupt_at = None
    os.close(ours)
    return seen.decode(), process.wait(20)


@pytest.mark.slow
def test_the_bar_of_a_training_has_metrics_and_weights(tmp_path):
    seen, code = on_terminal(tmp_path, "train", *SHORT, "weighting=dwa")
    assert code == 0, seen
    assert "3/3" in seen or "2/3" in seen
    assert "weights: left " in seen
    assert "left_error 0." in seen


@pytest.mark.slow
def test_a_search_has_one_bar_with_the_best_and_the_time_left(tmp_path):
    seen, code = on_terminal(
        tmp_path, "search", *SHORT, "search.n_trials=3", "search.confirm=0", "search.weightings=[dwa]"
    )
    assert code == 0, seen
    bars = [part for part in seen.replace("\n", "\r").split("\r") if "%|" in part]
    assert any("best " in part and "<" in part and "3 [" in part.replace("trial/s", "") for part in bars)
    assert any(", epoch 2 of 3" in part for part in bars)
    assert not [part for part in bars if "epoch/s" in part or "s/epoch" in part]


@pytest.mark.slow
def test_ctrl_c_clears_the_line_of_the_bar(tmp_path):
    seen, code = on_terminal(tmp_path, "train", *SHORT, "trainer.max_epochs=500", interrupt_at=b"/500")
    assert code == 130, seen
    assert "\r\x1b[Kautoloss: stopping after this step" in seen
    assert seen.rstrip().endswith("goes on from here.")


@pytest.mark.parametrize(
    ("losses", "factor"),
    [([2.0] * 20, 1.0), ([2.0] + [4e6] * 19, 2e6), ([3.0] * 18 + [30.0, 60.0], 15.0), ([0.0, 1.0], None), ([], None)],
)
def test_growth_is_the_end_over_the_beginning(tmp_path, losses, factor):
    from autoloss.app.diverged import growth

    place = tmp_path / "trajectory.csv"
    rows = [f"{i},{x / 4},{3 * x / 4},1e9" for i, x in enumerate(losses)]
    place.write_text("\n".join(["step,loss_raw/a,loss_raw/b,loss_raw/g/c", *rows]) + "\n")
    found = growth(place)
    assert found == pytest.approx(factor) if factor else found != found


def test_a_training_that_diverged_says_so_and_one_that_did_not_says_nothing(autoloss):
    done = autoloss("train", *SHORT, "optimizer.lr=1000")
    assert done.returncode == 0
    assert "the training has diverged. Lower optimizer.lr, which is 1000." in done.stderr
    assert autoloss("train", *SHORT).stderr == ""


def test_losses_that_grow_with_the_weights_of_their_samples_have_not_diverged(autoloss):
    """Residual-based attention begins with weights of 0."""
    short = ("problem=allen_cahn", "problem.points=64", "trainer.max_epochs=40", "trainer.check_val_every_n_epoch=40")
    done = autoloss("train", *short, "sample_weighting=rba", "batch_size=64", "record.every=1")
    assert done.returncode == 0, done.stderr
    assert "diverged" not in done.stderr


def test_a_comparison_and_a_search_say_how_many_of_their_trainings_have_diverged(autoloss):
    done = autoloss("compare", *SHORT, "weighting=equal,dwa", "compare.seeds=2", "optimizer.lr=1000")
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "diverged" in line]
    assert "the losses of 4 of 4 trainings ended more than 10 times as large as they began" in said
    assert said.endswith("these have diverged. Lower optimizer.lr, which is 1000.")
    few = ("search.n_trials=2", "search.confirm=0", "search.weightings=[dwa]", "search.keep=false")
    rates = ("search.space.optimizer.lr=choice(0.001,1000)", "optimizer.lr=0.001")
    done = autoloss("search", *SHORT, *few, *rates, "search.n_trials=4", "search.sampler=grid")
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "diverged" in line]
    assert " of 4 trainings ended more than 10 times as large" in said
    assert said.endswith("Lower optimizer.lr, which is 1000.")


def test_one_loss_and_one_seed_are_told(autoloss, tmp_path):
    from autoloss.app.prepare import _tell_one_loss

    _tell_one_loss.cache_clear()
    (tmp_path / "a.csv").write_text("x,y\n" + "\n".join(f"{i},{i % 7}.5" for i in range(60)) + "\n")
    table = ("problem=tabular", "problem.csv=a.csv", "problem.targets=[y]", "trainer.max_epochs=1")
    done = autoloss("compare", *table, "weighting=equal,dwa", "compare.seeds=1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the problem has one loss, y: there is nothing to weigh it against.") == 1
    assert done.stderr.count("one seed cannot show a difference, since seeds differ too. Set compare.seeds=5.") == 1
