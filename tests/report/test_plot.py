"""A record as a figure of matplotlib."""

import builtins

import numpy as np
import pytest

from autoloss.core.errors import ConfigError
from autoloss.report import read

STEPS = 6


def columns(**weights):
    return {f"{kind}/{name}": np.array(w) for kind in ("loss_weight", "loss_raw") for name, w in weights.items()}


def test_without_matplotlib_a_sentence_says_what_to_install(run_directory, monkeypatch):
    real = builtins.__import__

    def without(name, *more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"plot\(\) needs matplotlib, .*pip install 'autoloss-weights\[plot\]'"):
        read(run_directory(columns=columns(a=[1.0, 2.0]), losses=("a",))).plot()


def test_each_panel_has_the_curves_of_the_record_in_the_same_colours(run_directory):
    pytest.importorskip("matplotlib")
    a, b = np.linspace(1, 0.01, STEPS), np.linspace(1, 2, STEPS)
    a[2] = np.nan  # absent in that step
    run = read(run_directory(columns=columns(a=a, b=b), curves={"val/error": np.array([0.9, 0.5])}))
    weights, losses, metrics = run.plot().axes
    for axis in (weights, losses):
        lines = {line.get_label(): line for line in axis.get_lines()}
        assert lines["a"].get_ydata() == pytest.approx(np.delete(a, 2))
        assert lines["a"].get_xdata() == pytest.approx(np.delete(np.arange(STEPS), 2))
        assert lines["b"].get_ydata() == pytest.approx(b)
        assert lines["a"].get_color() != lines["b"].get_color()
        assert axis.get_yscale() == "log"  # they differ more than tenfold
    colours = [{line.get_label(): line.get_color() for line in axis.get_lines()} for axis in (weights, losses)]
    assert colours[0] == colours[1]
    assert metrics.get_lines()[0].get_ydata().tolist() == [0.9, 0.5]
    assert metrics.get_yscale() == "linear"


def test_forty_losses_differ_in_colour_or_dash_and_stay_in_the_figure(run_directory):
    pytest.importorskip("matplotlib")
    names = [f"loss_{i}" for i in range(40)]
    run = read(run_directory(columns=columns(**{name: [1.0, -1.0] for name in names}), losses=names))
    figure = run.plot()
    figure.canvas.draw()
    lines = figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(names)
    legend = figure.legends[0].get_window_extent()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    assert legend.x1 <= figure.bbox.x1
    assert legend.y0 >= 0
    assert figure.axes[0].get_window_extent().width > figure.bbox.width / 4


def test_a_figure_is_not_shown_a_second_time(run_directory):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    read(run_directory(columns=columns(a=[1.0, 2.0]), losses=("a",))).plot()
    assert pyplot.get_fignums() == []


def test_a_record_without_a_step_is_answered_with_a_sentence(run_directory):
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match="needs a recorded step"):
        read(run_directory()).plot()
