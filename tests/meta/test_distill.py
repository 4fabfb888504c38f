"""Curves from trajectories: straight lines, noise, base weights, absent losses, and errors."""

import csv
import json

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import ConfigError
from autoloss.core.schedules.curves import Curves, read_curves
from autoloss.meta.distill import distill


def write(directory, columns, config=None):
    size = len(next(iter(columns.values())))
    with (directory / "trajectory.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "epoch", "progress", *(f"loss_weight/{name}" for name in columns)])
        for i in range(size):
            writer.writerow([i, 0, i / max(size - 1, 1), *("" if c[i] is None else c[i] for c in columns.values())])
    if config:
        (directory / "summary.json").write_text(json.dumps({"config": config}))


def test_straight_lines_stay_what_they_are(tmp_path):
    write(tmp_path, {"a": [1 + i / 20 for i in range(41)], "b": [0.5] * 41})
    for smooth in (0.0, 0.05, 0.5):
        curves = distill(tmp_path, points=10, smooth=smooth)
        assert curves.progress == pytest.approx([i / 10 for i in range(11)])
        assert curves.weights["a"] == pytest.approx([1 + i / 5 for i in range(11)], rel=1e-6)
        assert curves.weights["b"] == pytest.approx([0.5] * 11)


def test_noise_is_smoothed_and_stays_within_what_was(tmp_path):
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    write(tmp_path, {"a": (1 + 0.3 * noise).clamp(min=0).tolist()})
    rough, fine = (distill(tmp_path, smooth=s).weights["a"] for s in (0.0, 0.1))
    assert torch.tensor(fine).std() < torch.tensor(rough).std() / 4
    assert min(fine) > 0


def test_where_a_loss_was_absent_its_curve_goes_on(tmp_path):
    write(tmp_path, {"a": [1.0, None, None, 4.0], "b": [None] * 4})
    with pytest.raises(ConfigError, match="'b' has none"):
        distill(tmp_path)
    write(tmp_path, {"a": [1.0, None, None, 4.0]})
    assert distill(tmp_path, points=3, smooth=0).weights["a"] == pytest.approx([1, 2, 3, 4], rel=0.2)


def test_base_weights_are_taken_out_and_a_group_has_one_curve(tmp_path):
    columns = {"a": [2.0] * 5, "b": [0.5] * 5, "kl": [3e-6] * 5}
    write(tmp_path, columns, {"base": {"kl": 1e-6, "b": 0.25}, "groups": {"both": ["a", "b"]}})
    weights = distill(tmp_path, points=1).weights
    assert {name: values[0] for name, values in weights.items()} == pytest.approx({"both": 2.0, "kl": 3.0})


def test_two_players_are_told_apart(tmp_path):
    write(tmp_path, {"generator/adv": [1.0, 2.0], "discriminator/real": [1.0, 1.0]})
    assert list(distill(tmp_path, player="generator").weights) == ["adv"]
    with pytest.raises(ConfigError, match="must be one of 'generator', 'discriminator', but it is ''"):
        distill(tmp_path)


def test_a_file_is_read_as_it_was_written(tmp_path):
    curves = Curves((0.0, 0.5, 1.0), {"a: b": (1.0, 2.0, 0.25), "no": (0.0, 1e-7, 3.0)})
    curves.write(tmp_path / "s.yaml", "a comment")
    assert read_curves(tmp_path / "s.yaml") == curves
    assert "1.0e-07" in (tmp_path / "s.yaml").read_text()
    schedule = curves.schedule("a: b")
    assert [schedule(p) for p in (-1, 0, 0.25, 0.5, 0.75, 1, 2)] == [1.0, 1.0, 1.5, 2.0, 1.125, 0.25, 0.25]


def test_a_balancer_replays_what_another_recorded(tmp_path):
    first = Balancer(
        "ab", {"name": "scheduled", "schedules": {"a": "linear(0,2)"}}, total_steps=50, log_dir=tmp_path, record_every=1
    )
    for _ in range(50):
        first({"a": torch.ones((), requires_grad=True), "b": torch.ones(())})
    first.close()
    distill(tmp_path).write(tmp_path / "schedule.yaml", "")
    second = Balancer("ab", {"name": "scheduled", "load": str(tmp_path / "schedule.yaml")}, total_steps=200)
    for _ in range(101):
        second({"a": torch.ones((), requires_grad=True), "b": torch.ones(())})
    assert second.weights == pytest.approx({"a": 1.0, "b": 1.0}, rel=0.02)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no file"),
        ("a: [", "must be YAML with `progress` and `weights`"),
        ("- 1", "has other keys"),
        (
            "progress: [0, 1]\nweights: {a: [1, 2], c: [1, 1]}",
            r"must have the losses of the run, a, b, but .* has a, c",
        ),
        ("progress: [0, 1]\nweights: {a: [1, 2]}", r"must have the losses of the run, a, b, but .* has a"),
        ("progress: [0, 0]\nweights: {a: [1, 2]}", "must rise"),
        ("progress: [0, 1]\nweights: {a: [1]}", "A curve must be 2 weights, none negative, but 'a'"),
        ("progress: [0, 1]\nweights: {a: [1, -1]}", "A curve must be 2 weights, none negative, but 'a'"),
        ("progress: [0, 1]\nweights: {a: [1, .nan]}", "must be lists of numbers, but 'a'"),
    ],
)
def test_a_wrong_file_is_named_in_one_sentence(tmp_path, text, says):
    file = tmp_path / "s.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        Balancer("ab", {"name": "scheduled", "load": str(file)})


def test_a_directory_without_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"must hold trajectory.csv, but there is no file"):
        distill(tmp_path)


def test_a_name_with_a_slash_is_a_name_and_no_player(tmp_path):
    balancer = Balancer(["a", "b/c", "b/d"], "equal", base={"b/c": 0.5}, log_dir=tmp_path, record_every=1)
    for _ in range(3):
        balancer({name: torch.ones((), requires_grad=True) for name in balancer.player.terms.names})
    balancer.close()
    curves = distill(tmp_path, points=1)
    assert curves.weights == {"a": (1.0, 1.0), "b/c": (1.0, 1.0), "b/d": (1.0, 1.0)}
    curves.write(tmp_path / "s.yaml", "")
    again = Balancer(["a", "b/c", "b/d"], {"name": "scheduled", "load": str(tmp_path / "s.yaml")}, total_steps=3)
    again({name: torch.ones((), requires_grad=True) for name in again.player.terms.names})
    assert again.weights == {"a": 1.0, "b/c": 1.0, "b/d": 1.0}


@pytest.mark.parametrize("row", ["garbage", "1,1,\x00", "x,0,1,2,3", "5,0,0.5,nonsense,1"])
def test_garbage_in_a_trajectory_is_left_out(tmp_path, row):
    write(tmp_path, {"a": [1.0] * 5, "b": [0.5] * 5})
    file = tmp_path / "trajectory.csv"
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([first, *rest[:2], row, *rest[2:]]) + "\n")
    assert distill(tmp_path, points=1).weights["a"] == pytest.approx((1.0, 1.0))
