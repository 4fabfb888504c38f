"""Which weighting helps where: `python benchmarks/quality.py --data DIR [PROTOCOL ...]`.

Trains every row of every protocol (protocols.py) on its seeds and writes the tables to benchmarks/results/. A run that
is in benchmarks/results/quality/ already, with the same settings, is not trained again, so that the command goes on
where it was stopped; --show writes the tables of the runs that there are, docs/choosing.md and the README's table. DIR
holds mnist/, adult/ and pinn/; protocols whose data is absent are left out, with a message.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import choosing
from protocols import PROTOCOLS, SEARCHED, Protocol
from quality_table import page

RESULTS = Path(__file__).with_name("results")
RUNS = RESULTS / "quality"
CHOOSING, README = (RESULTS.parents[1] / page for page in ("docs/choosing.md", "README.md"))
COMMON = ("record.every=1000", "checkpoint.every=0", "trainer.accelerator=cpu", "test=true")


def runs(name: str) -> list[dict[str, Any]]:
    """The recorded runs of a protocol, oldest first."""
    path = RUNS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def settings_of(name: str, row: str) -> list[str] | None:
    """The overrides of a row; ``None`` for the winner of a search that has not been run."""
    protocol = PROTOCOLS[name]
    chosen = protocol.rows[row]
    if row == SEARCHED and not chosen:
        path = RUNS / f"{name}.search.json"
        if not path.exists():
            return None
        chosen = tuple(json.loads(path.read_text())["overrides"])
    return [*protocol.settings, *COMMON, *chosen]


def done(name: str, row: str) -> dict[int, dict[str, Any]]:
    """The runs of a row by seed, if their settings are those that the row has now."""
    return {run["seed"]: run for run in runs(name) if run["row"] == row and run["settings"] == settings_of(name, row)}


def train_row(name: str, row: str, data: Path | None) -> None:
    """Train the missing runs of a row; a run that fails is recorded with its error."""
    from autoloss.app.composition import composed
    from autoloss.app.overrides import rewritten
    from autoloss.app.train_one import train
    from autoloss.core.errors import AutolossError

    protocol, settings = PROTOCOLS[name], settings_of(name, row)
    for seed in protocol.seeds:
        if settings is None or seed in done(name, row):
            continue
        overrides = rewritten([one.replace("{data}", str(data)) for one in [*settings, f"seed={seed}"]])
        record: dict[str, Any] = {"row": row, "seed": seed, "settings": settings}
        with tempfile.TemporaryDirectory() as place:
            try:
                found = train(composed("train", overrides), Path(place) / "run", overrides)
                record |= {"val": found["metrics"], "test": found["test_metrics"], "goals": found["goals"]}
                record |= {
                    key: found[key] for key in ("final_weights", "mean_weight_sum", "steps", "seconds", "versions")
                }
            except (AutolossError, FloatingPointError) as error:
                record["error"] = str(error).splitlines()[0]
        RUNS.mkdir(parents=True, exist_ok=True)
        with (RUNS / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{name}: {row}, seed {seed}: {record.get('test', record.get('error'))}", flush=True)


def search(name: str, data: Path | None) -> None:
    """Search weights for a protocol on validation data and keep the winner's overrides."""
    from autoloss.app.load import loaded
    from autoloss.app.main import main as autoloss

    protocol = PROTOCOLS[name]
    settings = [one.replace("{data}", str(data)) for one in (*protocol.settings, *COMMON, *protocol.search)]
    settings.remove("test=true")
    if autoloss(["search", f"name=quality_{name}", *settings]) == 0:
        chosen = [o for o in loaded(f"outputs/search/quality_{name}/best.yaml") if o.startswith("weighting")]
        record = {"search": list(protocol.search), "overrides": chosen}
        (RUNS / f"{name}.search.json").write_text(json.dumps(record, indent=1) + "\n")


def work(name: str, protocol: Protocol, rows: Sequence[str], data: Path | None) -> None:
    """Train the rows of a protocol, in their order."""
    for row in (row for row in protocol.rows if row in rows or not rows):
        if row == SEARCHED and protocol.search and settings_of(name, row) is None:
            RUNS.mkdir(parents=True, exist_ok=True)
            search(name, data)
        train_row(name, row, data)


def cells(name: str) -> dict[str, dict[int, dict[str, Any]]]:
    """The recorded runs of a protocol, by row and seed."""
    return {row: done(name, row) for row in PROTOCOLS[name].rows}


def text(name: str) -> str | None:
    """The page of a protocol from its recorded runs, if there are any."""
    of, protocol = cells(name), PROTOCOLS[name]
    searched = settings_of(name, SEARCHED) if SEARCHED in protocol.rows else None
    return page(name, protocol, of, searched) if any(of.values()) else None


def main() -> None:
    """Train what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocols", nargs="*", metavar="PROTOCOL", help=", ".join(PROTOCOLS))
    parser.add_argument("--data", type=Path, help="holds mnist/, adult/ and pinn/")
    parser.add_argument("--rows", nargs="+", default=[], help="only these rows")
    parser.add_argument("--show", action="store_true", help="train nothing")
    options = parser.parse_args()
    for name in options.protocols:
        if name not in PROTOCOLS:
            parser.error(f"there is no protocol {name!r}: {', '.join(PROTOCOLS)}")
    known = {row for protocol in PROTOCOLS.values() for row in protocol.rows}
    for row in options.rows:
        if row not in known:
            parser.error(f"there is no row {row!r}: {', '.join(sorted(known))}")
    for name, protocol in PROTOCOLS.items():
        if options.protocols and name not in options.protocols:
            continue
        directory = options.data / protocol.data if options.data and protocol.data else None
        if protocol.data and not options.show and (directory is None or not directory.is_dir()):
            print(f"{name}: left out, its data is not there. Name a directory that holds {protocol.data}/ with --data.")
        elif not options.show:
            work(name, protocol, options.rows, directory.resolve() if directory else None)
        written = text(name)
        if written is not None:
            (RESULTS / f"{name}.md").write_text(written)
    every = {name: cells(name) for name in PROTOCOLS}
    CHOOSING.write_text(choosing.page(every))
    README.write_text(choosing.into(README.read_text(), every))


if __name__ == "__main__":
    main()
