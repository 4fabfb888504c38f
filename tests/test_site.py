"""The pages as a site: all of them are in its contents, it is built without a warning, and it asks nothing of a server."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs/site")
    return importlib.import_module("build_site")


def test_the_contents_have_the_sections_of_the_index_and_all_pages(build, tmp_path):
    build.stage(tmp_path)
    home = (tmp_path / "README.md").read_text()
    assert re.findall(":caption: (.*)", home) == re.findall("^## (.*)", (ROOT / "docs/README.md").read_text(), re.M)
    named = set(re.findall(r"^(?:docs|benchmarks|examples)/\S+$|^CONTRIBUTING$", home, re.M))
    assert [name for name in named if not (tmp_path / f"{name}.md").is_file()] == []
    pages = {page.relative_to(ROOT).with_suffix("").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages - named == {"docs/README"}


def test_what_python_leaves_beside_the_examples_is_no_page(build, tmp_path, monkeypatch):
    for name in ("README.md", "docs/README.md", "examples/a.py", "examples/__pycache__/a.cpython-310.pyc"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text("# A page\n")
    monkeypatch.setattr(build, "ROOT", tmp_path / "tree")
    build.stage(tmp_path / "site")
    assert [path.name for path in (tmp_path / "site/examples").iterdir()] == ["a.py"]


def test_a_link_to_a_folder_leads_to_a_list_of_its_pages(build, tmp_path):
    build.stage(tmp_path)
    assert "](../benchmarks/results/index.md)" in (tmp_path / "docs/README.md").read_text()
    listed = (tmp_path / "benchmarks/results/index.md").read_text()
    assert [page.stem for page in (ROOT / "benchmarks/results").glob("*.md") if f"\n{page.stem}\n" not in listed] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Sphinx's parts, not of the pages
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_a_server(build, tmp_path):
    assert build.build(tmp_path) == 0
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 60
    assert "README.html" in (tmp_path / "index.html").read_text()
    loads = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+")
    assert [found for page in pages for found in loads.findall(page.read_text())] == []
    styles = [*tmp_path.rglob("*.css")]
    assert [style.name for style in styles if re.search(r"(url\(|@import )['\"]?(https?:)?//", style.read_text())] == []
    assert "def run(trial)" in re.sub("<[^>]*>", "", (tmp_path / "docs/searching.html").read_text())
    assert "UserTrial" in (tmp_path / "docs/api.html").read_text()
