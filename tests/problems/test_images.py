"""Images from idx files: tiny ones that are written here, and the real ones where they are."""

import gzip
import os
import struct

import pytest
import torch

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.problems.images import Images, overlaid

REAL = "AUTOLOSS_MNIST"


def idx(array: torch.Tensor) -> bytes:
    return struct.pack(f">HBB{array.dim()}I", 0, 8, array.dim(), *array.shape) + array.to(torch.uint8).numpy().tobytes()


@pytest.fixture
def directory(tmp_path):
    """60 and 20 images of 20 x 20: class c has a bright row at 2 c; the test files are not compressed."""
    for name, count in (("train", 60), ("t10k", 20)):
        labels = torch.arange(count) % 4
        images = torch.zeros(count, 20, 20)
        images[torch.arange(count), 2 * labels] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            path = tmp_path / f"{name}-{kind}-ubyte"
            if name == "train":
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return tmp_path


def test_classify_reads_plain_and_compressed_files(directory):
    problem = Images(str(directory), val=10)
    data = {split: table.columns for split, table in problem.datasets(0).items()}
    assert {split: len(table["class"]) for split, table in data.items()} == {"train": 50, "val": 10, "test": 20}
    assert (problem.classes, problem.metrics) == (4, {"class_error": "min"})
    assert data["train"]["class"][:5].tolist() == [0, 1, 2, 3, 0]
    assert data["val"]["class"].tolist() == [c % 4 for c in range(50, 60)]
    assert bool((data["train"]["image"][1, 2] == 255).all())


@pytest.mark.parametrize("task", ["classify", "overlay", "reconstruct"])
def test_every_task_gives_a_value_for_each_sample_of_each_term(directory, task):
    problem = Images(str(directory), task=task, val=10)
    table = problem.datasets(0)["train"]
    outputs = problem.outputs(problem.network(), table.__getitems__([0, 1, 2]))
    assert set(outputs.terms) == set(problem.terms)
    measured = problem.measure(outputs)
    assert set(measured) == set(problem.metrics)
    assert all(values.shape == (3,) for values in measured.values())
    assert outputs.index.tolist() == [0, 1, 2]


def test_overlay_holds_both_images():
    left, right = torch.zeros(1, 28, 28), torch.zeros(1, 28, 28)
    left[0, 0, 0], right[0, 27, 27], right[0, 0, 0], left[0, 6, 6] = 5, 7, 3, 4
    canvas = torch.zeros(36, 36)
    canvas[0, 0], canvas[33, 33], canvas[6, 6] = 5, 7, 4
    at = (torch.arange(28) * 36) // 28
    torch.testing.assert_close(overlaid(left, right)[0], canvas[at][:, at])


def test_noise_and_imbalance_concern_training_alone(directory):
    problem = Images(str(directory), val=12, noise=0.25, imbalance=4.0)
    data = {split: table.columns for split, table in problem.datasets(0).items()}
    assert data["train"]["corrupted"].float().mean() == pytest.approx(0.25, abs=0.02)
    assert not data["val"]["corrupted"].any()
    clean = Images(str(directory), val=12, imbalance=4.0).datasets(0)["train"].columns["class"]
    assert torch.bincount(clean).tolist() == [12, 8, 5, 3]


def test_mistakes_are_said_when_it_is_built(directory, tmp_path):
    with pytest.raises(ConfigError, match="neither .*train-images-idx3-ubyte nor the same with .gz is there"):
        Images(str(tmp_path / "nowhere"))
    with pytest.raises(UnknownNameError, match="'classify'"):
        Images(str(directory), task="clasify")
    with pytest.raises(ConfigError, match="must fit into 60 images, but 70 do not"):
        Images(str(directory), train=60, val=10)
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.zeros(3)))
    with pytest.raises(ConfigError, match="there are 3 for 20"):
        Images(str(directory), val=10)
    (directory / "t10k-labels-idx1-ubyte").write_bytes(b"no idx file")
    with pytest.raises(ConfigError, match="does not begin like one"):
        Images(str(directory), val=10)
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.zeros(20))[:-1])
    with pytest.raises(ConfigError, match="must hold 20 bytes"):
        Images(str(directory), val=10)


@pytest.mark.slow
@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} does not name a directory")
def test_real_files():
    problem = Images(os.environ[REAL], task="reconstruct", train=1000)
    data = problem.datasets(0)
    assert (len(data["train"]), len(data["val"]), len(data["test"])) == (1000, 10000, 10000)
    assert (problem.side, problem.classes) == (28, 10)
