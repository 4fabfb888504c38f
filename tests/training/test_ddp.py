"""Two real processes: ranks agree to the last bit, and with the union batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("ddp_script.py")
WEIGHTINGS = "uncertainty,gradnorm,famo,auto_lambda,learned"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT), "2"]
    both = subprocess.Popen([*launch, WEIGHTINGS, str(out)], env=env, stderr=subprocess.PIPE, text=True)
    subprocess.run([sys.executable, str(SCRIPT), "1", WEIGHTINGS, str(out)], env=env, check=True)
    _, errors = both.communicate(timeout=120)
    assert both.returncode == 0, errors
    return [json.loads((out / name).read_text()) for name in ("1-0.json", "2-0.json", "2-1.json")]


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_a_probe_that_a_static_graph_would_break_is_an_error(results):
    for says in results[1]["static"].values():
        assert says is not None
        assert "inside the forward that DistributedDataParallel wraps" in says


def test_ranks_learn_what_the_union_batch_teaches(results):
    union, ranks, _ = results
    for case, found in union.items():
        # The rule's Adam makes a full step of the smallest gradient, and so of its rounding.
        absolute = 5e-6 if case.startswith("learned") else 1e-6
        for name, value in found["state"].items():
            torch.testing.assert_close(
                torch.tensor(ranks[case]["state"][name]),
                torch.tensor(value),
                rtol=1e-5,
                atol=absolute,
                msg=f"{case} {name}",
            )
        torch.testing.assert_close(
            torch.tensor(ranks[case]["parameters"]), torch.tensor(found["parameters"]), rtol=1e-5, atol=1e-6, msg=case
        )
