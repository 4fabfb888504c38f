"""Lightning on two real processes, our module and others': ranks agree to the last bit, and with the union batch."""

from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("lightning_ddp_script.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(learned):
    return learned(SCRIPT, timeout=240)


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_ranks_learn_what_the_union_batch_teaches(results):
    union, ranks, _ = results
    assert len(union) == 13
    for case, found in union.items():
        # Half precision sums 16 samples otherwise than 11 and 5, and Adam divides by what it has summed.
        close = {"rtol": 0.02, "atol": 0.02} if "bf16" in case else {"rtol": 1e-5, "atol": 1e-6}
        assert len(set(found["state"]["last"])) > 1, case
        for name, value in found["state"].items():
            torch.testing.assert_close(
                torch.tensor(ranks[case]["state"][name]), torch.tensor(value), msg=f"{case} {name}", **close
            )
        # What Adam does with the rounding of a small gradient is a share of a step of 0.01.
        torch.testing.assert_close(
            torch.tensor(ranks[case]["parameters"]),
            torch.tensor(found["parameters"]),
            msg=case,
            **{**close, "atol": max(close["atol"], 1e-5)},
        )
