"""Plugins that are broken, that clash, or that take a name that is taken."""

from __future__ import annotations

import json
import sys

import pytest

from autoloss.core.errors import PluginError
from autoloss.core.registry.lookup import Registry

CONSTANT = """
from autoloss import Weighting

class Constant(Weighting):
    def forward(self, signals):
        return signals.values.new_full((len(signals.names),), {value})
"""


@pytest.fixture
def twins(distribution, monkeypatch):
    """Two distributions that offer the weighting ``twin``; one offers ``equal`` too, as autoloss does."""
    points = {"twin": "first_twin:Constant", "equal": "first_twin:Constant"}
    distribution("first-dist", "1.0", {"first_twin": CONSTANT.format(value=2.0)}, {"autoloss.weightings": points})
    site = distribution(
        "second-dist",
        "2.0",
        {"second_twin": CONSTANT.format(value=3.0)},
        {"autoloss.weightings": {"twin": "second_twin:Constant"}},
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv("AUTOLOSS_DISABLE_PLUGINS", raising=False)
    return site


def test_a_broken_plugin_is_named_and_breaks_nothing_else(distribution, autoloss) -> None:
    site = distribution(
        "broken-dist",
        "0.3",
        {"broken_module": "import a_module_that_is_not_there\n"},
        {"autoloss.weightings": {"broken": "broken_module:Broken"}},
    )
    result = autoloss("plugins", "--json", "--check", path=site)
    assert result.returncode == 1
    bad = {row["name"]: row for row in json.loads(result.stdout) if row["status"] != "ok"}
    assert list(bad) == ["broken"]
    assert (bad["broken"]["distribution"], bad["broken"]["version"]) == ("broken-dist", "0.3")
    assert bad["broken"]["status"] == (
        "broken: The weighting 'broken' of broken-dist 0.3 must load from 'broken_module:Broken', "
        "but that raised ModuleNotFoundError: No module named 'a_module_that_is_not_there'."
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('oh')", "RuntimeError: oh"),
        ("x = 1", "has no attribute 'Broken'"),
        ("class Broken: pass", "must be a subclass of autoloss.core.weighting.Weighting"),
        ("def Broken(", "SyntaxError"),
    ],
    ids=["raises", "no_such_name", "another_class", "syntax"],
)
def test_whatever_is_wrong_with_it_is_a_plugin_error(distribution, monkeypatch, source: str, said: str) -> None:
    site = distribution(
        "broken-dist", "0.3", {"wrong_module": source}, {"autoloss.weightings": {"broken": "wrong_module:Broken"}}
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "wrong_module", raising=False)
    registry = Registry()
    with pytest.raises(PluginError, match=said):
        registry.load("weighting", "broken")
    assert registry.load("weighting", "equal").__module__ == "autoloss.weightings.equal"


def test_two_plugins_with_one_name_are_told_apart(twins) -> None:
    registry = Registry()
    names = registry.names("weighting")
    assert {"first-dist:twin", "second-dist:twin"} <= set(names)
    assert "twin" not in names
    for spelling, value in (("first-dist:twin", "first_twin"), ("second-dist:twin", "second_twin")):
        assert registry.load("weighting", spelling).__module__ == value


def test_the_plain_name_of_two_plugins_is_an_error_with_both_spellings(twins, autoloss) -> None:
    said = "must be unique, but 'twin' is not. Write first-dist:twin or second-dist:twin."
    with pytest.raises(PluginError, match=said):
        Registry().load("weighting", "twin")
    result = autoloss("describe", "weighting", "twin", path=twins)
    assert result.returncode == 2
    assert said in result.stderr


def test_train_gives_both_spellings_too(twins, autoloss, tmp_path) -> None:
    result = autoloss("train", "weighting=twin", path=twins)
    assert result.returncode == 2
    assert "Write first-dist:twin or second-dist:twin." in result.stderr


def test_a_spelling_trains(twins, autoloss, tmp_path) -> None:
    short = ("problem.pairs=64", "trainer.max_epochs=1")
    result = autoloss("train", "weighting=second-dist:twin", *short, path=twins)
    assert result.returncode == 0, result.stderr
    (summary,) = tmp_path.rglob("summary.json")
    assert set(json.loads(summary.read_text())["final_weights"].values()) == {3.0}


def test_a_plugin_does_not_shadow_a_built_in(twins) -> None:
    registry = Registry()
    assert registry.load("weighting", "equal").__module__ == "autoloss.weightings.equal"
    assert registry.load("weighting", "first-dist:equal").__module__ == "first_twin"


def test_a_clash_is_said_and_check_exits_1(twins, autoloss) -> None:
    result = autoloss("plugins", "--check", path=twins)
    assert result.returncode == 1
    for spelling, name in (("first-dist:twin", "twin"), ("second-dist:twin", "twin"), ("first-dist:equal", "equal")):
        assert f"clash: {name!r} is taken; write {spelling}" in result.stdout
    assert "3 of" in result.stderr


def test_plugins_can_be_switched_off(twins, monkeypatch) -> None:
    monkeypatch.setenv("AUTOLOSS_DISABLE_PLUGINS", "1")
    assert not [listing for listing in Registry().listings["weighting"] if listing.origin != "autoloss"]
