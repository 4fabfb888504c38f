"""What a search costs beside its trainings, what a second worker saves, and what pruning saves.

python benchmarks/search_cost.py [overhead] [workers] [pruning]

overhead: CPU time of a study of 50 trials over that of its trainings alone (bar: 1.10)
workers: wall-clock time of one worker over that of two, one thread each, on the same trials (bar: 1.5)
pruning: hyperband beside no pruning, three seeds: best validation score, share of training steps (bar: half)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

PLACE = Path("outputs/search_cost")


def search(name: str, *overrides: str) -> tuple[float, float]:
    """Run a search from nothing in a process of its own; its wall-clock and CPU time, without start and imports."""
    shutil.rmtree(PLACE / "outputs/search" / name, ignore_errors=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    arguments = ["search", f"name={name}", "search.confirm=0", *overrides]
    done = subprocess.run(
        [sys.executable, "-c", TIMED, *arguments],
        cwd=PLACE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    wall, cpu = done.stdout.splitlines()[-1].split()
    return float(wall), float(cpu)


# Times the engine, from the first trial to the last, and the part of this that train() takes.
TIMED = """
import sys, time
import autoloss.app.fleet_runs as runner
from autoloss.app.main import main
from autoloss.search.engine import Search
whole, inside, work, train = [0.0, 0.0], [0.0], Search.work, runner.train
def timed_work(self):
    before = time.perf_counter(), time.process_time()
    work(self)
    whole[:] = time.perf_counter() - before[0], time.process_time() - before[1]
def timed_train(*arguments, **options):
    before = time.process_time()
    try:
        return train(*arguments, **options)
    finally:
        inside[0] += time.process_time() - before
Search.work, runner.train = timed_work, timed_train
code = main(sys.argv[1:])
print(whole[0], whole[1] / max(inside[0], 1e-9))
sys.exit(code)
"""


def trials(name: str) -> list[dict[str, object]]:
    """The trials of a finished study: state, score and the number of epochs that each had."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = PLACE / "outputs/search" / name / "study.log"
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
    return [
        {"score": t.user_attrs.get("score"), "epochs": t.last_step or 0}
        for t in study.trials
        if t.state.is_finished() and "left_out" not in t.user_attrs
    ]


def overhead(options: argparse.Namespace) -> str:
    """The engine's overhead, in CPU time, which other processes on this machine do not change."""
    wall, ratio = search("overhead", f"search.n_trials={options.trials}", f"trainer.max_epochs={options.epochs}")
    each = wall / options.trials
    return f"overhead: {ratio:.3f} of the trainings' CPU time, {options.trials} trials of {each:.1f} s (bar: 1.10)"


def workers(options: argparse.Namespace) -> str:
    """The speed-up by a second worker, on a budget that random search draws the same way."""
    common = [f"search.n_trials={options.trials // 2}", "trainer.max_epochs=60", "search/sampler=random", "threads=1"]
    times, cpu = {}, {}
    for count in (1, 2):
        begun, used = time.perf_counter(), _children()
        search(f"workers_{count}", *common, f"search.workers={count}")
        times[count], cpu[count] = time.perf_counter() - begun, _children() - used
    busy = f"CPU time {cpu[2] / cpu[1]:.2f} times as much, load {os.getloadavg()[0]:.1f}"
    return f"workers: two are {times[1] / times[2]:.2f} times as fast as one, start-up included (bar: 1.5); {busy}"


def _children() -> float:
    """CPU time of the processes that this one started and that have ended, with that of their own processes."""
    return os.times().children_user + os.times().children_system


def pruning(options: argparse.Namespace) -> str:
    """Best validation score and epochs with hyperband and without, paired by the search's seed."""
    best: dict[str, list[float]] = {"none": [], "hyperband": []}
    epochs: dict[str, list[int]] = {"none": [], "hyperband": []}
    for seed in range(3):
        for pruner in best:
            name = f"{pruner}_{seed}"
            search(name, f"search/pruner={pruner}", f"search.n_trials={options.trials}", f"seed={seed}")
            found = trials(name)
            best[pruner].append(max(float(t["score"]) for t in found if t["score"] is not None))  # type: ignore[arg-type]
            epochs[pruner].append(sum(int(t["epochs"]) for t in found))  # type: ignore[call-overload]
            print(json.dumps({"study": name, "best": best[pruner][-1], "epochs": epochs[pruner][-1]}), flush=True)
    share = sum(epochs["hyperband"]) / sum(epochs["none"])
    scores = {name: f"{fmean(of):+.4f} (deviation {stdev(of):.4f})" for name, of in best.items()}
    return f"pruning: hyperband {scores['hyperband']}, none {scores['none']}; {share:.2f} of the steps (bar: 0.50)"


def main() -> None:
    """Print the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = {"overhead": overhead, "workers": workers, "pruning": pruning}
    parser.add_argument("rows", nargs="*", default=[], choices=[*rows, []])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=15, help="of each training of overhead")
    options = parser.parse_args()
    for name in options.rows or rows:
        print(rows[name](options), flush=True)


if __name__ == "__main__":
    main()
