import gc
import os
import shlex
import subprocess
import sys

import pytest


def pytest_collection_finish():
    """What was imported and collected stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def needed():
    """The parameters that weightings of losses with the names a and b cannot do without, by the weighting's name."""
    return {
        "fixed": {"weights": {"a": 1.0}},
        "gradient_cosine": {"main": "a"},
        "ol_aux": {"main": "a"},
        "scheduled": {"schedules": {"a": "linear(0,1)"}},
        "vqgan": {"adversarial": "b"},
    }


@pytest.fixture
def autoloss(tmp_path, capfd):
    """Runs the command in this process, in a directory of its own; gives what ``subprocess.run`` would give."""
    # Not above: most tests need no Hydra and no Lightning.
    from tests.command import command

    def run(*arguments, cwd=tmp_path, path=None, **env):
        return command(arguments, cwd, capfd, env, path)

    return run


@pytest.fixture
def started(tmp_path):
    """Starts Python in ``tmp_path`` and leaves it running; what it says goes to ``log``, or to log-0, log-1 and so on.

    It is killed when the test ends.
    """
    running = []

    def start(*arguments, log=None):
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (log or tmp_path / f"log-{len(running)}").open("w") as said:
            command = [sys.executable, *arguments]
            running.append(subprocess.Popen(command, cwd=tmp_path, env=env, stdout=said, stderr=said))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def mistaken(autoloss):
    """Runs a command line that must end before anything trains; gives exit code, output and errors."""

    def run(line, **env):
        done = autoloss(*shlex.split(line), **env)
        return done.returncode, done.stdout, done.stderr

    return run
