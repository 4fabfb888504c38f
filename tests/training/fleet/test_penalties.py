"""Members with penalties on parameters equal the same trainings alone."""

import pytest

from autoloss.core.registry.lookup import registry
from tests.training.fleet.equality import check, double  # noqa: F401 - a fixture
from tests.training.fleet.trainings import Three, member

pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("name", registry.names("penalty"))
def test_every_penalty(name):
    """Its factor differs from member to member."""
    check(lambda problem, seed: member(problem, seed, "gradnorm", penalties={name: 0.1 * (seed + 1)}))


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("parameters", [False, True], ids=["features", "parameters"])
def test_factors_with_a_schedule_base_weights_and_places(accumulate, parameters):
    given = {
        "all": {"name": "sparsity", "factor": "linear(0,0.1)"},
        "head": {"name": "sparsity", "on": ["kind"], "factor": 0.01},
    }
    check(
        lambda problem, seed: member(
            problem, seed, "uncertainty" if seed else "mgda", penalties=given, base={"head": 1.0 + seed}
        ),
        Three(missing=True, parameters=parameters),
        accumulate=accumulate,
    )
