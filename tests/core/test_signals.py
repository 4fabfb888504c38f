"""Each signal is described once, and the descriptions fit the needs that ask for them."""

from dataclasses import fields

import pytest
import torch

from autoloss.core.measured.signal import Rows
from autoloss.core.need import GRADIENTS, OUTCOME, Need
from autoloss.core.signals import AFTER_STEP, AT_ANCHOR, SIGNALS, Signals
from autoloss.testing import streams


def test_each_need_but_the_values_has_one_signal():
    assert sorted(str(one.need) for one in SIGNALS) == sorted(str(need) for need in Need if need is not Need.VALUES)


def test_the_groups_of_needs_are_those_of_the_signals():
    assert set(GRADIENTS) == {one.need for one in AT_ANCHOR}
    assert set(OUTCOME) == {one.need for one in AFTER_STEP}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda one: one.name)
def test_signals_can_hold_and_read_it(signal):
    assert signal.field in {field.name for field in fields(Signals)}
    drawn = streams.stream(["a", "b"], steps=2)[0]
    assert getattr(drawn, signal.name) is getattr(drawn, signal.field)
    assert signal.cost
    assert signal.passes


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda one: one.name)
def test_its_tensors_index_losses_with_their_first_dimensions(signal):
    drawn = streams.stream(["a", "b", "c"], steps=2)[0]
    for tensor in signal.tensors(getattr(drawn, signal.field)).values():
        assert tensor.shape == (3,) * signal.axes


def test_ranks_together_measure_what_one_process_would(monkeypatch):
    """Two ranks of 2 and 4 samples: the gradient of the union's mean at a rank's samples is half the local one."""
    union = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    whole = Rows(union.flatten(1), (30,), 6, at_once=True)
    # A rank's scalar is sum * ranks / count over all ranks, so that DDP's average is the union's gradient.
    ranks = [Rows(2 * part.flatten(1), (part[0].numel(),), part.shape[1]) for part in (union[:, :2], union[:, 2:])]
    for signal in AT_ANCHOR:
        local = [signal.measure(rows) for rows in ranks]
        first, second = (_reduced(monkeypatch, signal, local, ranks, rank) for rank in (0, 1))
        for name, expected in signal.tensors(signal.measure(whole)).items():
            torch.testing.assert_close(signal.tensors(first)[name], expected)
            torch.testing.assert_close(signal.tensors(second)[name], expected)


def _reduced(monkeypatch, signal, local, ranks, rank):
    """What ``signal`` makes of its own value on ``rank`` where the sums over ranks are done by hand."""
    module, sent = type(signal).__module__, []
    monkeypatch.setattr(f"{module}.world_size", lambda: 2)
    # The other rank is asked first for what it sends; then this one gets both together.
    for name in ("sum_over_ranks", "max_over_ranks"):
        monkeypatch.setattr(f"{module}.{name}", lambda x, group: sent.append(x) or x, raising=False)
    signal.over_ranks(local[1 - rank], ranks[1 - rank])
    monkeypatch.setattr(f"{module}.sum_over_ranks", lambda x, group: x + sent.pop(0))
    monkeypatch.setattr(f"{module}.max_over_ranks", lambda x, group: x.maximum(sent.pop(0)), raising=False)
    return signal.over_ranks(local[rank], ranks[rank])
