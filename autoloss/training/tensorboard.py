"""What TensorBoard needs beyond scalars: one chart for all weights, and a row of hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams


def layout(writer: SummaryWriter, names: Sequence[str], units: Sequence[str] = ()) -> None:
    """Declare the custom-scalars charts that draw all losses together."""
    charts = {
        "loss weights": ["Multiline", [f"loss_weight/{name}" for name in names]],
        "raw losses": ["Multiline", [f"loss_raw/{name}" for name in names]],
        "weighted losses": ["Multiline", [f"loss_weighted/{name}" for name in names]],
    }
    if units:
        charts["gradient norms"] = ["Multiline", [f"grad_norm/{unit}" for unit in units]]
    writer.add_custom_scalars({"autoloss": charts})


def write_hparams(writer: SummaryWriter, config: Mapping[str, object], metrics: Mapping[str, float]) -> None:
    """Write the run's row of the HPARAMS table: plain values by dotted key, and its metrics."""
    plain = {key: value for key, value in _flat(config) if isinstance(value, (bool, int, float, str))}
    for summary in hparams(plain, dict(metrics)):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def _flat(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in config.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows
