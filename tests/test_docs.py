"""What is generated is up to date, links lead somewhere, and the plug points' pages leave nothing out."""

import importlib
import re
from pathlib import Path

import pytest

import autoloss
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.need import Need, SampleNeed
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.core.sample_weighting import CLAIMS as SAMPLE_CLAIMS
from autoloss.core.weighting import CLAIMS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "plugins/README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture
def generate(monkeypatch):
    """The script of the generated pages, with its own folder on the path as when it is run."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("generate")


def test_the_generated_pages_say_what_the_classes_say(generate):
    for name, page in generate.PAGES.items():
        assert (DOCS / name).read_text() == page(), "run: python docs/generate.py"


def test_every_loss_is_a_choice_for_some_problem(generate):
    chosen = {name for names in generate.KINDS_OF_PROBLEM.values() for name in names}
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
