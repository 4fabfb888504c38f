"""Components are listed without being imported, and a misspelt name gets its nearest."""

import inspect
import subprocess
import sys

import pytest

from autoloss.core.errors import ConfigError, PluginError, UnknownNameError
from autoloss.core.registry.defaults import attribute, defaults
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.core.registry.parameters import faults

BUILT_IN = [one for kind in KINDS for one in registry.listings[kind] if one.origin == ORIGIN]


def test_listing_imports_neither_torch_nor_lightning():
    code = "import sys; from autoloss.core.registry.lookup import registry; registry.listings; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("listing", BUILT_IN, ids=lambda one: f"{one.kind}-{one.name}")
def test_defaults_read_from_source_are_those_of_the_class(listing):
    target = registry.load(listing.kind, listing.name)
    wanted = {}
    if target.__init__ is not object.__init__ and "__init__" in vars(target):
        wanted = {
            name: "???" if p.default is p.empty else p.default
            for name, p in inspect.signature(target).parameters.items()
        }
    assert defaults(listing) == wanted


@pytest.mark.parametrize("listing", BUILT_IN, ids=lambda one: f"{one.kind}-{one.name}")
def test_every_component_says_what_it_is(listing):
    target = registry.load(listing.kind, listing.name)
    assert target.__doc__
    assert target.use
    assert target.citation
    known = defaults(listing)
    assert set(target.search_space) <= set(known)
    for name in known:
        if name != "inner":
            assert f"{name}:" in target.__doc__, f"{name} is not documented"


def test_class_attributes_are_read_from_source():
    listing = registry.find("problem", "two_digits")
    assert attribute(listing, "terms") == registry.load("problem", "two_digits").terms
    assert attribute(listing, "nothing", 3) == 3


def test_unknown_names_and_parameters():
    with pytest.raises(UnknownNameError, match="No weighting is called 'gradnrom'. Did you mean 'gradnorm'"):
        registry.load("weighting", "gradnrom")
    with pytest.raises(
        UnknownNameError, match="parameter of weighting 'gradnorm' is called 'alhpa'. Did you mean 'alpha'"
    ):
        registry.build("weighting", "gradnorm", alhpa=1)


def test_import_paths_work_wherever_a_name_does(monkeypatch, tmp_path):
    (tmp_path / "my_losses.py").write_text(
        "def half(prediction, target):\n    return prediction - target\nnumber = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    loss = registry.build("loss", "my_losses:half")
    assert loss(3, 1) == 2
    with pytest.raises(PluginError, match="must be a subclass"):
        registry.load("loss", "my_losses:number")
    with pytest.raises(PluginError, match="that raised AttributeError"):
        registry.load("loss", "my_losses:missing")
    with pytest.raises(ConfigError, match="takes no parameters"):
        registry.build("loss", "my_losses:half", gamma=1)
    sys.modules.pop("my_losses", None)
    sys.path.remove(str(tmp_path))


def test_parameters_may_have_any_name():
    assert registry.build("problem", "noisy_digits", kind="pair").kind == "pair"


def test_an_annotation_of_a_list_of_numbers_is_no_class_on_any_python():
    """To Python 3.10 ``list[int]`` is a class, and no value can be compared with it."""
    assert list(faults("devices", 1, list[int] | str | int)) == []
    assert list(faults("devices", 1, list[int])) == []
