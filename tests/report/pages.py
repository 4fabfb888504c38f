"""What stands in a page: its charts, and how a browser draws them."""

import json
import re

from autoloss.report import write
from autoloss.report.page import unpacked


def data_of(html):
    return json.loads(unpacked(re.search(r'id="data">([^<]*)<', html)[1]))


def charts_of(place):
    """The page of a directory, and its charts by title."""
    html = write(place).read_text(encoding="utf-8")
    return html, {chart["title"]: chart for chart in data_of(html)["charts"].values()}


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


def drawn_marks(page):
    """The colour and marker of each series in each chart, as the chart library has them: (chart, name) -> pairs."""
    found = page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].flatMap(section => section.options().series.map(s => "
        "[section.dataset.chart, s.name, s.color, s.symbol]))"
    )
    marks = {}
    for chart, name, colour, marker in found:
        marks.setdefault((chart, name), set()).add((colour, marker))
    return marks
