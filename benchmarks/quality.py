"""Which weighting helps where: `python benchmarks/quality.py --data DIR [PROTOCOL ...]`.

Trains every row of every protocol (protocols.py) on its seeds and writes the tables to benchmarks/results/. A run that
is in benchmarks/results/quality/ already, with the same settings, is not trained again, so that the command goes on
where it was stopped; --show writes the tables of the runs that there are, docs/choosing.md and the README's table. DIR
holds mnist/, adult/ and pinn/; protocols whose data is absent are left out, with a message. The tables of scikit-learn
are written to files for the time of the command.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import choosing
import sheets
from protocols import PROTOCOLS, SKLEARN, Protocol
from quality_table import page
from rows import SEARCHED

from autoloss.core.errors import AutolossError

RESULTS = Path(__file__).with_name("results")
RUNS = RESULTS / "quality"
CHOOSING, README = (RESULTS.parents[1] / page for page in ("docs/choosing.md", "README.md"))
FLEET = 10  # a row's seeds are trained as one where that is possible
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
    """Train the missing runs of a row, as one fleet where that works; a failure is recorded with its error."""
    from autoloss.app.composition import composed
    from autoloss.app.fleet_runs import FleetRuns, Request
    from autoloss.app.overrides import rewritten

    protocol, settings = PROTOCOLS[name], settings_of(name, row)
    missing = [seed for seed in protocol.seeds_of(row) if seed not in done(name, row)]
    if settings is None or not missing:
        return
    with tempfile.TemporaryDirectory() as place:
        requests, found = [], {}
        for seed in missing:
            overrides = rewritten([one.replace("{data}", str(data)) for one in [*settings, f"seed={seed}"]])
            try:
                requests.append(Request(composed("train", overrides), Path(place) / str(seed), overrides))
            except AutolossError as error:
                found[seed] = error
        trained = FleetRuns(FLEET).train(requests)
        found |= dict(zip([seed for seed in missing if seed not in found], trained, strict=True))
    RUNS.mkdir(parents=True, exist_ok=True)
    for seed in missing:
        record = {"row": row, "seed": seed, "settings": settings} | _outcome(found[seed])
        with (RUNS / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{name}: {row}, seed {seed}: {record.get('test', record.get('error'))}", flush=True)


def _outcome(found: dict[str, Any] | Exception) -> dict[str, Any]:
    """What is recorded of a run; an error that is no user's mistake and no failed training is raised."""
    if isinstance(found, (AutolossError, FloatingPointError)):
        return {"error": str(found).splitlines()[0]}
    if isinstance(found, Exception):
        raise found
    kept = ("goals", "final_weights", "mean_weight_sum", "steps", "seconds", "versions")
    return {"val": found["metrics"], "test": found["test_metrics"]} | {key: found[key] for key in kept}


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


@contextmanager
def data_of(protocol: Protocol, given: Path | None) -> Iterator[Path | None]:
    """The directory of a protocol's data while its rows are trained; ``None`` if there is none."""
    if protocol.data == SKLEARN:
        with tempfile.TemporaryDirectory() as place:
            sheets.write(Path(place))
            yield Path(place)
        return
    directory = given / protocol.data if given and protocol.data else None
    yield directory.resolve() if directory and directory.is_dir() else None


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
        if not options.show:
            with data_of(protocol, options.data) as directory:
                if protocol.data and directory is None:
                    print(f"{name}: left out. Name a directory that holds {protocol.data}/ with --data.")
                else:
                    work(name, protocol, options.rows, directory)
        written = text(name)
        if written is not None:
            (RESULTS / f"{name}.md").write_text(written)
    every = {name: cells(name) for name in PROTOCOLS}
    CHOOSING.write_text(choosing.page(every))
    README.write_text(choosing.into(README.read_text(), every))


if __name__ == "__main__":
    main()
