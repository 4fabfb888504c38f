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


def test_a_kind_is_listed_with_what_each_does_and_costs(mistaken):
    code, out, _ = mistaken("plugins weighting")
    assert code == 0
    costs = [part.partition("\n") for part in out.split("cost: ")[1:]]
    cheap = next(rows for cost, _, rows in costs if cost == "a plain step")
    assert "  product              Minimises the product of the losses: S = " in cheap
    assert "  cagrad " not in cheap
    assert "  cagrad " in next(rows for cost, _, rows in costs if "K passes" in cost)
    listed = [line.split()[0] for _, _, rows in costs for line in rows.splitlines()]
    assert sorted(listed) == sorted(registry.names("weighting"))
    assert "\n  huber " in mistaken("plugins loss")[1]
    assert mistaken("plugins weightings")[::2] == (
        2,
        "autoloss: No kind is called 'weightings'. Did you mean 'weighting'?\n",
    )


def test_a_name_alone_is_described_in_each_kind_that_has_it(mistaken):
    assert mistaken("describe gradnorm")[1] == mistaken("describe weighting gradnorm")[1]
    both = mistaken("describe poisson")[1]
    assert mistaken("describe loss poisson")[1] in both
    assert mistaken("describe problem poisson")[1] in both
    cards = json.loads(mistaken("describe poisson --json")[1])
    assert [card["kind"] for card in cards] == ["loss", "problem"]
    assert mistaken("describe autoloss.losses.huber:Huber")[1].startswith("loss autoloss.losses.huber:Huber\n")


def test_mistakes(mistaken):
    assert (
        mistaken("describe weighting gradnrom")[2]
        == "autoloss: No weighting is called 'gradnrom'. Did you mean 'gradnorm'?\n"
    )


def test_help_names_every_verb(mistaken):
    _, out, _ = mistaken("--help")
    assert all(verb in out for verb in VERBS)


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
        "autoloss describe gradn": "gradnorm",
        "autoloss plugins weigh": "weighting",
    }.items():
        env = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "PATH": "/usr/bin:/bin"}
        env.update({"PYTHONPATH": path} if (path := os.environ.get("PYTHONPATH")) else {})
        command = [sys.executable, "-m", "autoloss", "-sc", "query=bash"]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
        assert offers in done.stdout.split(), (line, done.stdout, done.stderr)
        assert time.perf_counter() - begun < 10
