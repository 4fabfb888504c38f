"""README's way from a CSV file to predictions, typed as it stands there, in an empty directory."""

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().split("## From a CSV file to predictions")[1].split("\n## ")[0]
INSTALL, *COMMANDS = re.search(r"```sh\n(.*?)```", SECTION, re.S)[1].splitlines()


def test_there_are_four_commands_and_the_page_shows_what_they_say():
    assert INSTALL == "make runtime"
    assert [shlex.split(one)[1] for one in COMMANDS] == ["train", "search", "predict"]
    said = [text for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.S | re.M) if not name]
    assert said[0].startswith("data: flats.csv")
    assert re.match(r"Use |Keep equal weights", said[1])
    assert said[2].startswith("rent,days,let,let_probability")


@pytest.mark.slow
def test_the_four_commands_lead_to_a_verdict_and_predictions(autoloss, tmp_path):
    for name in ("flats.csv", "new_flats.csv"):
        (tmp_path / "examples").mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples" / name, tmp_path / "examples")
    said = {}
    for line in COMMANDS:
        _, verb, *rest = shlex.split(line)
        done = autoloss(verb, *rest)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        said[verb] = done.stdout
    for shown in re.findall(r"^(?:data|target|input) .*$", SECTION, re.M):
        assert shown in said["train"]
    assert re.search(r"^(Use .*: score \+|Keep equal weights: )", said["search"], re.M)
    assert "next: autoloss predict outputs/search/flats NEW.csv" in said["search"]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["let"] for row in rows} <= {"yes", "no"}
    # The table was made so that the rent grows with the area.
    with (tmp_path / "examples/new_flats.csv").open(newline="") as file:
        areas = [float(row["area"]) for row in csv.DictReader(file)]
    smallest, largest = areas.index(min(areas)), areas.index(max(areas))
    assert float(rows[smallest]["rent"]) < float(rows[largest]["rent"])
