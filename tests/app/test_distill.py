"""From a run to its schedule and its rule, and from those to further runs, by real commands."""

import json

import pytest
import torch

SHORT = ("problem.pairs=256", "trainer.max_epochs=4", "record.every=1")


def summary(directory):
    return json.loads((directory / "summary.json").read_text())


@pytest.mark.slow
def test_a_run_is_distilled_and_its_rule_reused(autoloss, tmp_path):
    sweep = ("weighting=equal,auto_lambda,learned", "seed=0,1", "name=first")
    done = autoloss("train", "-m", "problem=two_digits", *sweep, *SHORT)
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "outputs/train/first"
    assert "auto_lambda" in (runs / "leaderboard.md").read_text()
    first, rule = runs / "auto_lambda-seed_0", runs / "learned-seed_1"
    done = autoloss("distill", str(first))
    assert done.returncode == 0, done.stderr
    schedule = first / "schedule.yaml"
    assert f"weighting.load={schedule}" in done.stdout
    done = autoloss("train", "weighting=scheduled", f"weighting.load={schedule}", "seed=5", "name=replay", *SHORT)
    assert done.returncode == 0, done.stderr
    before, after = (summary(d)["final_weights"] for d in (first, tmp_path / "outputs/train/replay/001"))
    assert after == pytest.approx(before, rel=0.05)
    reused = ("weighting=learned", f"weighting.load={rule}", "weighting.frozen=true", "groups.both=[left,right]")
    done = autoloss("train", *reused, "name=frozen", *SHORT)
    assert done.returncode == 0, done.stderr
    kept = torch.load(tmp_path / "outputs/train/frozen/001/weighting.pt", weights_only=True)
    assert torch.equal(kept["rule"], torch.load(rule / "weighting.pt", weights_only=True)["rule"])


def test_mistakes_are_one_sentence(mistaken, tmp_path):
    code, _, err = mistaken("distill nowhere")
    assert (code, err.count("\n")) == (2, 1)
    assert "must hold trajectory.csv, but there is no file" in err
    (tmp_path / "s.yaml").write_text("progress: [0, 1]\nweights: {lift: [1, 1]}\n")
    code, _, err = mistaken("train weighting=scheduled weighting.load=s.yaml")
    assert code == 2
    assert "A schedule file must have the losses of the run, left, right, pixels, but 's.yaml' has lift." in err
    code, _, err = mistaken("train weighting=learned weighting.load=nowhere held_out.primary=[lift]")
    assert code == 2
    assert "must name a run with weighting=learned that has ended" in err
    assert "No loss is called 'lift'. Did you mean 'left'?" in err
    wrong = "optimizer._target_=torch.optim.Adamax held_out.share=1 anchor=fork"
    code, _, err = mistaken(f"train weighting=auto_lambda {wrong}")
    assert code == 2
    assert "held_out.share must lie between 0 and 1, but it is 1" in err
    assert "NAdam), but this is Adamax" in err
    assert "needs weights that reach the heads, but gradients that meet in a fork leave them out" in err
