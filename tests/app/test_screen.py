"""What a person sees while it happens."""

import io
import sys

import pytest

from autoloss.app.screen import say


@pytest.mark.parametrize("error", [False, True])
def test_a_log_file_has_each_line_as_soon_as_it_is_said(monkeypatch, error):
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stderr" if error else "stdout", io.TextIOWrapper(io.BufferedWriter(kept)))
    say("trial 0 done", error=error)
    assert kept.getvalue() == b"trial 0 done\n"
