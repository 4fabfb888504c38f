"""What a person sees: the pages and TensorBoard in a real browser."""

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


def opened(browser, path, width, scheme="light"):
    """The page of ``path`` with everything drawn; what it complained of, and what it asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    complaints, requests = [], []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=10_000)
    page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
    # Not wait_for_function: the page's own policy forbids to evaluate strings.
    for _ in range(100):
        if page.locator("[data-chart]:not([data-drawn])").count() == 0:
            break
        page.wait_for_timeout(50)
    return page, complaints, requests


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
