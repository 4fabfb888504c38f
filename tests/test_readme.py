"""The code in the README and in the guides runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = ("quickstart", "migrating", "searching", "gans", "diffusion", "seeing", "tabular")
PAGES = ("README.md", *(f"docs/{name}.md" for name in GUIDES))
BLOCKS = [
    (page, block) for page in PAGES for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page, block = BLOCKS[number]
    space = {"__name__": f"block_{number}"}
    exec(compile(block, f"{page} block {number}", "exec"), space)
    if "MyProblem" in space:
        problem = space["MyProblem"]()
        data = problem.datasets(0)["train"]
        outputs = problem.outputs(problem.network(), data[:4])
        assert set(outputs.terms) == set(problem.terms)
        assert set(problem.measure(outputs)) == set(problem.metrics)
