"""The wheel holds everything: it is built, unpacked elsewhere, and run from there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = out.glob("autoloss_weights-*.whl")
    zipfile.ZipFile(wheel).extractall(out / "site")
    return out / "site"


def test_a_run_from_the_wheel_finds_its_configuration(installed, tmp_path):
    code = "import autoloss, sys; print(autoloss.__file__); from autoloss.app.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["train", "trainer.max_epochs=1", "problem.pairs=100", "weighting=dwa", "optimizer=sgd", "debug=short"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert list(tmp_path.rglob("summary.json"))


def test_the_wheel_holds_the_package_the_sweeper_and_nothing_else(installed):
    top = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"autoloss", "hydra_plugins"}
    # A namespace that belongs to all of Hydra's plugins: an __init__.py would hide the others.
    assert [p.name for p in (installed / "hydra_plugins").iterdir()] == ["hydra_autoloss"]
    assert (installed / "hydra_plugins/hydra_autoloss/sweeper.py").exists()
    assert (installed / "hydra_plugins/hydra_autoloss/launcher.py").exists()
    (points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "[hydra.plugins]\nautoloss = hydra_plugins.hydra_autoloss.sweeper:AutolossSweeper" in points.read_text()
    assert (installed / "autoloss/conf/train.yaml").exists()
    assert (installed / "autoloss/py.typed").exists()
    (metadata,) = installed.glob("*.dist-info/METADATA")
    assert "Name: autoloss-weights" in metadata.read_text()
