"""Mistakes in what is newest: groups, constraints, loggers, numbers that are learned; and choices that hold a plus."""

import pytest


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("trainer.logger=5", "trainer.logger must be null, one of csv, wandb, mlflow, or a list of them"),
        ("trainer.logger=[[csv]]", "trainer.logger must be null"),
        ("losses.left.by=3", "A key of groups must be a name, but it is 3"),
        ("losses.left.by=[group]", "A key of groups must be a name"),
        ("losses.left.groups=[a,b]", "losses.left.groups names the groups of a key, but there is none"),
        ("+constraints.left={max:1,loss:5}", "No loss is called '5'"),
        ("weighting.wrap=[{from_auto:{norm:-1}}]", "`norm` must be at least 0, but norm=-1"),
        ("losses.right=focal losses.right.gamma=learned(2,0,5,inf)", "must be above 0 and finite, but it is inf"),
    ],
)
def test_one_sentence_and_nothing_left(autoloss, tmp_path, mistake, said):
    done = autoloss("train", "problem=two_digits", "trainer.max_steps=1", *mistake.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("summary.json"))
    assert not list(tmp_path.rglob("failed.json"))


def test_keys_that_are_added_are_choices_too(autoloss):
    done = autoloss(
        "compare", "problem=two_digits", "problem.pairs=64", "trainer.max_epochs=1", "constraints.left.max=1,2",
        "compare.seeds=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "constraints.left.max=1" in done.stdout
    assert "constraints.left.max=2" in done.stdout


def test_the_advice_on_a_list_of_texts_can_be_typed(autoloss, tmp_path):
    (tmp_path / "a.csv").write_text("Preis €,x\n" + "".join(f"{i},{i % 7}\n" for i in range(40)))
    done = autoloss("train", "problem=tabular", "problem.csv=a.csv", "problem.targets=[Preis €,x]")
    assert done.returncode == 2
    assert 'problem.targets=["Preis €","x"]' in done.stderr


def test_a_problem_that_reads_no_file_offers_no_predictions_of_one(autoloss, tmp_path):
    done = autoloss("train", "problem=digits_diffusion", "trainer.max_steps=2", "name=d")
    assert done.returncode == 0, done.stderr
    (tmp_path / "NEW.csv").write_text("x\n1\n")
    told = autoloss("predict", "outputs/train/d/001", "NEW.csv")
    assert told.returncode == 2, told.stderr
    assert "needs a problem that predicts the rows of a file, but 'digits_diffusion' reads none" in told.stderr
