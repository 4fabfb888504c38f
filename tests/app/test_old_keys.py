"""What 0.1.0 wrote goes on to work: a curriculum's parameters under `curriculum`, and `module` as a name or null."""

from __future__ import annotations

import json

import pytest

from autoloss.app.composition import composed
from autoloss.app.current_config import current, training_config
from autoloss.app.overrides import rewritten
from autoloss.app.prepare import prepare
from autoloss.core.errors import ConfigError
from autoloss.training.lightning.modules.curriculum import Curriculum
from autoloss.training.lightning.modules.multitask import Multitask

OLD = ["curriculum.pacing=0.5", "curriculum.difficulty=loss", "curriculum.warmup=0"]
SHORT = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "problem.pairs=256"]


def test_old_keys_are_parameters_of_the_module():
    config = composed("train", rewritten(["module=curriculum", *OLD]))
    assert current(config)["module"] == {"name": "curriculum", "pacing": 0.5, "difficulty": "loss", "warmup": 0}
    assert isinstance(prepare(config).builder, Curriculum)
    mapping = composed(
        "train", rewritten(["module=curriculum", "curriculum={pacing: 0.5, difficulty: loss, warmup: 0}"])
    )
    assert current(mapping) == current(config)


def test_old_keys_say_nothing_of_other_modules():
    config = composed("train", rewritten(["curriculum.pacing=null", "curriculum.warmup=1"]))
    assert current(config) == current(composed("train", []))
    assert isinstance(prepare(config).builder, Multitask)


@pytest.mark.parametrize("typed", ["module=null", "+module=multitask", "++module=multitask"])
def test_a_module_is_chosen_as_it_was(typed):
    assert current(composed("train", rewritten([typed])))["module"] == {"name": "multitask"}


def test_a_configuration_of_0_1_0_trains_the_same():
    new = composed("train", rewritten(["problem=digits_gan"]))
    old = {**new, "module": None, "curriculum": {"pacing": None, "difficulty": None, "warmup": 1}}
    assert training_config(old) == training_config(new)
    chosen = composed("train", rewritten(["module=curriculum", "module.pacing=0.5", "module.difficulty=loss"]))
    old = {**chosen, "module": "curriculum", "curriculum": {"pacing": 0.5, "difficulty": "loss", "warmup": 1}}
    assert training_config(old) == training_config(chosen)


@pytest.mark.parametrize("learner", ["weighting=learned", "sample_weighting=reweight", "weighting=equal"])
def test_what_learned_from_held_out_losses_in_0_1_0_lowers_their_sum(learner):
    new = composed("train", [learner, "held_out.share=0.2"])
    old = {**new, "held_out": {key: new["held_out"][key] for key in ("share", "batch_size", "implicit", "primary")}}
    as_before = [] if "equal" in learner else ["held_out.objective=sum", "held_out.source=share"]
    assert training_config(old) == training_config(composed("train", [learner, "held_out.share=0.2", *as_before]))


def test_a_file_with_old_keys_trains_a_curriculum(autoloss, tmp_path):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "easy.yaml").write_text("# @package _global_\ncurriculum: {pacing: 0.3, difficulty: loss, warmup: 0}\n")
    flags = ["--config-dir", "conf", "module=curriculum", "experiment=easy", "hydra.run.dir=out"]
    done = autoloss("train", *flags, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "data_used" in (tmp_path / "out" / "trajectory.csv").read_text().splitlines()[0]


def test_the_directory_has_the_name_that_0_1_0_gave_it_and_the_run_goes_on(autoloss, tmp_path):
    typed = ["module=curriculum", *OLD, *SHORT]
    assert autoloss("train", *typed).returncode == 0
    (parent,) = (tmp_path / "outputs" / "train").iterdir()
    assert "curriculum.pacing_0.5" in parent.name
    again = autoloss("train", *typed, "ckpt=last")
    assert again.returncode == 0, again.stderr
    summary = json.loads((parent / "001" / "summary.json").read_text())
    assert summary["config"]["module"]["name"] == "curriculum"


def test_a_curriculum_that_is_no_mapping_is_a_sentence():
    with pytest.raises(ConfigError, match="curriculum must be a mapping, but it is 5"):
        current({**composed("train", []), "curriculum": 5})


def test_everything_wrong_is_told_though_the_problem_cannot_be_built():
    asked = ["problem.pairs=-3", "weighting=gradnorm", "weighting.alpha=-1", "batch_size=0"]
    with pytest.raises(ConfigError) as found:
        prepare(composed("train", asked))
    assert all(word in str(found.value) for word in ("pairs=-3", "alpha=-1", "batch_size"))
