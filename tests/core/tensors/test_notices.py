"""What a batch's data broke is said at once on a CPU, and at the next check elsewhere."""

import warnings

import pytest
import torch

from autoloss.core.errors import AutolossError, EmptySelectionWarning, LabelError
from autoloss.core.tensors.deferred_checks import DeferredChecks

RULE = "Labels must lie in [0, 9]"


def bad(values: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    found = torch.tensor(values)
    return (found < 0) | (found > 9), found


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the tensors were on an accelerator."""
    monkeypatch.setattr(DeferredChecks, "at_hand", lambda self, tensor: False)


def test_an_error_comes_at_once_on_a_cpu() -> None:
    with pytest.raises(LabelError, match=r"^Labels must lie in \[0, 9\], but one is 12\.$"):
        DeferredChecks().forbid(RULE, *bad([3, 12, -1]))
    noted = DeferredChecks()
    noted.term = "left"
    with pytest.raises(LabelError, match=r"but loss 'left' was given 12\.$"):
        noted.forbid(RULE, *bad([3, 12, -1]))
    assert issubclass(LabelError, AutolossError)
    assert issubclass(LabelError, ValueError)


def test_elsewhere_the_first_one_is_kept_until_the_check(far_away: None) -> None:
    noted = DeferredChecks()
    for batch in ([1, 2], [3, 12], [-5, 4]):
        noted.forbid(RULE, *bad(batch))
    with pytest.raises(LabelError, match="but one is 12"):
        noted.check()
    noted.check()


def test_what_is_right_is_never_an_error(far_away: None) -> None:
    noted = DeferredChecks()
    noted.forbid(RULE, *bad([1, 2]))
    noted.remark("nothing here", torch.tensor(False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noted.check()


def test_a_warning_comes_once(far_away: None) -> None:
    noted = DeferredChecks()
    for empty in (False, True, True):
        noted.remark("A batch is empty.", torch.tensor(empty))
    with pytest.warns(EmptySelectionWarning, match=r"^A batch is empty\.$"):
        noted.check()
    noted.remark("A batch is empty.", torch.tensor(True))
    noted.check()


def test_a_warning_comes_once_on_a_cpu() -> None:
    noted = DeferredChecks()
    noted.term = "left"
    with pytest.warns(EmptySelectionWarning, match="^Loss 'left': A batch is empty"):
        noted.remark("A batch is empty.", torch.tensor(True))
    noted.remark("A batch is empty.", torch.tensor(True))


@pytest.mark.gpu
def test_nothing_waits_for_the_device() -> None:
    noted = DeferredChecks()
    values = torch.tensor([3.0, 12.0], device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        noted.forbid(RULE, (values < 0) | (values > 9), values)
        noted.remark("A batch is empty.", (values < 0).any())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(LabelError, match="but one is 12"):
        noted.check()
