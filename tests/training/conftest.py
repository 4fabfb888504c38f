"""Real processes: what a script learns on two ranks, and on one that has their whole batches."""

import json

import pytest
import torch

from tests import processes

# Scripts that are started, with their own folder on the path, are no modules to look for examples in.
collect_ignore_glob = ["*_script.py"]

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, CUDA])])
def device(request):
    """Where a test trains."""
    return request.param


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Runs a script on one process and on two ranks at the same time: what one, rank 0 and rank 1 have written."""

    def run(script, *arguments, timeout=120):
        out = tmp_path_factory.mktemp("ddp")
        log = out / "log"
        ranks = processes.start_ranks(script, ["2", *arguments, str(out)], log)
        alone = processes.start(script, ["1", *arguments, str(out)], log)
        processes.wait([*ranks, alone], log, timeout)
        return [json.loads((out / name).read_text()) for name in ("1-0.json", "2-0.json", "2-1.json")]

    return run
