"""The code in the README and in the guides runs, and prints what the page shows below it."""

import re
import runpy
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = (
    "quickstart",
    "migrating",
    "searching",
    "gans",
    "diffusion",
    "seeing",
    "tabular",
    "predicting",
    "physics",
    "constraints",
)
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{name}.md" for name in GUIDES))
# What is tested elsewhere, or cannot end.
OTHERS = {
    "docs/design.md": "sketches of types",
    "docs/cluster.md": "a server that runs for ever; tests/app/test_cluster.py runs the script",
    "docs/plugins.md": "tests/plugins/test_guide.py",
    **{
        path.relative_to(ROOT).as_posix(): "tests/plugins/test_guide.py"
        for path in (ROOT / "docs/plugins").glob("*.md")
    },
}
# A block, and the block right below it that names no language: what it prints.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```\n(.*?)^```$)?", re.S | re.M)
BLOCKS = [(page, *found) for page in PAGES for found in BLOCK.findall((ROOT / page).read_text())]
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


@pytest.fixture
def kept_model(tmp_path):
    """The model of a search on a table in ``outputs/search/mine``, and rows to predict, for the page on predictions."""
    from autoloss.core.io.files import MODEL
    from autoloss.problems.tabular import Tabular
    from autoloss.training.balancer import Balancer
    from autoloss.training.saved_model import save_model

    rows = [f"{i},{'Bern' if i % 2 else 'Chur'},{i * 1.5},{'yn'[i % 3 == 0]}" for i in range(60)]
    (tmp_path / "my.csv").write_text("size,city,price,sold\n" + "\n".join(rows) + "\n")
    (tmp_path / "NEW.csv").write_text("size,city\n90,Bern\n")
    problem = Tabular(str(tmp_path / "my.csv"), ["price", "sold"])
    balancer = {"weighting": "equal", "base": {}, "groups": {}, "unbalanced": [], "sample_weighting": "uniform"}
    config = {"problem": {"name": "tabular", "csv": "gone.csv"}, **balancer}
    player = Balancer(["price", "sold"], "equal").player
    save_model(tmp_path / "outputs/search/mine" / MODEL, problem, problem.network(), player, config)


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=[f"{BLOCKS[i][0]}-{i}" for i in range(len(BLOCKS))])
def test_block(number, request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page, block, shown = BLOCKS[number]
    if page.endswith("predicting.md"):
        request.getfixturevalue("kept_model")
    # A block may go on with what the page's first imported.
    space = {"__name__": f"block_{number}"} | ({"autoloss": __import__("autoloss")} if "import" not in block else {})
    exec(compile(block, f"{page} block {number}", "exec"), space)
    if shown:
        assert like(capsys.readouterr().out, shown)
    if "MyProblem" in space:
        problem = space["MyProblem"]()
        data = problem.datasets(0)["train"]
        outputs = problem.outputs(problem.network(), data[:4])
        assert set(outputs.terms) == set(problem.terms)
        assert set(problem.measure(outputs)) == set(problem.metrics)


def like(printed, shown):
    """Whether two texts have the same words, and numbers that differ by a fifth at most: other versions round otherwise."""
    numbers = [[float(one) for one in NUMBER.findall(text)] for text in (printed, shown)]
    words = [NUMBER.sub("0", text).strip() for text in (printed, shown)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], rel=0.2)


def test_what_differs_from_the_page_is_seen():
    assert like("{'a': '0.71'}\n", "{'a': '0.72'}\n")
    assert not like("{'a': '0.71'}", "{'a': '1.7'}")
    assert not like("{'a': '0.71'}", "{'b': '0.71'}")


def test_each_page_with_python_is_tested_here_or_says_where():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("*.md")]
    found = {page.relative_to(ROOT).as_posix() for page in pages if "```python\n" in page.read_text()}
    assert found - set(PAGES) - set(OTHERS) == set()


def test_the_difference_at_the_top_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "README.md").read_text(), re.S | re.M)
    kept = "\n".join(line[1:] for line in block.splitlines() if not line.startswith("-"))
    (tmp_path / "loop.py").write_text(
        textwrap.dedent("""
            import torch, autoloss
            torch.manual_seed(0)
            trunk, heads = torch.nn.Linear(4, 3), torch.nn.ModuleList([torch.nn.Linear(3, 1) for _ in range(2)])
            optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.01)
            loader = [(torch.randn(8, 4), torch.randn(8, 2)) for _ in range(5)]

            def losses_of(features, targets):
                errors = [(head(features)[:, 0] - targets[:, i]).square().mean() for i, head in enumerate(heads)]
                return dict(zip(("depth", "normals"), errors))
            """)
        + kept
    )
    found = runpy.run_path(str(tmp_path / "loop.py"))
    weights = found["balancer"].weights
    assert set(weights) == {"depth", "normals"}
    assert 0 < min(weights.values()) < max(weights.values())
    assert (tmp_path / "outputs/mine/report.html").exists()


def test_the_line_below_the_title_is_what_the_package_says():
    text, project = (ROOT / "README.md").read_text(), (ROOT / "pyproject.toml").read_text()
    python, torch = (
        re.search(pattern, project)[1] for pattern in (r'requires-python = ">=([\d.]+)"', r'"torch>=([\d.]+)"')
    )
    line = text.splitlines()[2]
    assert f"Python {python} and newer · PyTorch {torch} and newer" in line
    assert 'license = "Apache-2.0"' in project
    assert "Apache-2.0" in line
