from __future__ import annotations

from importlib import import_module

import pytest

from autoloss import _moved


@pytest.mark.parametrize("old", _moved.PLACES)
def test_an_old_place_imports_and_gives_the_names_of_the_new_one_with_a_warning(old: str) -> None:
    new = import_module(f"autoloss.{_moved.PLACES[old]}")
    name = next(name for name in vars(new) if not name.startswith("_") and name != "annotations")
    module = import_module(f"autoloss.{old}")
    if module is new:
        return
    with pytest.warns(DeprecationWarning, match="the old name works until the next version"):
        assert getattr(module, name) is getattr(new, name)


@pytest.mark.parametrize(("old", "name", "place"), [(o, n, p) for o, of in _moved.NAMES.items() for n, p in of.items()])
def test_an_old_name_gives_what_is_called_otherwise_now(old: str, name: str, place: str) -> None:
    where, _, called = place.partition(":")
    module = import_module(f"autoloss.{old}")
    with pytest.warns(DeprecationWarning, match="the old name works until the next version"):
        assert getattr(module, name) is getattr(import_module(f"autoloss.{where}"), called)


def test_a_name_that_never_was_is_an_error() -> None:
    with pytest.raises(ImportError):
        import_module("autoloss.core.never_there")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = import_module("autoloss.core.files").nothing
