import os
import subprocess
import sys

import pytest


@pytest.fixture
def process(tmp_path):
    """Runs the command in a process of its own, where that is what is tested; gives the completed process."""

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
