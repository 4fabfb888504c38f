"""describe, plugins, help and tab completion."""

import json
import os
import subprocess
import sys
import time

import pytest

from autoloss.app.describe import describe
from autoloss.app.main import VERBS
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry


def test_describe_says_everything_that_a_person_needs(mistaken):
    code, out, _ = mistaken("describe weighting gradnorm")
    assert code == 0
    for word in ("GRAM", "K passes", "alpha = 1.5", "searched: 0 to 3", "use:", "avoid:", "ICML 2018", "G_k"):
        assert word in out, word
    code, out, _ = mistaken("describe loss huber --json")
    assert json.loads(out)["parameters"] == {"delta": 1.0}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in registry.names(kind)])
def test_every_component_can_be_described(kind, name):
    card = describe(kind, name)
    assert card["what"]
    assert card["use"]


def test_plugins_lists_everything(mistaken):
    code, out, _ = mistaken("plugins --json")
    rows = {(row["kind"], row["name"]): row for row in json.loads(out)}
    assert code == 0
    assert rows["weighting", "gradnorm"]["distribution"] == "autoloss"
    assert {kind for kind, _ in rows} == set(KINDS)
    assert mistaken("plugins --check")[0] == 0


def test_mistakes(mistaken):
    assert (
        mistaken("describe weighting gradnrom")[2]
        == "autoloss: No weighting is called 'gradnrom'. Did you mean 'gradnorm'?\n"
    )


def test_help_names_every_verb(mistaken):
    _, out, _ = mistaken("--help")
    assert all(verb in out for verb in VERBS)


QUICK = [["--help"], ["plugins"], ["train", "--help"], ["-sc", "query=bash"]]


MISTYPED = [
    "train weigthing=equal",
    "train -m weigthing=equal,dwa",
    "search weigthing=equal",
    "compare weighting=equal,dwa weigthing=equal",
    "diagnose weigthing=equal",
    "meta problems=[two_digits] weigthing=equal",
]


def imported(arguments, place):
    """What a new process says, and which of the slow packages it has imported."""
    code = (
        "import sys; sys.argv = ['autoloss', *sys.argv[1:]]\n"
        "from autoloss.app.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'optuna') if m in sys.modules], file=sys.stderr)"
    )
    env = {"COMP_LINE": "autoloss train weighting=grad", "COMP_POINT": "29", "PATH": "/usr/bin:/bin"}
    if path := os.environ.get("PYTHONPATH"):
        env["PYTHONPATH"] = path
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, cwd=place)
    *said, found = done.stderr.splitlines()
    return said, found


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_what_must_be_quick_imports_no_torch(arguments, tmp_path):
    said, found = imported(arguments, tmp_path)
    assert found == "[]", said


@pytest.mark.parametrize("line", MISTYPED)
def test_a_misspelt_key_is_answered_before_torch_and_lightning_are_imported(line, tmp_path):
    said, found = imported(line.split(), tmp_path)
    assert said == ["autoloss: No key is called 'weigthing'. Did you mean 'weighting'?"]
    assert "torch" not in found
    assert "lightning" not in found


def test_tab_completion_offers_registered_names(tmp_path):
    for line, offers in {
        "autoloss train weighting=grad": "weighting=gradnorm",
        "autoloss train weighting=gradnorm weighting.al": "weighting.alpha=",
        "autoloss train problem=two": "problem=two_digits",
        "autoloss train losses.left=fo": "losses.left=focal",
        "autoloss tr": "train",
        "autoloss describe weighting grad": "gradnorm",
    }.items():
        env = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-m", "autoloss", "-sc", "query=bash"]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
        assert offers in done.stdout.split(), (line, done.stdout, done.stderr)
        assert time.perf_counter() - begun < 10
