"""Examples of fields with losses that are not to be balanced: each learns, and what is left alone keeps its base weight."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# By example: what a trained model reaches at most or at least, the base weights that stay, and the losses that are balanced.
CASES = {
    "actor_critic": ({"reward": (0.9, 1)}, {"entropy": 0.01}, ("policy", "value")),
    "mixture_of_experts": ({"sum error": (0, 2), "busiest": (0.25, 0.6)}, {"load": 2.0}, ("sum", "product")),
    "preferences": ({"won": (0.95, 1), "loss of a token": (0, 0.3)}, {}, ("preference", "likelihood")),
    "distillation": ({"error": (0, 0.25)}, {}, ("labels", "teacher", "features")),
    "vae": ({"error": (0, 0.05), "nats": (2, 8)}, {"kl": 0.01}, ("level", "slope")),
}


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_an_example_learns_and_leaves_alone_what_is_no_loss_to_be_fitted(name):
    reached, kept, balanced = CASES[name]
    found = example(name).train()
    for key, (least, most) in reached.items():
        assert least <= found[key] <= most, f"{key}: {found[key]}"
    for loss, base in kept.items():
        assert found[loss] == pytest.approx(base)
    assert all(0 < found[loss] < 100 for loss in balanced)
    assert any(abs(found[loss] - 1) > 0.02 for loss in balanced)


@pytest.mark.parametrize("name", CASES)
def test_an_example_says_what_to_balance_what_to_leave_and_what_is_safe(name):
    says = (EXAMPLES / f"{name}.py").read_text().split('"""')[1]
    assert [line.partition(":")[0].split()[1] for line in says.splitlines() if line.startswith("- ")] == [
        "Balance",
        "Leave",
        "Safe",
    ]
