"""Two real processes weigh their own samples: what they learn is the same on both."""

from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("sample_ddp_script.py")
RULES = "data_parameters,super_loss,self_paced,class_balanced"


@pytest.fixture(scope="module")
def results(learned):
    return learned(SCRIPT, RULES)


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_a_number_for_each_sample_is_what_the_union_batch_teaches(results):
    """A temperature depends on its own sample alone, so two ranks learn what one learns from both their batches."""
    one, two = results[0]["data_parameters"], results[1]["data_parameters"]
    for name, value in one["state"].items():
        torch.testing.assert_close(torch.tensor(two["state"][name]), torch.tensor(value), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.tensor(two["parameters"]), torch.tensor(one["parameters"]), rtol=1e-4, atol=1e-6)
    assert sum(x != 0 for x in one["state"]["rules.0.samples_log"]) > 20
