"""The fixture that runs the command in the test's process: it tells what a process would, and leaves no trace."""

import os
import random
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from autoloss.core.registry.lookup import registry

LOSS = "def half(prediction, target):\n    return (prediction - target).square().mean(1) / {by}\n"
CARELESS = """
import logging, os, random, signal, sys, warnings
import torch
from hydra.core.global_hydra import GlobalHydra
os.environ["CARELESS"] = "1"
os.environ.pop("KEPT")
sys.path.append("/nowhere")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)
random.seed(7)
torch.manual_seed(7)
torch.set_num_threads(3)
torch.use_deterministic_algorithms(True)
warnings.simplefilter("error")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
logging.getLogger().handlers.clear()
GlobalHydra.instance().hydra = "mine"
os.chdir("/")
"""


def state():
    """All that a command may change in the process that runs it."""
    import logging

    names = ("pytorch_lightning", "lightning_fabric", "")
    loggers = [(one.level, one.handlers.copy(), one.propagate) for one in map(logging.getLogger, names)]
    draws = (random.getstate(), torch.get_rng_state().tolist())
    modes = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    hydra = (GlobalHydra.instance().hydra, HydraConfig.instance().cfg)
    modules = {name for name in sys.modules if name.partition(".")[0] in ("mine", "my_module")}
    here = (Path.cwd(), dict(os.environ), sys.argv.copy(), sys.path.copy(), modules)
    return here, handlers, hydra, loggers, draws, modes, warnings.filters.copy()


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("--version", 0, "autoloss ", ""),
        ("trian", 2, "", "autoloss: No verb is called 'trian'. Did you mean 'train'?"),
        ("train batch_size=0", 2, "", "batch_size must be at least 1"),
        ("train --cfg job", 0, "weighting:", ""),
        ("train problem=mine:Failing", 1, "", "OSError: disk on fire"),
    ],
)
def test_it_tells_the_exit_code_the_output_and_the_errors(autoloss, tmp_path, line, code, out, err):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Failing(TwoDigits):\n    def datasets(self, seed):\n        raise OSError('disk on fire')\n"
    )
    done = autoloss(*line.split())
    assert done.returncode == code
    assert out in done.stdout
    assert err in done.stderr
    assert bool(out) == bool(done.stdout)
    assert bool(err) == bool(done.stderr)


def test_everything_is_as_it_was(autoloss, tmp_path, monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    (tmp_path / "my_module.py").write_text(CARELESS + LOSS.format(by=2))
    before = state()
    done = autoloss("describe", "loss", "my_module:half")
    assert done.returncode == 0, done.stderr
    assert state() == before


def test_a_training_leaves_nothing_but_its_files(autoloss, tmp_path):
    before = state()
    done = autoloss("train", "problem.pairs=64", "trainer.max_epochs=1", "threads=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert state() == before
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_what_a_process_would_say_on_standard_error_is_there(autoloss, tmp_path):
    says = "import logging, warnings\nwarnings.warn('of a warning')\n"
    for name in ("pytorch_lightning", "lightning_fabric.loops"):
        says += f"logging.getLogger('{name}').info('of {name}')\n"
    says += "logging.getLogger('others').info('unheard')\nlogging.getLogger('others').warning('of others')\n"
    (tmp_path / "my_module.py").write_text(says + LOSS.format(by=2))
    said = autoloss("describe", "loss", "my_module:half").stderr
    for what in ("UserWarning: of a warning", "of pytorch_lightning", "of lightning_fabric.loops", "of others"):
        assert said.count(what) == 1
    assert "unheard" not in said


def test_a_file_is_read_again(autoloss, tmp_path):
    for by in (2, 3):
        place = tmp_path / str(by)
        place.mkdir()
        (place / "my_module.py").write_text(f"'''Divided by {by}.'''\nprint('read', {by})\n" + LOSS.format(by=by))
        assert f"read {by}" in autoloss("describe", "loss", "my_module:half", cwd=place).stdout


def test_environment_and_distributions_are_the_command_s_alone(autoloss, tmp_path):
    site = tmp_path / "site"
    (site / "mine-1.0.dist-info").mkdir(parents=True)
    (site / "mine.py").write_text(LOSS.format(by=2))
    (site / "mine-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (site / "mine-1.0.dist-info/entry_points.txt").write_text("[autoloss.losses]\nmine_half = mine:half\n")
    assert autoloss("describe", "loss", "mine_half", path=site).returncode == 0
    assert autoloss("describe", "loss", "mine_half", path=site, AUTOLOSS_DISABLE_PLUGINS="1").returncode == 2
    assert autoloss("describe", "loss", "mine_half").returncode == 2
    assert "mine_half" not in registry.names("loss")
