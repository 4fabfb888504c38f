"""Two real processes weigh their own samples: what they learn is the same on both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("sample_ddp_script.py")
RULES = "data_parameters,super_loss,self_paced,class_balanced"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT), "2"]
    both = subprocess.Popen([*launch, RULES, str(out)], env=env, stderr=subprocess.PIPE, text=True)
    subprocess.run([sys.executable, str(SCRIPT), "1", RULES, str(out)], env=env, check=True)
    _, errors = both.communicate(timeout=120)
    assert both.returncode == 0, errors
    return [json.loads((out / name).read_text()) for name in ("1-0.json", "2-0.json", "2-1.json")]


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_a_number_for_each_sample_is_what_the_union_batch_teaches(results):
    """A temperature depends on its own sample alone, so two ranks learn what one learns from both their batches."""
    one, two = results[0]["data_parameters"], results[1]["data_parameters"]
    for name, value in one["state"].items():
        torch.testing.assert_close(torch.tensor(two["state"][name]), torch.tensor(value), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.tensor(two["parameters"]), torch.tensor(one["parameters"]), rtol=1e-4, atol=1e-6)
    assert sum(x != 0 for x in one["state"]["rules.0.samples_log"]) > 20
