"""Two real processes: ranks agree to the last bit, and with the union batch."""

from pathlib import Path

import pytest
import torch

from tests.training.ddp_ways import shards

SCRIPT = Path(__file__).with_name("ddp_script.py")
WEIGHTINGS = "uncertainty,gradnorm,famo,auto_lambda,learned,coba,remembering"


@pytest.fixture(scope="module")
def results(learned):
    return learned(SCRIPT, WEIGHTINGS)


def test_ranks_are_identical_to_the_last_bit(results):
    assert results[1] == results[2]


def test_a_probe_that_a_static_graph_would_break_is_an_error(results):
    for says in results[1]["static"].values():
        assert says is not None
        assert "inside the forward that DistributedDataParallel wraps" in says


@pytest.mark.skipif(not shards("cpu"), reason="this torch shards nothing on a CPU")
def test_an_anchor_that_is_sharded_is_an_error(results):
    says = results[1]["mistakes"]["sharded"]
    assert says is not None
    assert "must be whole to be an anchor, but FSDP has sharded it again. Pass the features" in says


def test_ranks_learn_what_the_union_batch_teaches(results):
    union, ranks, _ = results
    for case, found in union.items():
        # The rule's Adam makes a full step of the smallest gradient, and so of its rounding.
        absolute = 5e-6 if case.startswith("learned") else 1e-6
        relative = 1e-5
        # A sum over 16 samples in half precision is not that of two sums, and says so in its third digit.
        if "float16" in case:
            absolute = relative = 0.02
        if not case.startswith("remembering"):  # it keeps what was measured, and weighs all losses with 1
            assert len(set(found["state"]["last"])) > 1, case
        for name, value in found["state"].items():
            torch.testing.assert_close(
                torch.tensor(ranks[case]["state"][name]),
                torch.tensor(value),
                rtol=relative,
                atol=absolute,
                msg=f"{case} {name}",
            )
        torch.testing.assert_close(
            torch.tensor(ranks[case]["parameters"]),
            torch.tensor(found["parameters"]),
            rtol=relative,
            atol=max(absolute, 1e-6) if "float16" in case else 1e-6,
            msg=case,
        )
