"""Draws the curves of a record with matplotlib, for a notebook or a paper; the page of a run needs no matplotlib."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autoloss.core.errors import ConfigError
from autoloss.report.scale import tenfold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = tuple[Mapping[str, NDArray[np.float64]], NDArray[np.float64]]  # curves by name, and their steps

LINES = 12  # of the legend beside the charts; more go into another column
DASHES = ("-", "--", ":", "-.")


def plot(panels: Mapping[str, Panel], losses: Collection[str]) -> Figure:
    """The curves of each of ``panels`` by step, one below the other, with its name at the axis, without empty ones.

    Each of ``losses`` has the same colour and dash in all panels. Raises :class:`ConfigError` where matplotlib is
    missing, or no step was recorded.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ConfigError(
            "plot() needs matplotlib, but it is not installed. Run `pip install 'autoloss-weights[plot]'`, or open "
            "report.html."
        ) from error
    drawn = {label: panel for label, panel in panels.items() if panel[0] and len(panel[1])}
    if not drawn:
        raise ConfigError("plot() needs a recorded step, but the record has none. Train for longer.")
    style = {name: (f"C{i % 10}", DASHES[i // 10 % len(DASHES)]) for i, name in enumerate(losses)}
    figure, axes = pyplot.subplots(
        len(drawn), 1, sharex=True, squeeze=False, figsize=(8, 2.6 * len(drawn)), layout="constrained"
    )
    for axis, (label, (curves, steps)) in zip(axes[:, 0], drawn.items(), strict=True):
        _draw(axis, label, curves, steps, style)
        if style.keys().isdisjoint(curves):
            axis.legend(fontsize="small", frameon=False)
    axes[-1, 0].set_xlabel("step")
    drawn_lines = [line for axis in axes[:, 0] for line in axis.get_lines()]
    of_losses = {str(line.get_label()): line for line in drawn_lines if line.get_label() in style}
    if of_losses:
        columns = 1 + (len(of_losses) - 1) // LINES
        lines, names = list(of_losses.values()), list(of_losses)
        figure.legend(lines, names, loc="outside right upper", ncols=columns, fontsize="small", frameon=False)
    pyplot.close(figure)  # a notebook shows the figure that a cell ends with, and else would show it twice
    return figure


def _draw(
    axis: Axes,
    label: str,
    curves: Mapping[str, NDArray[np.float64]],
    steps: NDArray[np.float64],
    style: Mapping[str, tuple[str, str]],
) -> None:
    for name, values in curves.items():
        here = np.isfinite(values)
        colour, dash = style.get(name, (None, "-"))
        axis.plot(steps[here], values[here], label=name, color=colour, linestyle=dash)
    if tenfold(curves.values()):
        axis.set_yscale("log")
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
