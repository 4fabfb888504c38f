import gc
import shlex

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
def mistaken(autoloss):
    """Runs a command line that must end before anything trains; gives exit code, output and errors."""

    def run(line, **env):
        done = autoloss(*shlex.split(line), **env)
        return done.returncode, done.stdout, done.stderr

    return run
