"""Short YAML files that would take minutes and gigabytes are refused at once; plain ones are read as before."""

import time

import pytest

from autoloss.core.errors import ConfigError
from autoloss.core.io import yaml_file
from autoloss.core.io.yaml_file import check_text, read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)
)
BOMBS = {
    "aliases": LAUGHS,
    "merged": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i + 1}: &a{i + 1} {{p: *a{i}, q: *a{i}, r: *a{i}, s: *a{i}}}\n" for i in range(12)),
    "deep": "a: " + "[" * 5000 + "]" * 5000,
    "deep mapping": "".join(f"{' ' * i}k:\n" for i in range(500)),
    "recursive": "a: &a [1, *a]",
    "base 60": "a: 1" + ":1" * 200_000,
    "digits": "a: " + "1" * 5000,
    "long": "a: 1\n" * 600_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_file_that_is_too_much_is_refused_at_once(tmp_path, bomb):
    file = tmp_path / "bomb.yaml"
    file.write_text(bomb)
    begun = time.perf_counter()
    with pytest.raises(ConfigError, match=r"A YAML file must .*bomb.yaml"):
        read_yaml(file)
    assert time.perf_counter() - begun < 10


def test_a_device_is_no_file():
    with pytest.raises(ConfigError, match="there is no file '/dev/zero'"):
        yaml_file.read_text(yaml_file.Path("/dev/zero"))


def test_plain_files_and_some_aliases_are_read(tmp_path):
    file = tmp_path / "plain.yaml"
    file.write_text("base: &b {lr: 0.1, deep: [[1, 2], [3]]}\nother: {<<: *b, more: *b}\ntext: 'é'\n")
    inside = {"lr": 0.1, "deep": [[1, 2], [3]]}
    assert read_yaml(file) == {"base": inside, "other": {**inside, "more": inside}, "text": "é"}
    check_text("a: [", "half.yaml")  # a mistake that the reader names
