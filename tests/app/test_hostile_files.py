"""Every place where a command reads a file of somebody else: a short file cannot take minutes, memory, or all errors."""

import time

import pytest
from hydra._internal.core_plugins import file_config_source as of_hydra
from hydra._internal.sources_registry import SourcesRegistry

from autoloss.app.file_source import FileConfigSource, limit_files
from tests.core.io.test_yaml_file import BOMBS

PLACES = {
    "load": ("bomb.yaml", "", "train load=bomb.yaml"),
    "search": ("bomb.yaml", "", "search load=bomb.yaml"),
    "compare": ("bomb.yaml", "", "compare load=bomb.yaml weighting=equal,dwa"),
    "experiment": ("conf/experiment/bomb.yaml", "# @package _global_\n", "train --config-dir conf +experiment=bomb"),
    "group": ("conf/optimizer/bomb.yaml", "", "train --config-dir conf optimizer=bomb"),
    "schedule": ("bomb.yaml", "", "train weighting=scheduled weighting.load=bomb.yaml"),
}


@pytest.mark.parametrize("bomb", ["aliases", "deep", "recursive", "base 60"])
@pytest.mark.parametrize("place", PLACES)
def test_a_yaml_bomb_is_one_sentence(autoloss, tmp_path, place, bomb):
    name, first, command = PLACES[place]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(first + BOMBS[bomb])
    begun = time.perf_counter()
    done = autoloss(*command.split())
    assert time.perf_counter() - begun < 10
    assert done.returncode == 2, done.stderr
    assert "bomb.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000
    assert not (tmp_path / "outputs").exists()


def test_references_that_repeat_each_other_are_refused(autoloss, tmp_path):
    (tmp_path / "bomb.yaml").write_text(
        "name: xxxxxxxxxx\nproblem.a: ${name}${name}${name}\nproblem.b: ${problem.a}${problem.a}\n"
    )
    done = autoloss("train", "load=bomb.yaml")
    assert done.returncode == 2
    assert "may refer to other keys 16 times" in done.stderr


@pytest.mark.parametrize("value", ["[" * 500, "{a:", "2001-99-99", "&a [*a]"])
def test_a_value_of_replay_that_cannot_be_read_is_one_sentence(autoloss, tmp_path, value):
    done = autoloss("replay", str(tmp_path), f"weighting.alpha={value}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "weighting.alpha" in done.stderr


def test_a_process_of_a_launcher_keeps_the_limits():
    limit_files()
    SourcesRegistry.instance().register(of_hydra.FileConfigSource)  # as Hydra does in such a process
    assert SourcesRegistry.instance().types["file"] is FileConfigSource
