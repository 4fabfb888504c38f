import os
import shlex
import subprocess
import sys

import pytest


@pytest.fixture
def mistaken(tmp_path, monkeypatch, capfd):
    """Runs a command that must end before anything trains, in this process; gives exit code, output and errors."""
    from autoloss.app.main import main

    def run(arguments, **env):
        monkeypatch.chdir(tmp_path)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = main(shlex.split(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def autoloss(tmp_path):
    """Runs the real command in a directory of its own; gives the completed process."""

    def run(*arguments, **env):
        return subprocess.run(
            [sys.executable, "-m", "autoloss", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
