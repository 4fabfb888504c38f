"""A number of a loss that is learned, from the command line to its report, its schedule, and its replay."""

import json
import shlex

import pytest

import autoloss as package
from autoloss.core.space import contains

Q = ("problem=noisy_digits", "weighting=equal", "losses.digit=generalised_cross_entropy", "losses.digit.q=learned")


@pytest.mark.slow
def test_a_learned_number_is_recorded_explained_distilled_and_replayed(autoloss, tmp_path):
    done = autoloss("train", *Q, "trainer.max_epochs=3", "record.every=2", "name=first")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "outputs/train/first/001"
    last = json.loads((run / "summary.json").read_text())["loss_numbers"]["digit.q"]
    assert f"learned numbers: digit.q {last:.4g}" in done.stdout
    assert 0 < last < 1
    assert last != 0.7
    page = (run / "report.html").read_text()
    assert "<code>digit.q</code> was learned: it" in page
    assert "Learned numbers of losses" in page
    done = autoloss("distill", str(run))
    assert done.returncode == 0, done.stderr
    use = next(line for line in done.stdout.splitlines() if line.startswith("use it: "))
    assert "losses.digit.q=points(0.69" in use.replace("'", "")
    assert "q=learned" not in use
    # Learned numbers are of the training alone: the model loads without them.
    assert package.load(run).balancer.weights == {"digit": 1.0}
    again = shlex.split(use.removeprefix("use it: autoloss "))
    done = autoloss(*again, "name=second")
    assert done.returncode == 0, done.stderr
    done = autoloss("replay", str(run), "weighting=dwa")
    assert done.returncode == 0, done.stderr


OFFSETS = "losses.digit.offsets=[learned(0,-5,5),0,0,0,0,0,0,0,0,learned(0,-5,5)]"
PARTS = "losses.digit=[cross_entropy,{focal:{gamma:learned}}]"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "key", "texts"),
    [
        (("losses.digit=logit_adjusted", OFFSETS), "offsets", lambda value: [value[0], value[9]]),
        ((PARTS,), "losses", lambda value: [value[1]["focal"]["gamma"]]),
    ],
)
def test_numbers_in_lists_and_in_parts_are_distilled_too(autoloss, tmp_path, given, key, texts):
    done = autoloss("train", "problem=noisy_digits", *given, "trainer.max_epochs=2", "record.every=1", "name=first")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "outputs/train/first/001/report.html").read_text()
    assert page.count("was learned: it") == len(texts([{"focal": {"gamma": 0}}] * 10))
    done = autoloss("distill", str(tmp_path / "outputs/train/first/001"))
    use = next(line for line in done.stdout.splitlines() if line.startswith("use it: "))
    assert "learned" not in use
    done = autoloss(*shlex.split(use.removeprefix("use it: autoloss ")), "name=second")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "outputs/train/second/001/summary.json").read_text())["config"]
    assert all(text.startswith("points(") for text in texts(config["losses"]["digit"][key]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("losses.digit.q=learned(2,0,1)", "must lie in its range, but it is 2 in [0, 1]"),
        ("losses.digit.q=learned(0.5,0,3)", "`q` must lie in [0, 1], but q=3"),
        ("losses.digit.ignore_index=learned", "'ignore_index' of loss 'generalised_cross_entropy' is none"),
        ("losses.digit.q=learned held_out.share=0", "held_out.share must lie between 0 and 1"),
        ("losses.digit.q=learned anchor=parameters", "Learned number digit.q needs weights that reach the heads"),
        ("losses.digit=hinge losses.digit.margin=learned", "that of 'hinge' does not change with 'margin'"),
        ("losses.digit.q=learned held_out.losses.digt=mse", "No loss of held_out.losses is called 'digt'"),
    ],
)
def test_mistakes_are_sentences(mistaken, given, message):
    code, _, err = mistaken(f"train problem=noisy_digits losses.digit=generalised_cross_entropy {given}")
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("given", "number", "key"),
    [
        ("losses.cls.label_smoothing=learned", "cls.label_smoothing", "losses.cls.label_smoothing"),
        ("losses.adv=least_squares losses.adv.wanted=learned(1,0,2)", "adv.wanted", "losses.adv.wanted"),
        ("losses.adv=least_squares losses.adv.real=learned(1,0.5,2)", "adv.real", "losses.adv.real"),
        ("discriminator.losses.penalty.gamma=learned", "penalty.gamma", "discriminator.losses.penalty.gamma"),
        ("discriminator.losses.cls.label_smoothing=learned", "cls.label", "discriminator.losses.cls.label_smoothing"),
    ],
)
def test_a_gan_learns_no_number_of_its_losses(mistaken, given, number, key):
    code, _, err = mistaken(f"train problem=digits_gan {given}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"The numbers of a GAN's losses must be fixed or follow a schedule, but {number}" in err
    assert f"Set {key} to a number." in err


KINDS = "search.losses.digit=[cross_entropy,focal,poly,taylor]"
SHORT = ("problem=noisy_digits", "trainer.max_epochs=1", "search.confirm=0", "name=kinds")


@pytest.mark.slow
def test_a_search_chooses_a_kind_of_loss_with_its_numbers_and_best_yaml_has_both(autoloss, tmp_path):
    done = autoloss("search", *SHORT, KINDS, "search.weightings=[equal]", "search.n_trials=10", "search.sampler=random")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "outputs/search/kinds"
    kinds = {}
    for path in sorted(root.glob("trials/*/summary.json")):
        loss = json.loads(path.read_text())["config"]["losses"]["digit"]
        kinds.setdefault(loss["name"], []).append({key: v for key, v in loss.items() if key != "name"})
    assert len(kinds) >= 3
    for name, each in kinds.items():
        drawn = package.build("loss", name).search_space
        for numbers in each:
            assert all(contains(of, float(numbers[key])) for key, of in drawn.items() if key in numbers)
        assert len(each) < 2 or each[0] != each[1]
    assert "digit=" in (root / "leaderboard.md").read_text()
    trained = autoloss("train", f"load={root / 'best.yaml'}", "name=again")
    assert trained.returncode == 0, trained.stderr
    again = json.loads(next((tmp_path / "outputs/train").rglob("summary.json")).read_text())["config"]["losses"][
        "digit"
    ]
    best = {key: v for key, v in again.items() if key != "name"}
    assert any(best == one for one in kinds[again["name"]])


@pytest.mark.slow
def test_kinds_alone_are_searched_with_default_numbers(autoloss, tmp_path):
    given = ("search.weightings=[equal]", "search.n_trials=3", "search.loss_numbers=false")
    done = autoloss("search", *SHORT, "search.losses.digit=[focal]", *given)
    assert done.returncode == 0, done.stderr
    configs = [json.loads(p.read_text())["config"] for p in (tmp_path / "outputs/search/kinds").rglob("summary.json")]
    assert {c["losses"]["digit"]["gamma"] for c in configs if c["losses"]["digit"]["name"] == "focal"} == {2.0}


@pytest.mark.slow
def test_a_search_over_weightings_learns_a_number_in_each_trial(autoloss, tmp_path):
    small = ("problem=two_digits", "problem.pairs=200", "trainer.max_epochs=1", "search.confirm=0", "name=learning")
    given = ("losses.left=focal", "losses.left.gamma=learned", "search.weightings=[dwa]", "search.n_trials=2")
    done = autoloss("search", *small, *given)
    assert done.returncode == 0, done.stderr
    found = [json.loads(p.read_text()) for p in (tmp_path / "outputs/search/learning").rglob("summary.json")]
    assert len(found) >= 2
    assert all(one["loss_numbers"]["left.gamma"] != 2.0 for one in found)
