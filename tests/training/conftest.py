"""Real processes: what a script learns on two ranks, and on one that has their whole batches."""

import json
import os
import subprocess
import sys

import pytest
import torch

# Scripts that torch.distributed.run starts, with their own folder on the path, are no modules to look for examples in.
collect_ignore_glob = ["*_script.py"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, CUDA])])
def device(request):
    """Where a test trains."""
    return request.param


@pytest.fixture(scope="session")
def two_ranks():
    """Starts a script on two ranks; what comes back waits for them to end well."""

    def start(script, *arguments):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
        both = subprocess.Popen([*launch, *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)

        def wait(timeout):
            _, errors = both.communicate(timeout=timeout)
            assert both.returncode == 0, errors

        return wait

    return start


@pytest.fixture(scope="module")
def learned(two_ranks, tmp_path_factory):
    """Runs a script on one process and on two ranks at the same time: what one, rank 0 and rank 1 have written."""

    def run(script, *arguments, timeout=120):
        out = tmp_path_factory.mktemp("ddp")
        wait = two_ranks(script, "2", *arguments, str(out))
        subprocess.run([sys.executable, str(script), "1", *arguments, str(out)], env=ENVIRONMENT, check=True)
        wait(timeout)
        return [json.loads((out / name).read_text()) for name in ("1-0.json", "2-0.json", "2-1.json")]

    return run
