"""What a person sees: the pages and TensorBoard in a real browser."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.report import write
from tests.report.pages import data_of, drawn_marks, opened

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = '<script>document.title="caught"</script>'
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run of two tasks and a nasty name."""
    directory = tmp_path_factory.mktemp("runs") / "001"
    torch.manual_seed(0)
    names = ["depth", "normals", NASTY]
    trunk, heads = nn.Linear(4, 8), nn.ModuleList(nn.Linear(8, 1) for _ in names)
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], 0.02)
    balancer = Balancer(names, "gradnorm", log_dir=directory, record_every=1, total_steps=60)
    for step in range(60):
        x = torch.randn(16, 4)
        features = trunk(x).relu()
        losses = {
            n: (h(features)[:, 0] - 3**i * x[:, i]).square().mean()
            for i, (n, h) in enumerate(zip(names, heads, strict=True))
        }
        optimizer.zero_grad()
        balancer(losses, anchor=features).backward()
        optimizer.step()
        if step % 20 == 19:
            balancer.measured({"error": losses["depth"]}, {"error": "min"})
    balancer.close()
    return directory


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_draws_everything_and_asks_for_nothing(browser, run, width, scheme):
    page, complaints, requests = opened(browser, run / "report.html", width, scheme)
    assert complaints == []
    assert requests == [(run / "report.html").as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title().startswith("gradnorm")
    assert page.locator("[data-chart]").count() == page.locator("[data-drawn]").count() >= 8
    # Something was painted on each of them, not only the ground.
    painted = page.evaluate(
        "[...document.querySelectorAll('.plot')].map(plot => Math.max(...[...plot.querySelectorAll('canvas')].map(c => {"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })))"
    )
    assert min(painted) > 500
    page.close()


@pytest.mark.parametrize("kind", ["run", "sweep", "comparison", "search"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_name_has_one_colour_and_one_marker_on_the_whole_page(browser, kinds_of_pages, kind, scheme):
    place = kinds_of_pages[kind]
    page, complaints, _ = opened(browser, write(place), 1280, scheme)
    assert complaints == []
    charts = data_of((place / "report.html").read_text(encoding="utf-8"))["charts"]
    marks = {}
    for (chart, name), pairs in drawn_marks(page).items():
        spec = charts[chart]
        drawn = [
            *spec.get("series", ()),
            *spec.get("groups", ()),
            *(r for r in spec.get("rows", ()) if isinstance(r, dict)),
        ]
        for one in drawn:
            if one["name"] == name:
                marks.setdefault(one.get("of", name), set()).update(pairs)
    assert {name: pairs for name, pairs in marks.items() if len(pairs) != 1} == {}
    assert len({pair for pairs in marks.values() for pair in pairs}) == len(marks) >= 5
    page.close()


def test_many_losses_are_folded_and_a_click_shows_them(browser, run_directory):
    losses, rng = [f"loss_{i}" for i in range(40)], np.random.default_rng(0)
    columns = {f"loss_weight/{n}": np.geomspace(1, 1.1**i, 30) for i, n in enumerate(losses)}
    columns |= {f"loss_share/{n}": np.full(30, 1 / 40) for n in losses}
    columns |= {f"loss_raw/{n}": rng.uniform(1, 2, 30) for n in losses} | {"loss/total": np.ones(30)}
    page, complaints, _ = opened(browser, write(run_directory(columns=columns, losses=losses)), 1280)
    assert complaints == []
    section = page.locator("section", has=page.get_by_role("heading", name="Weights", exact=True))

    def names():
        return page.evaluate("s => [...new Set(s.options().series.map(x => x.name))]", section.element_handle())

    assert set(names()) == set(losses[-8:])
    assert "8 of 40" in section.inner_text()
    section.get_by_role("button", name="all 40").click()
    assert set(names()) == set(losses)
    shares = page.locator("section", has=page.get_by_role("heading", name="Share of the total", exact=True))
    last = page.evaluate("s => s.options().series.map(x => x.data.at(-1)[1])", shares.element_handle())
    assert len(last) == 9
    assert sum(last) == pytest.approx(1, rel=1e-3)
    rows = page.locator("table", has_text="base weight").locator("tbody tr:visible")
    assert rows.count() == 15
    page.get_by_role("button", name="all 40 rows").click()
    assert rows.count() == 40
    page.close()


def test_a_point_far_away_does_not_hide_the_others(browser, tmp_path):
    scores = [0.01 * i for i in range(15)] + [-4.0]
    trials = [
        {"number": i, "state": "complete", "baseline": i == 0, "parameters": {}, "label": "dwa", "metrics": {}}
        | {"values": [score], "score": score, "on_front": False}
        for i, score in enumerate(scores)
    ]
    found = {"objectives": [{"name": "score", "goal": "max"}], "knee": None, "importance": {}, "confirmed": []}
    found |= {"trials": trials, "verdict": ["Verdict."], "over": True, "goals": {}, "decision": None}
    (tmp_path / "search.json").write_text(json.dumps(found))
    page, complaints, _ = opened(browser, write(tmp_path), 1280)
    section = page.locator("section", has=page.get_by_role("heading", name="score by trial", exact=True))

    def low():
        return page.evaluate("s => s.ends()[1][0]", section.element_handle())

    assert low() > -0.5
    section.get_by_role("button", name="whole range, 1 more").click()
    assert low() < -3.9
    assert complaints == []
    page.close()


def test_a_legend_shows_what_is_dashed(browser, run_directory):
    curves = {f"{kind}/{name}": np.linspace(1, 0.5, 4) for kind in ("train_loss", "val_loss") for name in "ab"}
    columns = {f"{kind}/{name}": np.ones(4) for kind in ("loss_weight", "loss_raw") for name in "ab"}
    page, _, _ = opened(browser, write(run_directory(columns=columns, curves=curves)), 1280)
    section = page.locator("section", has=page.get_by_role("heading", name="Training against validation", exact=True))
    options = page.evaluate(
        "s => { const o = s.options(); return [o.series, o.legend[0].data]; }", section.element_handle()
    )
    dashes = {s["name"]: s["lineStyle"]["type"] for s in options[0]}
    assert dashes == {
        f"{name} ({kind})": dash for name in "ab" for kind, dash in (("training", "dashed"), ("validation", "solid"))
    }
    # An entry without an icon of its own has the line of its series, dash included.
    assert [entry["name"] for entry in options[1] if "icon" not in entry] == list(dashes)
    page.close()


def test_paper_is_light_and_narrow(browser, kinds_of_pages):
    page, _, _ = opened(browser, write(kinds_of_pages["search"]), 1280, "dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    ground = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--card').trim()")
    assert ground == "#ffffff"
    assert page.evaluate("Math.max(...[...document.querySelectorAll('canvas')].map(c => c.clientWidth))") <= 700
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--card').trim()") != ground
    assert page.evaluate("Math.max(...[...document.querySelectorAll('canvas')].map(c => c.clientWidth))") > 700
    page.close()


def test_switches_and_sorting_work(browser, run):
    page, complaints, _ = opened(browser, run / "report.html", 1280)
    section = page.locator("section", has=page.get_by_role("heading", name="Weights", exact=True))
    button = section.get_by_role("button", name="log scale")
    before = button.get_attribute("aria-pressed")
    button.click()
    assert button.get_attribute("aria-pressed") != before
    table = page.locator("table").first
    head = table.locator("th").nth(2).locator("button")
    column = "[...document.querySelector('table').tBodies[0].rows].map(r => Number(r.cells[2].textContent))"
    head.click()
    assert page.evaluate(column) == sorted(page.evaluate(column))
    head.click()
    assert page.evaluate(column) == sorted(page.evaluate(column), reverse=True)
    canvas = section.locator("canvas")
    canvas.hover(position={"x": 300, "y": 100})
    assert page.title() != "caught"
    assert complaints == []
    page.close()


def test_the_page_of_a_very_long_run_opens_within_two_seconds(browser, run_directory):
    steps, rng = 3500, np.random.default_rng(0)
    losses = [f"loss_{i}" for i in range(20)]
    kinds = ("loss_weight", "loss_raw", "loss_weighted", "loss_share", "grad_norm", "grad_share")
    columns = {f"{kind}/{n}": np.exp(0.05 * rng.standard_normal(steps)).cumprod() for kind in kinds for n in losses}
    columns |= {
        f"grad_cosine/{a}/{b}": rng.uniform(-1, 1, steps) for i, a in enumerate(losses) for b in losses[i + 1 :]
    }
    columns |= {"loss/total": rng.uniform(1, 2, steps), "grad_cosine_min": rng.uniform(-1, 0, steps)}
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    path = write(run_directory(columns=columns, losses=losses))
    # By the page's own clock of computing: what else a busy machine does stays out.
    meter = page.context.new_cdp_session(page)
    meter.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-drawn]", timeout=20_000)
    spent = {one["name"]: one["value"] for one in meter.send("Performance.getMetrics")["metrics"]}
    assert spent["TaskDuration"] < 2.0
    page.close()


@pytest.mark.slow
def test_tensorboard_draws_all_weights_in_one_chart(browser, run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", "--logdir", str(run.parent)]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(120):
            try:
                urllib.request.urlopen(address, timeout=1).read()
                break
            except OSError:
                time.sleep(0.5)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        page.locator(".group-title", has_text="loss_weight").first.wait_for(timeout=60_000)
        groups = page.locator(".group-title").all_inner_texts()
        assert next(group for group in groups if group != "Pinned") == "1_loss_weight"
        page.goto(f"{address}#custom_scalars")
        page.get_by_text("loss weights", exact=True).wait_for(timeout=60_000)
        page.get_by_text("loss_weight/depth (").first.wait_for(state="attached", timeout=30_000)
        for name in ("depth", "normals", NASTY):
            assert page.get_by_text(f"loss_weight/{name} (").count() >= 1
        assert page.title() != "caught"
        page.close()
    finally:
        server.terminate()
        server.wait()
