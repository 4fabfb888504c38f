"""Which samples a metric has values of, over every registered problem whose samples have keys."""

from autoloss.core.registry.defaults import REQUIRED, defaults
from autoloss.core.registry.lookup import registry
from autoloss.problems.tabular import Tabular

COUNT = 8


def keyed(sheet):
    """Each registered problem that needs no file and has keys, a batch of it and what its network gives."""
    rows = [[str(i * 1.5 % 7), "ab"[i % 2], "" if i % 3 == 0 else str(i % 2), str(i % 2)] for i in range(120)]
    problems = [Tabular(sheet(rows, ["x", "k", "t", "u"]), ["t", "u"], keys="k")]
    for listing in registry.listings["problem"]:
        if REQUIRED not in defaults(listing).values():
            problems.append(
                registry.build("problem", listing.name, **({"rooms": 8} if listing.name == "scenes" else {}))
            )
    for problem in problems:
        columns = getattr(problem.datasets(0)["val"], "columns", None)
        if columns is not None:
            outputs = problem.outputs(problem.network(), {name: x[:COUNT] for name, x in columns.items()})
            if outputs.keys:
                yield problem, outputs


def test_a_metric_has_a_value_for_each_sample_or_says_for_which(sheet):
    """Else its groups are measured wrongly, or not at all."""
    found = {}
    for problem, outputs in keyed(sheet):
        rows = problem.rows(outputs)
        for metric, values in problem.measure(outputs).items():
            known = rows.get(metric)
            found[problem.title(), metric] = len(values)
            assert len(values) == (COUNT if known is None else int(known.sum())), (problem.title(), metric)
    assert {"tabular", "shortcut_digits", "noisy_digits"} <= {title for title, _ in found}
    assert found["tabular", "t_error"] < COUNT
