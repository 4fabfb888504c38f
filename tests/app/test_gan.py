"""A GAN as a person types it."""

import csv
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SHORT = ("trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1", "threads=1")


def test_a_sweep_over_weightings_leaves_grids_and_a_leaderboard(autoloss, tmp_path):
    done = autoloss("train", "-m", "problem=digits_vae_gan", "weighting=equal,balancer,vqgan", *SHORT, "name=s")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    runs = sorted(path.parent for path in (tmp_path / "outputs/train/s").glob("*/summary.json"))
    assert [run.name for run in runs] == ["balancer", "equal", "vqgan"]
    for run in runs:
        assert (run / "samples.png").exists()
        events = EventAccumulator(str(run)).Reload()
        drawn = set(events.Tags()["scalars"])
        assert {"1_loss_weight/generator/rec", "loss_raw/discriminator/adv", "score"} <= drawn
        assert "epoch" not in drawn
        assert "samples" in events.Tags()["images"]
        summary = json.loads((run / "summary.json").read_text())
        assert set(summary["final_weights"]) == {"rec", "kl", "adv", "match"}
        assert set(summary["discriminator_weights"]) == {"adv", "penalty"}
        assert summary["goals"] == {"rec_mse": "min", "frechet": "min", "class_error": "min"}
        assert summary["steps"] == 20
    equal = json.loads((runs[1] / "summary.json").read_text())
    assert equal["mean_weight_sum"] == pytest.approx(3.001)
    with (runs[0].parent / "leaderboard.csv").open(newline="") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {"equal", "balancer", "vqgan"}


def test_the_discriminator_has_keys_of_its_own():
    from autoloss.app.composition import composed
    from autoloss.app.overrides import rewritten
    from autoloss.app.prepare import prepare

    typed = (
        "problem=digits_gan weighting=gradnorm weighting.alpha=1 discriminator.weighting=uncertainty losses.adv=gan_hinge "
        "losses.adv.bounded=true discriminator.weighting.lr=0.5 discriminator.losses.penalty=gradient_penalty "
        "discriminator.losses.penalty.strength=5 discriminator.optimizer=sgd discriminator.optimizer.lr=0.125 "
        "discriminator.steps=3 generator.clip=2 discriminator.base.cls=0.5 generator.average=null pace.target=0.7 "
        "discriminator.groups.both=[adv,cls]"
    )
    config = composed("train", rewritten(typed.split()))
    module = prepare(config).module()
    g, d = module.generator_player.options, module.discriminator_player.options
    assert (g.weighting.title(), d.weighting.title()) == ("gradnorm", "uncertainty")
    assert g.losses["adv"] is d.losses["adv"]
    assert (g.losses["adv"].bounded, d.losses["penalty"].strength) == (True, 5)
    assert (g.steps, g.clip, d.steps, d.clip) == (1, 2, 3, None)
    assert (d.base, d.groups) == ({"cls": 0.5}, {"both": ["adv", "cls"]})
    assert module.average is None
    assert module.pace.target == 0.7
    made = d.optimizer(module.discriminator.parameters())
    assert (type(made).__name__, made.param_groups[0]["lr"]) == ("SGD", 0.125)


def test_equal_weights_are_the_discriminator_s_default():
    from autoloss.app.composition import composed

    config = composed("train", ["problem=digits_gan", "weighting=gradnorm"])
    assert config["discriminator"]["weighting"]["name"] == "equal"
    assert "discriminator" not in composed("train", ["problem=two_digits"])


def test_each_player_s_samples_have_a_weighting_of_their_own():
    from autoloss.app.composition import composed
    from autoloss.app.overrides import rewritten
    from autoloss.app.prepare import prepare

    typed = ["problem=digits_gan", "sample_weighting=top_k", "discriminator.sample_weighting=super_loss"]
    config = composed("train", rewritten([*typed, "discriminator.sample_weighting.lam=2"]))
    module = prepare(config).module()
    mine, its = (player.samples for player in module.players.values())
    assert (mine.title, its.title, its.rules[0].lam) == ("top_k", "super_loss", 2)


def test_everything_that_is_wrong_comes_in_one_message(mistaken):
    code, _, err = mistaken(
        "train problem=digits_gan weighting=famo discriminator.weighting=graddrop discriminator.steps=0 "
        "trainer.gradient_clip_val=1 trainer.accumulate_grad_batches=2 trainer.max_steps=10 pace.target=2 "
        "generator.average=1"
    )
    assert code == 2
    for says in (
        "'famo' needs to look at what its step did",
        "discriminator's weighting is 'graddrop'",
        "`steps` must be at least 1, but steps=0",
        "Set generator.clip and discriminator.clip",
        "Set generator.accumulate and discriminator.accumulate",
        "trainer.max_steps counts the steps of both optimisers",
        "pace.target must lie in (0.5, 1), but it is 2",
        "generator.average must lie in [0, 1)",
    ):
        assert says in err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("discriminator.losses.pennalty.gamma=1", "pennalty"),
        ("discriminator.losses.adv=gan_hinge", "No key is called 'discriminator.losses.adv'"),
        ("discriminator.weighting=gradnrom", "Did you mean 'gradnorm'"),
        ("module=multitask", "'digits_gan' has two networks"),
        ("discriminator.base.x=2", "No loss is called 'x'"),
        ("discriminator.sample_weighting=reweight", "'reweight' learns from held-out data, but a GAN has none"),
        ("discriminator.sample_weighting.terms=[x]", "No loss is called 'x'"),
    ],
)
def test_single_mistakes(mistaken, typed, says):
    code, _, err = mistaken(f"train problem=digits_gan {typed}")
    assert code == 2
    assert says in err


def test_one_network_is_no_game(mistaken):
    code, _, err = mistaken("train problem=two_digits module=gan")
    assert code == 2
    assert "module=gan needs a problem with a generator and a discriminator" in err


@pytest.mark.slow
def test_search_and_compare_take_a_game_as_they_take_anything(autoloss, tmp_path):
    done = autoloss(
        *(
            "search",
            "problem=digits_gan",
            "search.weightings=[fixed,gradnorm]",
            "search.n_trials=3",
            *SHORT,
            "name=found",
        ),
        *("search.confirm=1", "search.confirm_seeds=2", "search.space.discriminator.optimizer.lr=interval(1e-4,1e-2)"),
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "outputs/search/found/leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(float(row["frechet"]) > 0 for row in rows)
    done = autoloss("compare", "problem=digits_gan", "weighting=equal,uncertainty", "compare.seeds=2", *SHORT, "name=c")
    assert done.returncode == 0, done.stderr
    assert "frechet" in (tmp_path / "outputs/compare/c/leaderboard.md").read_text()


def test_a_training_too_short_for_a_validation_is_validated_at_its_end(tmp_path):
    from autoloss.app.composition import composed
    from autoloss.app.train_one import train

    summary = train(composed("train", ["problem=digits_gan", "trainer.max_epochs=1", "threads=1"]), tmp_path)
    assert summary["goals"].keys() <= summary["metrics"].keys()
    assert (tmp_path / "samples.png").exists()
