"""The notebook of the quick start: it runs, and what it shows is what its text says."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def execution():
    spec = importlib.util.spec_from_file_location("execute_notebook", EXAMPLES / "execute_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook):
    return [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]


def check(notebook):
    printed = "".join(one.text for one in outputs(notebook) if one.output_type == "stream")
    assert re.search(r"^gradnorm is better than equal by ", printed, re.M)
    assert re.search(r"^(Keep equal weights|Use )", printed, re.M)
    assert "image/png" in {kind for one in outputs(notebook) for kind in one.get("data", {})}
    header, cells = (
        re.findall(rf"<{tag}>(.*?)</{tag}>", outputs(notebook)[-1]["data"]["text/html"]) for tag in ("th", "td")
    )
    names = [name for name in header if not name.isdigit() and name]
    columns = dict(zip(names, (cells[i :: len(names)] for i in range(len(names))), strict=True))
    assert len(columns["class"]) == 8
    right = [a == b for a, b in zip(columns["class"], columns["true class"], strict=True)]
    assert sum(right) >= 6
    assert [one for one in outputs(notebook) if one.output_type == "error"] == []


def test_the_kept_notebook_was_executed_in_order_and_names_no_place_of_the_machine():
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    check(notebook)
    assert re.findall(r"(?<![\w.:/])/(?:root|home|tmp|work|usr)/\S+", (EXAMPLES / "quickstart.ipynb").read_text()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's parts
def test_the_notebook_runs_and_shows_what_its_text_says(execution, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    check(execution.executed(EXAMPLES / "quickstart.ipynb", tmp_path))
