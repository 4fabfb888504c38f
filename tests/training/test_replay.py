"""A run's own weighting, replayed on its record, gives its own weights."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from autoloss import Balancer, ConfigError
from autoloss.report import read
from autoloss.training.replay import replay
from autoloss.training.step.build import build_weighting


def trained(directory, weighting, steps=30, **options):
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), nn.ModuleDict({n: nn.Linear(4, 1) for n in "abc"})
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], 0.02)
    balancer = Balancer(list("abc"), weighting, log_dir=directory, record_every=1, total_steps=steps, **options)
    for step in range(steps):
        balancer.set_epoch(step // 5)
        x = torch.randn(8, 3)
        features = trunk(x)
        losses = {n: (h(features)[:, 0] - (i + 1) * x[:, i]).square().mean() for i, (n, h) in enumerate(heads.items())}
        losses["alone"] = trunk.weight.square().sum()
        if step % 7 == 3:
            del losses["b"]
        losses = {n: losses.get(n) for n in balancer.player.terms.names}
        optimizer.zero_grad()
        balancer(losses, anchor=features).backward()
        optimizer.step()
    balancer.close()
    return read(directory)


@pytest.mark.parametrize(
    "weighting",
    [
        "equal",
        "uncertainty",
        "dwa",
        "gradnorm",
        "mgda",
        "nash_mtl",
        "imtl_g",
        "auto",
        "balancer",
        {"name": "gradnorm", "wrap": ["ema", "clamp"]},
    ],
)
@pytest.mark.parametrize("options", [{}, {"base": {"a": 0.3}, "groups": {"bc": ["b", "c"]}}], ids=["plain", "grouped"])
def test_its_own_weighting_gives_its_own_weights(tmp_path, weighting, options):
    record = trained(tmp_path, weighting, **options)
    steps, weights = replay(record, build_weighting(weighting))
    assert steps.tolist() == list(range(30))
    for name, expected in record.weights.items():
        np.testing.assert_allclose(weights[name], expected, rtol=2e-3, atol=2e-4, equal_nan=True)


def test_what_can_do_without_gradients_is_replayed_without_them(tmp_path):
    """On a record that has none, it follows the values."""
    record = trained(tmp_path, "equal")
    _, weights = replay(record, build_weighting({"name": "auto", "alone": 0.5, "decay": 0.0}))
    values = np.stack([record.losses[name] for name in "abc"])
    expected = values**-0.5 * np.nansum(values, 0) / np.nansum(values**0.5, 0)
    for name, found in zip("abc", expected, strict=True):
        np.testing.assert_allclose(weights[name], found, rtol=1e-4, equal_nan=True)


def test_a_probed_run_replays_what_compares_gradients(tmp_path):
    record = trained(tmp_path, "equal", probe_every=3)
    steps, weights = replay(record, build_weighting("mgda"))
    assert steps.tolist() == list(range(0, 30, 3))
    assert np.nansum(weights["a"]) > 0


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        ("gradnorm", "needs gradients, but none were recorded"),
        ("balancer", "needs statistics of gradients"),
        ("famo", "needs what is measured after a step"),
        ("graddrop", "combines gradients themselves"),
    ],
)
def test_what_no_record_holds_is_one_sentence(tmp_path, weighting, message):
    record = trained(tmp_path, "equal", steps=3)
    with pytest.raises(ConfigError, match=message):
        replay(record, build_weighting(weighting))


def test_the_command_draws_and_tells(tmp_path, capsys):
    from autoloss.app.main import main

    trained(tmp_path, "gradnorm", steps=10)
    assert main(["replay", str(tmp_path), "weighting=mgda,equal"]) == 0
    assert "replay.html" in capsys.readouterr().out
    assert (tmp_path / "replay.html").exists()
    assert main(["replay", str(tmp_path)]) == 0
    assert main(["replay", str(tmp_path), "weighting=gradnrom"]) == 2
    assert "Did you mean 'gradnorm'?" in capsys.readouterr().err
    assert main(["replay", str(tmp_path), "wieghting=mgda"]) == 2
    assert main(["replay", "nowhere", "weighting=mgda"]) == 2


def test_losses_that_are_not_balanced_keep_their_base_weight(tmp_path):
    options = {"base": {"c": 0.25}, "unbalanced": ["c"]}
    first = trained(tmp_path / "first", "gradnorm", **options)
    assert first.parts[""].unbalanced == ("c",)
    for name in ("uw_so", "dwa"):
        own = trained(tmp_path / name, name, **options)
        _, again = replay(own, build_weighting({"name": name}))
        assert own.weights["c"][-1] == 0.25
        for loss, weights in own.weights.items():
            np.testing.assert_allclose(again[loss], weights, rtol=1e-4)
        _, crossed = replay(first, build_weighting({"name": name}))
        assert set(crossed["c"]) == {0.25}
    # 0.1.0 did not write which they are, and the configuration says it.
    file = tmp_path / "first/record.json"
    about = json.loads(file.read_text())
    del about["players"][""]["unbalanced"]
    file.write_text(json.dumps(about))
    summary = json.loads((tmp_path / "first/summary.json").read_text())
    summary["config"]["unbalanced"] = ["c"]
    (tmp_path / "first/summary.json").write_text(json.dumps(summary))
    _, crossed = replay(read(tmp_path / "first"), build_weighting({"name": "uw_so"}))
    assert set(crossed["c"]) == {0.25}
