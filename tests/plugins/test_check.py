"""`plugins --check` finds what a component declares and cannot keep; no error ends without a cause."""

import json
import sys
from importlib import import_module

import pytest

from autoloss.app.composition import _explained, composed
from autoloss.app.plugin_check import check_component
from autoloss.core.errors import PluginError
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import Registry, registry
from tests.command import as_new_process

SOURCE = """
from autoloss import Loss, Weighting
from autoloss.core.space import Choice, Interval
class Ones(Weighting):
    def forward(self, signals):
        return signals.values * 0 + 1
class Fine(Ones):
    search_space = {"alpha": Interval(0.5, 2.0)}
    def __init__(self, alpha: float = 1.0):
        super().__init__()
        if alpha <= 0.4: raise ValueError("too small")
class Low(Fine):
    search_space = {"alpha": Interval(0.1, 2.0)}
class Misnamed(Fine):
    search_space = {"alfa": Interval(0.5, 2.0)}
class NoSpace(Fine):
    search_space = {"alpha": (0.5, 2.0)}
class Mistyped(Ones):
    def __init__(self, steps: int = 0.5):
        super().__init__()
class Refuses(Ones):
    def __init__(self, alpha: float = -1.0):
        super().__init__()
        assert alpha > 0
class Chosen(Ones):
    search_space = {"kind": Choice(("a", "b"))}
    def __init__(self, kind: str = "a"):
        super().__init__()
        {"a": 1}[kind]
class Unheld(Ones):
    def __init__(self, alpha=object()):
        super().__init__()
class Silent(Loss):
    def __init__(self, eps: float = 1.0):
        super().__init__()
"""
SAID = {
    "Fine": None,
    "Low": "must take alpha=0.1 of its `search_space`, but it says: ValueError: too small",
    "Misnamed": r"must name its parameters \(alpha\), but it has 'alfa'",
    "NoSpace": "must hold an Interval, a Range or a Choice",
    "Mistyped": "The default `steps` of weighting 'my_mistyped' must be a whole number, but it is 0.5",
    "Refuses": "must take its own defaults, but it says: AssertionError",
    "Chosen": "must take kind=b of its `search_space`, but it says: KeyError: 'b'",
    "Unheld": "The default of 'alpha' must be a number, text",
    "Silent": "must take its own defaults, but it says: TypeError: .* abstract method",
}


@pytest.fixture
def plugin(distribution, monkeypatch: pytest.MonkeyPatch):
    names = {name: f"checked:{name}" for name in SAID}
    weightings = {f"my_{name.lower()}": target for name, target in names.items() if name != "Silent"}
    points = {"autoloss.weightings": weightings, "autoloss.losses": {"my_silent": names["Silent"]}}
    site = distribution("my-checked", "1.0", {"checked": SOURCE}, points)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "checked", raising=False)
    monkeypatch.setattr(registry, "listings", Registry().listings)
    import_module("checked")
    return site


@pytest.mark.parametrize(("name", "said"), SAID.items())
def test_what_cannot_be_kept_is_named(name: str, said: str | None, plugin) -> None:
    listing = registry.find("loss" if name == "Silent" else "weighting", f"my_{name.lower()}")
    if said is None:
        check_component(listing)
        return
    with pytest.raises(PluginError, match=said):
        check_component(listing)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_of_the_package_keeps_what_it_declares(kind: str) -> None:
    for listing in registry.listings[kind]:
        if listing.origin == "autoloss":
            check_component(listing)


def test_a_default_that_no_configuration_holds_is_named(plugin) -> None:
    with pytest.raises(PluginError, match="default of 'alpha' .* 'my_unheld' is <object object"):
        composed("train", ["problem=two_digits", "weighting=my_unheld"])


def test_an_error_without_words_names_its_cause() -> None:
    silent, alone = RuntimeError(), _raised(AssertionError())
    silent.__cause__ = OSError("disk on fire")
    assert str(_explained("train", ["a=1"], silent)).endswith("it does not: OSError: disk on fire.")
    assert "it does not: AssertionError in test_check.py, line" in str(_explained("train", ["a=1"], alone))


def _raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_the_command_exits_with_1(plugin, tmp_path, capfd) -> None:
    from autoloss.app.plugins import main

    with as_new_process(tmp_path, {}, plugin):
        code = main(["--check", "--json"])
    rows = {row["name"]: row["status"] for row in json.loads(capfd.readouterr().out)}
    assert code == 1
    assert rows["my_fine"] == "ok"
    assert [name for name, status in rows.items() if name.startswith("my_") and status == "ok"] == ["my_fine"]
