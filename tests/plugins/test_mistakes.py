"""The mistakes that the plugin pages list, made: each is answered with what its page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from autoloss.core.registry.lookup import Registry, registry
from tests.plugins.mistakes import (
    experiment,
    loss,
    module,
    penalty,
    plugins,
    problem,
    sample_weighting,
    weighting,
    wrapper,
)
from tests.plugins.mistakes.experiment import EXPERIMENTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\A(?:# @.*\n)?# src/([\w/.]+\.\w+)$", re.MULTILINE)
OTHER = """
from autoloss import Loss


class Needy(Loss):
    def __init__(self, eps):
        super().__init__()

    def forward(self, prediction, target):
        return prediction


def twin(prediction, target):
    return prediction
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages' package, as an installer would leave it, and two more that are not as they should be."""
    site = tmp_path / "site"
    pages = [DOCS / "plugins.md", *sorted((DOCS / "plugins").glob("*.md"))]
    blocks = [block for page in pages for block in BLOCK.findall(page.read_text())]
    files = {named[1]: text for _, text in blocks if (named := FILE.search(text))}
    files |= {f"my_methods/conf/experiment/{name}.yaml": text for name, text in EXPERIMENTS.items()}
    files |= {"my_broken.py": "import nowhere\n", "my_other.py": OTHER, "my_methods/__init__.py": ""}
    toml = next(text for language, text in blocks if language == "toml")
    ours = re.sub(r'^\[project\.entry-points\."(.*)"\]$', r"[\1]", toml, flags=re.MULTILINE).replace('"', "")
    points = {
        "my_methods": ours[ours.index("[autoloss.losses]") : ours.index("[tool.")],
        "my_broken": "[autoloss.losses]\nmy_broken = my_broken:Loss\nmy_twin = my_other:twin\n",
        "my_other": "[autoloss.losses]\nmy_twin = my_other:twin\nmy_needy = my_other:Needy\n"
        "[autoloss.weightings]\nmy_misplaced = my_other:twin\n",
    }
    for name, text in points.items():
        files[f"{name}-1.0.dist-info/entry_points.txt"] = text
        files[f"{name}-1.0.dist-info/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        )
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delenv("AUTOLOSS_DISABLE_PLUGINS", raising=False)
    monkeypatch.setitem(registry.__dict__, "listings", Registry().listings)
    monkeypatch.setitem(sys.modules, "mistakes", loss)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_methods", "my_other")]:
        monkeypatch.delitem(sys.modules, name)


MISTAKES = {
    "../plugins": plugins.MISTAKES,
    "loss": loss.MISTAKES,
    "penalty": penalty.MISTAKES,
    "weighting": weighting.MISTAKES,
    "wrapper": wrapper.MISTAKES,
    "sample_weighting": sample_weighting.MISTAKES,
    "module": module.MISTAKES,
    "problem": problem.MISTAKES,
    "experiment": experiment.MISTAKES,
}


def rows(page: str) -> list[str]:
    """What is said of each mistake in the table of ``page``."""
    text = (DOCS / "plugins" / f"{page}.md").resolve().read_text()
    table = text.partition("| mistake | what is said |\n|---|---|\n")[2].partition("\n\n")[0]
    return [line.rpartition(" | ")[2].removesuffix(" |") for line in table.splitlines()]


@pytest.mark.parametrize("page", MISTAKES)
def test_every_mistake_of_a_page_is_made_here(page: str) -> None:
    assert len(rows(page)) == len(MISTAKES[page])


@pytest.mark.parametrize(("page", "number"), [(page, i) for page in MISTAKES for i in range(len(MISTAKES[page]))])
def test_a_mistake_is_answered_with_what_the_page_says(page: str, number: int) -> None:
    said, make = rows(page)[number], MISTAKES[page][number]
    if said.startswith("nothing: "):
        make()
        return
    expected = said.removesuffix(" (suite)").removesuffix(" (warning)").strip("`")
    with pytest.raises(Exception) as raised:  # noqa: PT011
        make()
    assert expected in " ".join(str(raised.value).split()), str(raised.value)
