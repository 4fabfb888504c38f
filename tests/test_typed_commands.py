"""The commands on the pages have verbs, keys and values that exist: each is composed, and nothing is trained."""

import re
import shlex
from pathlib import Path

import pytest

from autoloss.app.composition import composed, jobs
from autoloss.app.hydra_app import split
from autoloss.app.search import _hydra_spelling
from autoloss.app.verbs import VERBS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGURED = ("train", "search", "compare", "diagnose")
# They stand for what a reader writes there, or need what is not installed in the tests (Slurm's and Ray's launcher).
PLACEHOLDER = re.compile(r"\.\.\.|\$|RUN_DIR|load=|launcher=(submitit|ray)|my_module|mine:|experiment=")
WITHOUT = ("hydra/", "hydra.", "weighting.load=")


def commands(page):
    """The arguments of each command in the page's blocks, without the comment behind it."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.S | re.M):
        if language not in ("", "sh", "bash"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("autoloss ") and not re.match(r"autoloss: |autoloss \w+ --", line):
                yield shlex.split(line, comments=True)[1:]


TYPED = {shlex.join(one): one for page in PAGES for one in commands(page)}


def test_there_are_commands_and_their_verbs_exist():
    assert len(TYPED) > 50
    assert {arguments[0] for arguments in TYPED.values()} - set(VERBS) == set()


@pytest.mark.parametrize(
    "arguments",
    [one for line, one in TYPED.items() if one[0] in CONFIGURED and not PLACEHOLDER.search(line)],
    ids=lambda one: " ".join(one),
)
def test_a_command_on_a_page_composes(arguments):
    verb, *rest = arguments
    _, overrides = split([_hydra_spelling(one) for one in rest] if verb == "search" else rest)
    own = [one for one in overrides if one != "-m" and not one.startswith(WITHOUT)]
    swept = verb == "compare" or "-m" in rest
    for job in jobs(own) if swept and "hydra/sweeper=autoloss" not in rest else [own]:
        if "hydra/sweeper=autoloss" in rest:
            job = [one for one in job if "(" not in one]
        composed(verb, job)
