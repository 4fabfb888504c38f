"""What is generated is up to date, links lead somewhere, and the plug points' pages leave nothing out."""

import importlib
import re
from pathlib import Path

import pytest
import torch

import autoloss
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.need import Need, SampleNeed
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.core.sample_weighting import CLAIMS as SAMPLE_CLAIMS
from autoloss.core.weighting import CLAIMS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def _release(version):
    return tuple(map(int, version.split(".")[:2]))


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "plugins/README.md", *sorted(DOCS.rglob("*.md"))]


def _release(version):
    return tuple(map(int, version.split(".")[:2]))


@pytest.fixture
def generate(monkeypatch):
    """The script of the generated pages, with its own folder on the path as when it is run."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("generate")


@pytest.mark.skipif(_release(torch.__version__) < (2, 13), reason="pages have the annotations of torch 2.13")
def test_the_generated_pages_say_what_the_classes_say(generate):
    for name, page in generate.PAGES.items():
        assert (DOCS / name).read_text() == page(), "run: python docs/generate.py"


def test_every_loss_is_a_choice_for_some_problem(generate):
    chosen = {name for names in generate.which_loss_page.KINDS_OF_PROBLEM.values() for name in names}
    assert chosen == {one.name for one in registry.listings["loss"] if one.origin == ORIGIN}


def test_everything_that_the_package_offers_is_in_the_reference(generate):
    offered = {f"autoloss:{name}" for name in autoloss.__all__} - {"autoloss:__version__", "autoloss:search"}
    assert offered <= {target for targets in generate.api_page.API.values() for target in targets}


def anchors(page):
    """What can be linked to in a page: its headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^()\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page_and_readme_the_index():
    index = (DOCS / "README.md").read_text()
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}
    assert pages - set(re.findall(r"\]\(([^()#\s]+)\)", index)) == set()
    assert "](docs/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("losses", "ours", "theirs"),
    [(8, (1.01, 1.09, 1.53, 4.42), (4.34, 7.16)), (32, (0.99, 1.14, 1.49, 14.1), (13.5, 24.1))],
)
def test_the_costs_that_the_readme_compares_are_those_that_were_measured(losses, ours, theirs):
    rows = [line.split("|")[1:-1] for line in (ROOT / "benchmarks/results/step_cost.md").read_text().splitlines()]
    header, *rows = [[cell.strip() for cell in row] for row in rows if len(row) > 2]
    cost = {row[0]: float(row[header.index(f"K = {losses}")]) for row in rows if "---" not in row[0]}
    shared = cost["mgda, all shared parameters"]
    jd = [ratio for name, ratio in cost.items() if name.startswith("TorchJD")]
    plain = [r for name, r in cost.items() if not name.startswith(("TorchJD", "sum", "famo", "mgda, all"))]
    found = (min(plain), max(plain), cost["famo"], shared, min(jd), max(jd))
    assert found == pytest.approx((*ours, *theirs), abs=0.06 if losses == 32 else 0.01)
    (line,) = [
        one for one in (ROOT / "README.md").read_text().splitlines() if f"{losses} losses" in one and "famo" in one
    ]
    assert [number for number in (*ours, *theirs) if f"{number:g}" not in line] == []


def claims_and_needs():
    return {
        "loss": ["takes", "paired", "absent", "outliers", "imbalance", "gradients", "masked", "self.notices"],
        "weighting": [*CLAIMS, *(f"Need.{one.name}" for one in Need if one is not Need.VALUES)],
        "sample_weighting": [*SAMPLE_CLAIMS, *(f"SampleNeed.{one.name}" for one in SampleNeed)],
        "problem": [
            *Problem.__abstractmethods__,
            *GanProblem.__abstractmethods__,
            "evaluate",
            "gallery",
            "hold_out",
            "tally",
            "pictures",
        ],
        "penalty": ["factor", "name", "on", "at_least_float32"],
        "wrapper": ["needs_at", "update", "export", "positive"],
    }


@pytest.mark.parametrize("page", claims_and_needs())
def test_a_plug_points_page_names_all_that_its_class_has(page):
    text = (DOCS / "plugins" / f"{page}.md").read_text()
    assert [name for name in claims_and_needs()[page] if f"`{name}" not in text] == []
