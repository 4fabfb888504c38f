"""What is generated is up to date."""

import importlib.util
from pathlib import Path

import autoloss
from autoloss.core.registry import ORIGIN, registry

DOCS = Path(__file__).parents[1] / "docs"


def generated():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate


def test_the_generated_pages_say_what_the_classes_say():
    generate = generated()
    for name, page in generate.PAGES.items():
        assert (DOCS / name).read_text() == page(), "run: python docs/generate.py"


def test_every_loss_is_a_choice_for_some_problem():
    generate = generated()
    chosen = {name for names in generate.KINDS_OF_PROBLEM.values() for name in names}
    assert chosen == {one.name for one in registry.listings["loss"] if one.origin == ORIGIN}


def test_everything_that_the_package_offers_is_in_the_reference():
    offered = {f"autoloss:{name}" for name in autoloss.__all__} - {"autoloss:__version__", "autoloss:search"}
    assert offered <= {target for targets in generated().API.values() for target in targets}
