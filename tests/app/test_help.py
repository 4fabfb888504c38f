"""``--help`` of each verb: quick, with a sentence, three examples and a line for every key."""

import os
import shlex
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from autoloss.app.composition import composed, jobs
from autoloss.app.hydra_app import split
from autoloss.app.key_comments import annotated, key_comments
from autoloss.app.verbs import VERBS

SLOW = ("torch", "numpy", "scipy", "pytorch_lightning", "optuna", "pandas")
COMPOSING = [name for name, verb in VERBS.items() if verb.composes]
QUESTIONS = [["--help"], ["plugins"], ["-sc", "query=bash"], *([name, "--help"] for name in VERBS)]


@pytest.mark.parametrize("arguments", QUESTIONS, ids=" ".join)
def test_a_question_imports_nothing_slow(arguments, tmp_path):
    code = (
        "import sys; sys.argv = ['autoloss', *sys.argv[1:]]\n"
        "from autoloss.app.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {SLOW!r} if m in sys.modules], file=sys.stderr)"
    )
    line = "autoloss train weighting=grad"
    env = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "PATH": "/usr/bin:/bin"}
    env.update({"PYTHONPATH": path} if (path := os.environ.get("PYTHONPATH")) else {})
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert done.stderr == "[]\n"
    assert done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_it_has_a_sentence_and_three_examples(mistaken, verb):
    code, out, err = mistaken(f"{verb} --help")
    assert (code, err) == (0, "")
    first = VERBS[verb].what.splitlines()[0]
    assert first in out
    assert all(f"  {example}\n" in f"{out}\n" for example in VERBS[verb].examples)
    assert len(set(VERBS[verb].examples)) == 3


@pytest.mark.parametrize("example", [one for verb in COMPOSING for one in VERBS[verb].examples])
def test_the_keys_of_every_example_compose(example):
    _, verb, *arguments = shlex.split(example)
    if verb == "search":
        from autoloss.app.search import _hydra_spelling

        arguments = [_hydra_spelling(one) for one in arguments]
    _, overrides = split([one for one in arguments if one != "-m"])
    for job in jobs(overrides):
        assert composed(verb, job)


@pytest.mark.parametrize("problem", ["two_digits", "digits_gan", "helmholtz"])
@pytest.mark.parametrize("verb", COMPOSING)
def test_every_key_has_a_line_that_says_what_it_is(verb, problem):
    config = composed(verb, [f"problem={problem}"])
    page = annotated(config, key_comments(verb))
    assert OmegaConf.to_container(OmegaConf.create(page)) == config
    keys = [line for line in page.splitlines() if not line.strip().startswith("- ")]
    assert [line for line in keys if " # " not in line] == []


def test_the_comment_is_that_of_the_key_and_not_of_its_neighbour():
    comments = key_comments("search")
    assert comments["search.n_trials"] == "trainings to try"
    assert comments["plateau.patience"].startswith("validations")
    assert comments["search.patience"].startswith("end after")
    assert comments["anchor"].endswith("(exact, K passes through the trunk)")
    assert comments["search.sampler"] == "how the next candidate is chosen"
    assert "search.n_trials" not in key_comments("train")
