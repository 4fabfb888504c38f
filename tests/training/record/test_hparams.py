"""TensorBoard's table has what one looks for in it: weighting, seed, score and what varies."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch.utils.tensorboard import SummaryWriter

from autoloss import Balancer
from autoloss.training.record.hparams import TableRow, write_columns, write_row, write_scores

ROW = {"weighting": "gradnorm", "seed": 3, "weighting.alpha": 1.5, "normalise": True}


def table(directory):
    """The columns, the metrics and the row that the events of a run say; ``None`` for what they do not."""
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    known = events.summary_metadata.values()
    tags = events.PluginTagToContent("hparams") if any(m.plugin_data.plugin_name == "hparams" for m in known) else {}
    columns = metrics = row = None
    if metadata.EXPERIMENT_TAG in tags:
        found = metadata.parse_experiment_plugin_data(tags[metadata.EXPERIMENT_TAG])
        columns = {info.name: info.type for info in found.hparam_infos}
        metrics = [info.name.tag for info in found.metric_infos]
    if metadata.SESSION_START_INFO_TAG in tags:
        start = metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])
        row = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return columns, metrics, row, events


@pytest.mark.parametrize("listed", [True, False])
def test_a_run_says_its_row_and_unless_it_is_one_of_a_search_the_columns(tmp_path, listed):
    with SummaryWriter(str(tmp_path)) as writer:
        write_row(writer, TableRow(ROW, listed), {"val/error": 0.5})
    columns, metrics, row, _ = table(tmp_path)
    assert row == ROW
    assert (None if columns is None else set(columns)) == (set(ROW) if listed else None)
    assert metrics == (["score", "val/error"] if listed else None)


def test_the_columns_of_a_table_are_those_of_all_its_rows(tmp_path):
    rows = [{"weighting": "equal", "seed": 0}, ROW, {"weighting": "dwa", "seed": 0, "weighting.alpha": "many"}]
    with SummaryWriter(str(tmp_path)) as writer:
        write_columns(writer, rows, ["val/error"])
    columns, metrics, row, _ = table(tmp_path)
    assert set(columns) == set(ROW)
    assert columns["weighting.alpha"] == columns["weighting"]  # text: one of its values is
    assert columns["seed"] != columns["weighting"]
    assert metrics == ["score", "val/error"]
    assert row is None


def test_a_score_is_written_once_into_the_run_that_has_it(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for score in (0.1, 0.2):
        write_scores({run: score, tmp_path / "gone": 1.0})
    assert [s.value for s in table(run)[3].Scalars("score")] == [pytest.approx(0.2)]
    assert not (tmp_path / "gone").exists()


def test_a_person_s_own_loop_has_a_row(tmp_path):
    balancer = Balancer(["a", "b"], "dwa", log_dir=tmp_path, record_every=1)
    balancer({"a": torch.ones((), requires_grad=True), "b": torch.ones((), requires_grad=True)})
    balancer.measured({"error": 0.5}, {"error": "min"})
    balancer.close()
    columns, metrics, row, _ = table(tmp_path)
    assert row["weighting"] == "dwa"
    assert "weighting" in columns
    assert metrics == ["score", "val/error"]
