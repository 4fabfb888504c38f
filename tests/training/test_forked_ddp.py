"""Two real processes through a fork: ranks agree to the last bit, and with the union batch."""

from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("fork_ddp_script.py")


@pytest.fixture(scope="module")
def results(learned):
    return learned(SCRIPT)


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_ranks_learn_what_the_union_batch_teaches(results):
    union, ranks, _ = results
    for case, found in union.items():
        if case.startswith("graddrop"):  # draws for its own samples on each rank, by design
            continue
        for name, value in found["state"].items():
            torch.testing.assert_close(
                torch.tensor(ranks[case]["state"][name]),
                torch.tensor(value),
                rtol=1e-4,
                atol=1e-5,
                msg=f"{case} {name}",
            )
        torch.testing.assert_close(
            torch.tensor(ranks[case]["parameters"]), torch.tensor(found["parameters"]), rtol=1e-4, atol=1e-5, msg=case
        )
