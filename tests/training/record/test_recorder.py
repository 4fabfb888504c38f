"""Several players write one record; whatever a step notes gets a column; long trainings are thinned."""

import csv
import math
from itertools import pairwise

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from autoloss import Balancer, ConfigError
from autoloss.core.clock import Clock
from autoloss.core.errors import SignalError
from autoloss.core.registry.lookup import registry
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.table import LossTable
from autoloss.report import read
from autoloss.report.run_page import run_page
from autoloss.training.record.cadence import Cadence
from autoloss.training.record.column_kinds import COLUMN_KINDS, ColumnKind, losses, one
from autoloss.training.record.csv_file import CsvFile
from autoloss.training.record.recorder import Recorder
from autoloss.training.step.notes import quantiles
from autoloss.training.step.player import Player


def rows_of(directory):
    with (directory / "trajectory.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def player(*names, weighting="equal"):
    return Player(names, registry.build("weighting", weighting))


def events_of(directory):
    return EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0, "images": 0}).Reload()


def test_two_players_share_rows_and_carry_their_names(tmp_path):
    players = {"generator": player("rec", "adv"), "discriminator": player("real", "fake")}
    recorder = Recorder(tmp_path, {name: p.terms for name, p in players.items()}, every=2)
    for name, p in players.items():
        p.listener = recorder.listener(name)
    for step in range(5):
        for name, p in players.items():
            p.notes.scalar("accuracy", torch.tensor(0.25 * step))
            if name == "discriminator" and step == 2:
                continue  # it had no turn
            p.step(LossTable({n: torch.tensor(1.0 + step, requires_grad=True) for n in p.terms.names}), Clock(step))
    recorder.close()
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == ["0", "2", "4"]
    assert [row["loss_raw/generator/rec"] for row in rows] == ["1", "3", "5"]
    assert [row["loss_raw/discriminator/fake"] for row in rows] == ["1", "", "5"]
    assert [row["accuracy/generator"] for row in rows] == ["0", "0.5", "1"]
    assert rows[2]["loss/discriminator/total"] == "10"
    assert events_of(tmp_path).Scalars("1_loss_weight/generator/rec")[1].step == 2


def test_what_a_step_notes_gets_columns_and_histograms(tmp_path):
    balancer = Balancer(["a", "b"], "equal", log_dir=tmp_path, record_every=2)
    for step in range(4):
        balancer.notes.histogram("sample_weight/a", torch.linspace(0, 1, 101) * (step + 1))
        if step >= 2:
            balancer.notes.scalar("in_use", 0.5)
        balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    balancer.close()
    rows = rows_of(tmp_path)
    assert [row["step"] for row in rows] == ["0", "2", "3"]
    assert [row["in_use"] for row in rows] == ["", "0.5", "0.5"]
    assert float(rows[1]["sample_weight/a/p90"]) == pytest.approx(2.7)
    assert events_of(tmp_path).Histograms("sample_weight/a")


def test_weights_of_samples_are_recorded(tmp_path):
    class Halves(SampleWeighting):
        """Leaves every second sample out, and counts the others twice."""

        def forward(self, samples):
            return torch.arange(len(samples.losses)) % 2 * 2.0

    balancer = Balancer(["a", "b"], "equal", log_dir=tmp_path, sample_weighting=Halves(), record_every=1)
    balancer({"a": torch.rand(8), "b": torch.tensor(1.0)})
    balancer.close()
    row = rows_of(tmp_path)[0]
    assert float(row["sample_used/a"]) == 0.5
    assert [float(row[f"sample_weight/a/{part}"]) for part in ("p10", "p90")] == [0.0, 2.0]
    assert "sample_used/b" not in row


def test_quantiles_are_those_of_the_values():
    values = torch.randn(1001, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(quantiles(values), torch.quantile(values, torch.linspace(0, 1, 21)), atol=1e-6)
    assert quantiles(torch.ones(3)).tolist() == [1.0] * 21
    assert quantiles(torch.ones(0)).isnan().all()


def gradients_of(losses, features):
    return torch.stack([torch.autograd.grad(loss, features, retain_graph=True)[0].reshape(-1) for loss in losses])


@pytest.mark.parametrize("base", [{"a": 0.5}, {"b": 0.25, "c": 2.0}, {"b": 0.0, "c": 2.0}])
@pytest.mark.parametrize("way", ["weighting", "probe"])
def test_shares_and_cosines_are_those_of_the_gradients(tmp_path, way, base):
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), nn.ModuleDict({n: nn.Linear(4, 1) for n in "abc"})
    measures = {"weighting": "gradnorm"} if way == "weighting" else {"weighting": "equal", "probe_every": 2}
    options = {"base": base, "groups": {"bc": ["b", "c"]}, "record_every": 4}
    balancer = Balancer(list("abc"), log_dir=tmp_path, **measures, **options)
    expected = {}
    for step in range(5):
        features = trunk(torch.randn(8, 3))
        losses = {n: h(features).square().mean() for n, h in heads.items()}
        balancer(losses, anchor=features)
        weights = balancer.weights
        # The loss of a group has the base weights of its members in it.
        group = base.get("b", 1.0) * losses["b"] + base.get("c", 1.0) * losses["c"]
        rows = gradients_of([losses["a"], group], features)
        pulls = torch.tensor([weights["a"], weights["c"] / base.get("c", 1.0)]) * rows.norm(dim=1)
        expected[step] = (rows.norm(dim=1), pulls / pulls.sum(), torch.cosine_similarity(rows[0], rows[1], 0))
    balancer.close()
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows] == ([0, 4] if way == "weighting" else [0, 2, 4])
    for row in rows:
        norms, pulls, cosine = expected[int(row["step"])]
        assert [float(row[f"grad_norm/{u}"]) for u in ("a", "bc")] == pytest.approx(norms.tolist(), rel=1e-4)
        assert [float(row[f"grad_share/{u}"]) for u in ("a", "bc")] == pytest.approx(pulls.tolist(), rel=1e-4)
        assert float(row["grad_cosine/a/bc"]) == pytest.approx(float(cosine), abs=1e-5)
        assert row["grad_cosine_min"] == row["grad_cosine/a/bc"]
        whole = sum(abs(float(row[f"loss_weighted/{n}"])) for n in "abc")
        assert float(row["loss_share/b"]) == pytest.approx(float(row["loss_weighted/b"]) / whole, rel=1e-5)
    assert events_of(tmp_path).Images("grad_cosine")


def test_a_probe_for_the_record_changes_nothing(tmp_path):
    def weights(**options):
        torch.manual_seed(0)
        trunk, head = nn.Linear(3, 4), nn.Linear(4, 1)
        balancer = Balancer(["a", "b", "alone"], "uncertainty", **options)
        for _ in range(6):
            features = trunk(torch.randn(8, 3))
            values = head(features)
            balancer({"a": values.square().mean(), "b": values.abs().mean(), "alone": trunk.weight.sum()}, features)
        balancer.close()
        return balancer.weights

    assert weights(log_dir=tmp_path, probe_every=1) == weights()
    assert rows_of(tmp_path)[0]["grad_norm/alone"] == ""  # it does not reach the anchor: no norm, and not 0


def test_a_probe_without_an_anchor_is_one_sentence(tmp_path):
    balancer = Balancer(["a"], "equal", log_dir=tmp_path, probe_every=2)
    with pytest.raises(SignalError, match="record.probe_every needs an anchor"):
        balancer({"a": torch.ones((), requires_grad=True)})
    with pytest.raises(ConfigError, match="probe_every=-1"):
        Balancer(["a"], "equal", probe_every=-1)


@pytest.mark.parametrize(("every", "dense"), [(1, 8), (10, 1000), (3, 1)])
def test_a_long_training_is_thinned_by_its_logarithm(every, dense):
    cadence, steps = Cadence(every, dense), 20_000
    due = [step for step in range(steps) if cadence.due(step)]
    assert len(due) <= dense * math.log2(steps / (every * dense) + 1) + 2 + math.log2(steps)
    assert due[:dense] == [every * i for i in range(min(dense, len(due)))][: len(due)]
    gaps = [b - a for a, b in pairwise(due)]
    assert max(gaps) <= 2 * every * max(1, 2 * steps // (every * dense))


def test_a_resumed_record_writes_the_step_at_which_it_starts_once(tmp_path):
    path = tmp_path / "rows.csv"
    CsvFile(path, ["x"]).append([(Clock(step), {"x": 0.0}) for step in range(5)])
    CsvFile(path, ["x"], start=3).append([(Clock(step), {"x": 1.0}) for step in (3, 4)])
    with path.open(newline="") as file:
        rows = [(row["step"], row["x"]) for row in csv.DictReader(file)]
    assert rows == [("0", "0"), ("1", "0"), ("2", "0"), ("3", "1"), ("4", "1")]


def total_norm(step):
    """The norm of the total's gradient, from the inner products of the units' gradients."""
    gram, factors = step.kept.get("gram"), step.factors
    if gram is None:
        return []
    size = range(len(factors))
    return [math.sqrt(sum(factors[i] * gram[i * len(size) + j] * factors[j] for i in size for j in size))]


def test_a_new_recorded_number_is_one_entry(tmp_path, monkeypatch):
    added = [
        ColumnKind("grad_total_norm", one, total_norm),
        ColumnKind("items", losses, lambda step: step.kept["items"], tensor=lambda weighed: weighed.counts),
    ]
    monkeypatch.setattr("autoloss.training.record.player_columns.COLUMN_KINDS", (*COLUMN_KINDS, *added))
    balancer = Balancer(["a", "b"], "gradnorm", log_dir=tmp_path, record_every=1)
    features = nn.Linear(3, 4)(torch.randn(8, 3))
    total = balancer({"a": features.square().mean(), "b": features[:5].abs().mean(1)}, anchor=features)
    balancer.close()
    row = rows_of(tmp_path)[0]
    (gradient,) = torch.autograd.grad(total, features)
    assert float(row["grad_total_norm"]) == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert (row["items/a"], row["items/b"]) == ("1", "5")
    assert events_of(tmp_path).Scalars("grad_total_norm")[0].value == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert any("Grad total norm" in block.title for block in run_page(read(tmp_path)).blocks)


def test_the_record_of_a_resumed_run_keeps_columns_that_it_has_not_seen_yet(tmp_path):
    for start in (0, 3):
        p = player("a")
        recorder = Recorder(tmp_path, {"": p.terms}, every=1, start=start)
        p.listener = recorder.listener("")
        for step in range(start, start + 3):
            p.notes.scalar(f"only_{start}", float(step))
            p.step(LossTable({"a": torch.tensor(1.0)}), Clock(step))
        recorder.close()
    rows = rows_of(tmp_path)
    assert [row["only_0"] for row in rows] == ["0", "1", "2", "", "", ""]
    assert [row["only_3"] for row in rows] == ["", "", "", "3", "4", "5"]


def test_rows_are_kept_though_the_logger_closed_its_writer_first(tmp_path):
    writer = SummaryWriter(str(tmp_path / "board"))
    player = Player(["a"], registry.build("weighting", "equal"))
    recorder = Recorder(tmp_path, {"": player.terms}, every=1, writer=writer)
    player.listener = recorder.listener("")
    player.step(LossTable({"a": torch.ones(())}), Clock(0))
    writer.close()
    recorder.end()
    assert (tmp_path / "trajectory.csv").read_text().count("\n") == 2
    writer.close()
