"""What is said of a table before training, and of metrics that training did not move."""

import json
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.app.unmoved import unmoved, unmoved_sentence
from autoloss.problems.tabular import Tabular
from tests.problems.sheets import HEADER, TARGETS, table


def messy(count=120):
    """Rows with a column of each role, and targets that need a hint."""
    draw, rows = random.Random(0), []
    for i, row in enumerate(table(count)):
        day = f"{i % 28 + 1:02d}.{i % 12 + 1:02d}.2020"
        more = [str(i), f"name {i}", day, "x", "", str(draw.choice([1, 2, 3])), str(draw.choice([0, 1, 3, 5]))]
        rows.append([*row, *more, "" if i % 4 == 0 else str(draw.randrange(15))])
    return rows, [*HEADER, "id", "name", "day", "const", "gone", "rooms", "sold", "stars"]


def test_the_card_says_what_each_column_is(sheet):
    rows, header = messy()
    problem = Tabular(sheet(rows, header), ["income", "sold", "stars"], ignore=["grade"])
    first, *lines = problem.data_card().splitlines()
    assert first == (
        "data: my.csv (UTF-8, separator ','): 120 rows (72 train, 24 val, 24 test), 11 inputs of the network"
    )
    assert problem.inputs.width == 11
    table_ = {line.split()[1]: line.split(maxsplit=2) for line in lines if not line.startswith("note")}
    said = {name: (role, *rest[0].split(maxsplit=1)) for name, (role, _, *rest) in table_.items()}
    constant = problem.constant_metrics()
    assert said["income"][:2] == ("target", "regression")
    assert said["income"][2].startswith("always answering the mean, ")
    assert said["income"][2].endswith(f": income_mse {constant['income_mse']:.4g}")
    assert said["sold"][:2] == ("target", "multiclass")
    assert said["sold"][2].startswith("4 classes: 0, 1, 3, ...; always answering ")
    assert said["sold"][2].endswith(f": sold_error {constant['sold_error']:.4g}")
    assert "30 of 120 labels missing; " in said["stars"][2]
    assert said["city"] == ("input", "category", "3 levels: Oslo, Paris, Rome")
    assert said["id"] == ("input", "number", "0 to 119")
    assert said["day"] == ("input", "date", "2020-01-01 to 2020-12-28, as a number of days")
    assert said["const"] == ("input", "constant", "x in every row that has a value")
    assert said["gone"] == ("input", "empty", "no value in any row, and no input")
    assert said["name"][0] == "ignored"
    assert said["grade"] == ("ignored", "as", "was said")
    notes = [line.removeprefix("note: ") for line in lines if line.startswith("note")]
    assert [note.split("problem.")[-1] for note in notes] == [
        "kinds.sold=regression.",
        "kinds.stars=multiclass.",
        "ignore=[id].",
        "kinds.rooms=categorical.",
    ]


def test_every_hint_ends_when_it_is_followed(sheet):
    rows, header = messy()
    kinds = {"sold": "regression", "stars": "multiclass", "rooms": "categorical"}
    problem = Tabular(sheet(rows, header), ["income", "sold", "stars"], ignore=["id"], kinds=kinds)
    assert "note" not in problem.data_card()
    assert problem.terms == {"income": "mse", "sold": "mse", "stars": "cross_entropy"}
    assert "note" not in Tabular(sheet(table()), TARGETS).data_card()


def test_hints_can_be_typed_for_columns_with_odd_names(sheet):
    rows = [[str(i), f"a{i % 70}", str(i % 4), str(i % 2)] for i in range(200)]
    card = Tabular(sheet(rows, ["row no.", "the code", "how many", "t"]), ["how many", "t"]).data_card()
    assert "\"problem.kinds={'how many': regression}\"" in card
    assert "\"problem.ignore=['the code']\"" in card
    assert "'the code' is text with " in card
    assert "\"problem.ignore=['row no.']\"" in card
    rows = [[str(i * i), str(i * i), str(i % 2)] for i in range(100)]
    card = Tabular(sheet(rows, ["customer_id", "paid", "t"]), "t").data_card()
    assert "'customer_id' has a whole number of its own in every row" in card
    assert "'paid' has" not in card
    rows = [[str(20200000 + 100 * (i % 12 + 1) + i % 28 + 1), str(i % 2)] for i in range(100)]
    assert "'when' has whole numbers that look like dates" in Tabular(sheet(rows, ["when", "t"]), "t").data_card()


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=30, max_size=80),
    seed=st.integers(0, 5),
    kind=st.sampled_from(["classes", "numbers"]),
)
def test_no_constant_answer_of_the_training_rows_is_better(tmp_path_factory, labels, seed, kind):
    """The textbook form: try every class on the training rows, and count on the validation rows."""
    draw = random.Random(len(labels))
    cells = labels if kind == "classes" else [label and f"{draw.gauss(5, 2):.3f}" for label in labels]
    path = tmp_path_factory.mktemp("card") / "my.csv"
    path.write_text("x,t\n" + "\n".join(f"{i * 1.5},{cell}" for i, cell in enumerate(cells)))
    try:
        problem = Tabular(str(path), "t", split_seed=seed)
    except ValueError:
        return
    fit = [cells[i] for i in problem.splits["train"].tolist()]
    asked = [cells[i] for i in problem.splits["val"].tolist()]
    (found,) = problem.constant_metrics().values()
    if kind == "classes":
        best = max(fit.count(one) for one in set(fit))
        errors = {sum(c != one for c in asked) / len(asked) for one in set(fit) if fit.count(one) == best}
        assert any(found == pytest.approx(error) for error in errors)
    else:
        known = torch.tensor([float(c) for c in fit], dtype=torch.float64)
        answered = torch.tensor([float(c) for c in asked], dtype=torch.float64)
        expected = (answered - known.mean()).square().mean() / known.var(correction=0)
        assert found == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("values", "goal", "constant", "found"),
    [
        ([0.5, 0.4, 0.45], "min", 0.4, True),
        ([0.5, 0.399, 0.45], "min", 0.4, True),
        ([0.5, 0.38, 0.45], "min", 0.4, False),
        ([0.5, 0.6], "max", 0.6, True),
        ([0.5, 0.7, 0.5], "max", 0.6, False),
        ([float("nan")], "min", 0.4, False),
    ],
)
def test_a_metric_that_is_no_better_than_a_constant_answer_has_not_moved(tmp_path, values, goal, constant, found):
    path = tmp_path / "metrics.csv"
    path.write_text("step,val/m\n" + "\n".join(f"{i},{value}" for i, value in enumerate(values)))
    assert unmoved({"m": constant}, {"m": goal}, path) == (["m"] if found else [])


def test_it_is_told_where_no_run_moved_a_metric(tmp_path):
    for i, names in enumerate((["a", "b"], ["b"], ["a", "b"])):
        (tmp_path / str(i)).mkdir()
        content = {"state": "finished", "constant_metrics": {"a": 0.3, "b": 0.5}, "unmoved_metrics": names}
        (tmp_path / str(i) / "summary.json").write_text(json.dumps(content))
    assert unmoved_sentence(tmp_path).startswith(
        "warning: b (0.5) never got better on validation data than the same answer for every row in any of 3 runs."
    )
    assert unmoved_sentence(tmp_path / "0").startswith("warning: a (0.3), b (0.5) never got better on")
    assert "any of" not in unmoved_sentence(tmp_path / "0")
    assert unmoved_sentence(tmp_path / "nowhere") == ""


def noisy(sheet, count=150):
    """A target that the inputs know, and one that nothing knows."""
    draw = random.Random(1)
    rows = [[*row, "a" if draw.random() < 0.8 else "b"] for row in table(count)]
    return sheet(rows, [*HEADER, "coin"])


SMALL = "problem=tabular problem.csv=my.csv problem.targets=[income,coin] optimizer.lr=0.001"


def test_a_training_prints_and_keeps_the_card_and_names_what_did_not_move(autoloss, sheet, tmp_path):
    path = noisy(sheet)
    done = autoloss(*f"train {SMALL} trainer.max_epochs=4 problem.hidden=[8]".split())
    assert done.returncode == 0, done.stderr
    problem = Tabular(path, ["income", "coin"])
    card = problem.data_card()
    assert card in done.stdout
    assert done.stdout.index("data: my.csv") < done.stdout.index("final weights")
    (kept,) = tmp_path.rglob("data.txt")
    assert kept.read_text() == card + "\n"
    summary = json.loads((kept.parent / "summary.json").read_text())
    assert summary["constant_metrics"] == pytest.approx(problem.constant_metrics())
    assert summary["unmoved_metrics"] == ["coin_error"]
    assert done.stdout.count("warning: coin_error (") == 1


@pytest.mark.parametrize(
    "verb",
    [
        "train -m seed=0,1",
        "compare weighting=equal,uncertainty compare.seeds=2",
        "compare weighting=equal,uncertainty compare.seeds=2 compare.fleet=4",
        "search search.n_trials=2 search.confirm=0",
    ],
)
def test_several_runs_say_it_once(autoloss, sheet, tmp_path, verb):
    noisy(sheet)
    done = autoloss(*f"{verb} {SMALL} trainer.max_epochs=3".split(), "problem.hidden=[8]")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("data: my.csv") == 1
    assert done.stdout.count("warning: coin_error (") == 1
    assert "warning: income" not in done.stdout


def test_many_targets_are_read_on_a_narrow_screen(autoloss, sheet):
    draw = random.Random(0)
    names = [f"outcome_{i}" for i in range(8)]
    sheet([[f"{draw.random():.4f}" for _ in range(9)] for _ in range(80)], ["x", *names])
    chosen = f"problem=tabular problem.csv=my.csv problem.targets=[{','.join(names)}] trainer.max_epochs=1"
    for verb in (
        "train -m weighting=equal,uncertainty",
        "compare weighting=equal,uncertainty compare.seeds=2",
        "search search.n_trials=2 search.confirm=0 search.weightings=[equal,uncertainty]",
    ):
        done = autoloss(*f"{verb} {chosen}".split(), "problem.hidden=[8]")
        assert done.returncode == 0, done.stderr
        rows = [line for line in done.stdout.splitlines() if line.strip().startswith("outcome_0_mse ")]
        assert rows, done.stdout
        assert not [line for line in done.stdout.splitlines() if "outcome_0_mse  " in line and "outcome_1_mse" in line]
