"""The README's code runs."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": f"readme_{number}"}
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), space)
    if "MyProblem" in space:
        problem = space["MyProblem"]()
        data = problem.datasets(0)["train"]
        outputs = problem.outputs(problem.network(), data[:4])
        assert set(outputs.terms) == set(problem.terms)
        assert set(problem.measure(outputs)) == set(problem.metrics)
