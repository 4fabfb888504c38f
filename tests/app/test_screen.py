"""What a person sees while it happens."""

import io
import sys

import pytest

from autoloss.app.composition import composed
from autoloss.app.hydra_app import split
from autoloss.app.main import warning_text
from autoloss.app.prepare import _tell_no_squares, prepare
from autoloss.app.screen import print_run, say
from autoloss.core.io.text_table import named, number, span
from autoloss.core.tensors import deferred_checks


@pytest.mark.parametrize("error", [False, True])
def test_a_log_file_has_each_line_as_soon_as_it_is_said(monkeypatch, error):
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stderr" if error else "stdout", io.TextIOWrapper(io.BufferedWriter(kept)))
    say("trial 0 done", error=error)
    assert kept.getvalue() == b"trial 0 done\n"


@pytest.mark.parametrize("form", ["+.4f", ".4f", ".4g", "+.3g", ".3g"])
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-9, -1e-9, -0.00004, -0.3, 0.3, -1200.0])
def test_zero_has_no_minus_and_other_numbers_are_as_format_gives_them(value, form):
    found = number(value, form)
    assert float(found) == float(format(value, form))
    assert found == format(value, form) or (float(found) == 0 and found == format(0.0, form))
    assert float(found) != 0 or found[0] != "-"
    assert found.lstrip("+-") == format(value, form).lstrip("+-")


def test_zero_has_no_minus_in_what_is_put_together():
    assert span(-1e-9, 0.25, "+.4f") == "+0.0000 to +0.2500"
    assert named({"a": -0.0, "b": -1.5}) == "a 0  b -1.5"


@pytest.mark.parametrize("has_page", [False, True])
def test_the_directory_is_named_once_at_the_end_in_a_command_to_copy(monkeypatch, tmp_path, capsys, has_page):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "outputs/my run"
    place.mkdir(parents=True)
    if has_page:
        (place / "report.html").write_text("")
    print_run(place, {"final_weights": {"a": 1.0}, "test_metrics": {"error": 0.5}})
    said = capsys.readouterr().out
    assert said.count("my run") == 1
    assert "tensorboard --logdir 'outputs/my run'" in said
    assert ("report.html" in said) == has_page


@pytest.mark.parametrize(
    ("problem", "others"),
    [
        ("two_digits", "left is cross_entropy and right is cross_entropy"),
        ("two_digits losses.left=mae losses.right=mse", "left is mae"),
        ("klein_gordon", ""),
        ("klein_gordon losses.boundary=huber", "boundary is huber"),
    ],
)
def test_kernels_of_what_is_no_squared_residual_are_told_once(capsys, problem, others):
    _tell_no_squares.cache_clear()
    arguments = [f"problem={problem.split()[0]}", *problem.split()[1:], "weighting=ntk", "weighting.wrap=[ema]"]
    for _ in range(2):
        prepare(composed("train", split([*arguments, "anchor=parameters"])[1]))
    said = capsys.readouterr().err
    assert said.count(f"ntk is for losses that are squared residuals (mse), but {others}: ") == bool(others)
    assert ("squared" in said) == bool(others)


def test_other_weightings_say_nothing_of_squares(capsys):
    prepare(composed("train", ["weighting=gradnorm"]))
    assert "squared" not in capsys.readouterr().err


def test_a_warning_of_ours_is_one_sentence_and_those_of_others_are_as_python_has_them():
    ours = warning_text(UserWarning("A batch should have samples."), UserWarning, deferred_checks.__file__, 48)
    assert ours == "autoloss: A batch should have samples.\n"
    assert warning_text(UserWarning("What?"), UserWarning, __file__, 7).startswith(f"{__file__}:7: UserWarning: What?")


def test_the_command_writes_warnings_so(process):
    few = ("trainer.max_epochs=1", "name=mine", "hydra.run.dir=out")
    done = process("train", "problem=shortcut_digits", "losses.odd.by=group", *few)
    assert done.returncode == 0
    assert "\nautoloss: A batch should have samples for every loss, but the mask of loss 'odd_" in f"\n{done.stderr}"
    assert "deferred_checks" not in done.stderr
