"""Whatever lies in a directory: a page, or one clear sentence."""

import base64
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from autoloss.core.errors import ConfigError
from autoloss.report import read, write
from autoloss.report.page import unpacked

NASTY = ['<script>alert("x")</script>', "</script><img src=x onerror=alert(1)>", "a|b`c`", "ü & 'quotes'"]


def page_of(place):
    return write(place).read_text(encoding="utf-8")


def data_of(html):
    return json.loads(unpacked(re.search(r'id="data">([^<]*)<', html)[1]))


def table(losses, steps=50):
    rng = np.random.default_rng(0)
    found = {
        f"{kind}/{n}": rng.uniform(0.5, 1.5, steps) for kind in ("loss_weight", "loss_raw", "grad_norm") for n in losses
    }
    return found | {"loss/total": rng.uniform(1, 2, steps)}


def test_what_the_page_draws_is_what_the_trajectory_holds(run_directory):
    columns = table(["a", "b"])
    place = run_directory(columns=columns)
    charts = {chart["title"]: chart for chart in data_of(page_of(place))["charts"].values()}
    for title, kind in (("Weights", "loss_weight"), ("Losses", "loss_raw"), ("Gradient norms", "grad_norm")):
        for series in charts[title]["series"]:
            assert series["y"] == pytest.approx(columns[f"{kind}/{series['name']}"], rel=1e-4)
        assert charts[title]["x"] == list(range(50))


def test_names_are_text_wherever_they_stand(run_directory):
    columns = table(NASTY)
    columns |= {f"grad_cosine/{NASTY[0]}/{name}": np.full(50, -0.5) for name in NASTY[1:]}
    columns["grad_cosine_min"] = np.full(50, -0.5)
    weights = dict.fromkeys(NASTY, 1.0)
    nasty = {"metrics": {NASTY[0]: 0.5}, "problem": NASTY[1], "weighting": NASTY[0], "overrides": [f"x={NASTY[1]}"]}
    place = run_directory(NASTY[2].replace("|", ""), columns, losses=NASTY, final_weights=weights, **nasty)
    html = page_of(place)
    before, _, script = html.rpartition("<script>")
    assert before.count("<script") == 2  # the data and the library
    assert html.count("<img") == script.count("<img") == 0
    assert "&lt;script&gt;alert" in html
    assert NASTY[0] in data_of(html)["marks"]


def test_a_runs_picture_of_samples_is_inside_the_page(run_directory):
    place = run_directory(columns=table(["a", "b"]))
    assert "<img" not in page_of(place).rpartition("<script>")[0]
    png = b"\x89PNG\r\n\x1a\nthe rest"
    (place / "samples.png").write_bytes(png)
    assert f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}"' in page_of(place)
    (place / "samples.png").write_bytes(b"")
    assert "<img" not in page_of(place).rpartition("<script>")[0]


def test_a_page_asks_for_nothing(run_directory):
    html = page_of(run_directory(columns=table(["a", "b"])))
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:|#)', html)
    assert "url(" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize("cut", [0.3, 0.7])
def test_a_run_that_was_killed_has_a_page(run_directory, cut):
    place = run_directory(columns=table(["a", "b"]), finished=False)
    text = (place / "trajectory.csv").read_text()
    (place / "trajectory.csv").write_text(text[: int(len(text) * cut)])
    html = page_of(place)
    assert "The run did not finish: its record ends at step" in html
    assert re.search(r'"y":\[', unpacked(re.search(r'id="data">([^<]*)<', html)[1]))


def test_a_run_that_failed_says_why(run_directory):
    place = run_directory(columns=table(["a", "b"]), finished=False)
    (place / "failed.json").write_text(json.dumps({"error": "Every loss must be finite, but loss 'a' is nan."}))
    assert "The run failed: Every loss must be finite" in page_of(place)


@pytest.mark.parametrize("number", [1, 100])
def test_a_sweep_of_any_size_has_a_leaderboard(run_directory, tmp_path, number):
    for i in range(number):
        name = "equal" if i == 0 else "gradnorm"
        over = [f"weighting={name}", f"weighting.alpha={i}", "seed=0"]
        curves = {"train_loss/a": np.ones(2), "val_loss/a": np.ones(2)}
        run_directory(
            f"runs/{i:03d}",
            table(["a"]),
            curves,
            ("a",),
            weighting=name,
            overrides=over,
            metrics={"error": 1.0 - i / 200},
        )
    html = page_of(tmp_path / "runs")
    assert html.count("<tr>") >= 2 * number
    assert "score" in html


def test_runs_that_failed_or_broke_off_are_listed(run_directory, tmp_path):
    run_directory("runs/one", table(["a"]), losses=("a",))
    run_directory("runs/two", table(["a"]), losses=("a",), finished=False)
    html = page_of(tmp_path / "runs")
    assert "not finished" in html


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "damaged"])
def test_what_is_no_run_is_one_sentence(tmp_path, kind):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind != "missing":
        place.mkdir()
    if kind == "damaged":
        (place / "summary.json").write_text('{"metrics": {')
    with pytest.raises(ConfigError, match="A report needs") as caught:
        write(place)
    assert "\n" not in str(caught.value)
    assert not (place / "report.html").exists()


def test_a_run_reads_as_arrays(run_directory):
    columns = table(["a", "b"])
    run = read(run_directory(columns=columns, curves={"val/error": np.array([0.9, 0.5])}))
    assert run.weights["a"] == pytest.approx(columns["loss_weight/a"])
    assert run.metrics == {"error": 0.5}
    assert run.grad_norms["b"] == pytest.approx(columns["grad_norm/b"])
    assert run.curves["val/error"].tolist() == [0.9, 0.5]
    pandas = pytest.importorskip("pandas")
    frame = run.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["loss_raw/a"].to_numpy() == pytest.approx(columns["loss_raw/a"])
    with pytest.raises(ConfigError, match=r"A record is read from the directory of one run"):
        read("nowhere")


def test_reading_needs_no_torch():
    code = (
        "import sys, autoloss.report; sys.exit(any(m in sys.modules for m in ('torch', 'pytorch_lightning', 'optuna')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
