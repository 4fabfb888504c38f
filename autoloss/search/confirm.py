"""Trains the best candidates and equal weights again on fresh seeds; only these runs read the test split, if any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoloss.core.errors import ConfigError, first_line
from autoloss.core.io.disk import disk_error
from autoloss.core.io.files import read_json, write_json
from autoloss.core.io.lock import lock
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.decision import means
from autoloss.report.verdict import compare
from autoloss.search import stop
from autoloss.search.budget import MOST_DEATHS
from autoloss.search.guard import allows
from autoloss.search.run_places import confirmation
from autoloss.search.runner import TEST, VALIDATION, Confirmed, FleetRunner, Result, Runner, Task
from autoloss.search.space import BASELINE, Candidate

FRESH = 10_000  # the first of the fresh seeds
LOCK = "claim"  # the name that 0.1.0 gave it, whose workers may share the directory


def chosen(
    study: Study, number: int, goals: Mapping[str, str] | None = None, guard: float | None = None
) -> list[tuple[int, Candidate]]:
    """The best trial with equal weights, then the best ``number`` others: first the best one of each weighting.

    With a ``guard`` the others make no metric of ``goals`` worse than in the baseline's run by more than that share.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
    ranked = sorted(done, key=lambda t: (sign * float(t.value or 0.0), t.number))
    ranked = permitted(ranked, goals or {}, guard)
    of_each: dict[str, list[FrozenTrial]] = {}
    for t in ranked:
        of_each.setdefault(_weighting(t), []).append(t)
    equal = of_each.pop(BASELINE)[0]
    firsts = [trials[0] for trials in of_each.values()]
    leading = {t.number for t in firsts}
    rest = [t for t in ranked if t.number not in leading and _weighting(t) != BASELINE]
    if not of_each:
        # Only other keys vary: the best values are compared with the problem's own settings.
        equal = next(t for t in ranked if t.user_attrs.get("baseline"))
        firsts = [t for t in ranked if t is not equal]
    return [(t.number, _candidate(t)) for t in [equal, *(firsts + rest)[:number]]]


def permitted(trials: Sequence[FrozenTrial], goals: Mapping[str, str], guard: float | None) -> list[FrozenTrial]:
    """The completed ``trials`` that ``guard`` allows, compared with the baseline's run, and that run itself."""
    base = next((t for t in trials if t.user_attrs.get("baseline")), None)
    if base is None or guard is None:
        return list(trials)
    metrics = base.user_attrs["metrics"]
    return [t for t in trials if t is base or allows(guard, t.user_attrs["metrics"], metrics, goals)]


def confirm(
    runner: Runner,
    candidates: Sequence[tuple[int, Candidate]],
    goals: Mapping[str, str],
    seeds: int,
    directory: Path,
    seed: int = 0,
    fleet: int = 1,
) -> list[Confirmed]:
    """Train ``candidates`` (equal weights first) again on ``seeds`` fresh seeds each, and compare them.

    The search's own ``seed`` is never among them. With a ``fleet`` above 1 the runs are trained at once, if the runner
    can do that; where the process died then, they are run again in fleets of half the size.
    Workers share these runs: a worker locks a run's directory, and reads the results of the finished ones.
    """
    chosen_seeds = fresh(seeds, seed)
    jobs = [(number, candidate, one) for one in chosen_seeds for number, candidate in candidates]
    pending = list(jobs)
    if fleet > 1 and isinstance(runner, FleetRunner):
        _run_many(runner, pending, directory)
    while pending:
        left = []
        for number, candidate, seed in pending:
            stop.check()
            place = confirmation(directory, number, candidate, seed)
            if read_json(place / "confirmed.json") is not None:
                continue
            with lock(place / LOCK) as locked:
                if locked and read_json(place / "confirmed.json") is None:
                    _run(runner, candidate, seed, place)
                elif not locked:
                    left.append((number, candidate, seed))
        pending = left
        if pending:
            stop.pause(0.5)
    found = {(n, seed): read_json(confirmation(directory, n, c, seed) / "confirmed.json") for n, c, seed in jobs}
    return _compared(candidates, found, goals, chosen_seeds)


def fresh(number: int, seed: int) -> list[int]:
    """``number`` seeds that a search with ``seed`` has not used.

    >>> fresh(3, seed=10001)
    [10000, 10002, 10003]
    """
    return [one for one in range(FRESH, FRESH + number + 1) if one != seed][:number]


def _compared(
    candidates: Sequence[tuple[int, Candidate]],
    found: Mapping[tuple[int, int], Mapping[str, Any]],
    goals: Mapping[str, str],
    seeds: Sequence[int],
) -> list[Confirmed]:
    base = candidates[0][0]
    errors = {n: f"seed {seed}: {of['error']}" for (n, seed), of in reversed(list(found.items())) if "error" in of}
    if base in errors:
        raise ConfigError(f"Equal weights must finish on every fresh seed, but they failed on {errors[base]}")

    def scores(number: int, split: str) -> tuple[float, ...]:
        equal = [found[base, seed][split] for seed in seeds]
        reference = {name: fmean(one[name] for one in equal) for name in goals}
        return tuple(relative_improvement(found[number, seed][split], reference, goals) for seed in seeds)

    # 0.1.0 did not say which data it compared.
    split = VALIDATION if any(of.get("split") == VALIDATION for of in found.values()) else TEST
    test = {number: scores(number, "test") for number, _ in candidates if number not in errors}
    comparisons = compare({str(n): s for n, s in test.items() if n != base}, test[base])

    def metrics(number: int, of: str) -> dict[str, tuple[float, ...]]:
        return {name: tuple(found[number, seed][of][name] for seed in seeds) for name in goals}

    return [
        Confirmed(
            candidate,
            number,
            scores(number, "validation"),
            test[number],
            comparisons.get(str(number)),
            None,
            split,
            metrics(number, "test"),
            metrics(number, "validation"),
            _mean_weights([found[number, seed].get("final_weights", {}) for seed in seeds]),
            seeds,
        )
        if number in test
        else Confirmed(candidate, number, (), (), error=errors[number], split=split)
        for number, candidate in candidates
    ]


def winner(
    confirmed: Sequence[Confirmed], goals: Mapping[str, str] | None = None, guard: float | None = None
) -> Confirmed:
    """The best candidate on validation data, of those that ``guard`` allows there; the test split does not decide it.

    The first of ``confirmed`` is the baseline.
    """
    base = means(confirmed[0].validation_metrics)
    allowed = [confirmed[0]]
    allowed += [
        c for c in confirmed[1:] if c.error is None and allows(guard, means(c.validation_metrics), base, goals or {})
    ]
    return max(allowed, key=lambda c: fmean(c.validation))


def _mean_weights(weights: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean final weights over the seeds, of the losses that have one on each seed."""
    return {name: fmean(of[name] for of in weights) for name in weights[0] if all(name in of for of in weights)}


def _run_many(runner: FleetRunner, jobs: Sequence[tuple[int, Candidate, int]], directory: Path) -> None:
    """Train at once what no other worker trains and what is not done; half as many of those that died at once."""
    sizes: dict[int, list[tuple[int, Candidate, int]]] = {}
    for job in jobs:
        if (size := _at_once(confirmation(directory, *job), len(jobs))) > 1:
            sizes.setdefault(size, []).append(job)
    for size, alike in sorted(sizes.items(), reverse=True):
        for start in range(0, len(alike), size):
            _run_fleet(runner, alike[start : start + size], directory)


def _at_once(place: Path, most: int) -> int:
    """How many may run at once with the run of ``place``, itself included; 0 if it is done."""
    if (place / "confirmed.json").exists():
        return 0
    begun = read_json(place / "begun.json")
    if begun is None:
        return most
    return (int(begun["at_once"]) + 1) // 2 if isinstance(begun, dict) else 1


def _run_fleet(runner: FleetRunner, jobs: Sequence[tuple[int, Candidate, int]], directory: Path) -> None:
    with ExitStack() as around:
        tasks = []
        for number, candidate, seed in jobs:
            place = confirmation(directory, number, candidate, seed)
            if around.enter_context(lock(place / LOCK)) and not (place / "confirmed.json").exists():
                tasks.append(Task(candidate, seed, place, _silent, test=True))
        before = {task.directory: read_json(task.directory / "begun.json") for task in tasks}
        for place in before:
            write_json(place / "begun.json", {"at_once": len(tasks)})
        try:
            for i, found in runner.many(tasks) if tasks else ():
                if found is not None:
                    _write(found, tasks[i].directory)
                (tasks[i].directory / "begun.json").unlink()
        except BaseException:
            # It was stopped: no process died.
            for place, begun in before.items():
                (place / "begun.json").unlink(missing_ok=True)
                if begun is not None and not (place / "confirmed.json").exists():
                    write_json(place / "begun.json", begun)
            raise


def _run(runner: Runner, candidate: Candidate, seed: int, place: Path) -> None:
    """Train once, and write the result. The second time that its process dies meanwhile, that is the result."""
    begun = place / "begun.json"
    before = read_json(begun)
    deaths = before if isinstance(before, int) else 0  # of a fleet nobody knows whose death it was
    if deaths >= MOST_DEATHS:
        error = "A confirmation must end with a result, but its process died (it crashed or was killed), twice."
        write_json(place / "confirmed.json", {"error": error})
        return
    write_json(begun, deaths + 1)
    try:
        _train(runner, candidate, seed, place)
    except BaseException:
        # It was stopped: its process did not die.
        write_json(begun, deaths)
        raise
    begun.unlink()


def _train(runner: Runner, candidate: Candidate, seed: int, place: Path) -> None:
    found: Result | Exception
    try:
        found = runner(candidate, seed, place, _silent, test=True)
    except Exception as error:
        found = error
    _write(found, place)


def _write(result: Result | Exception, place: Path) -> None:
    if isinstance(result, Exception):
        if disk_error(result, place) is not None:
            raise result
        write_json(place / "confirmed.json", {"error": first_line(result)})
        return
    split = TEST if result.test_metrics else VALIDATION
    test = dict(result.test_metrics or result.metrics)
    bad = {name: value for of in (result.metrics, test) for name, value in of.items() if not isfinite(value)}
    if bad:
        write_json(place / "confirmed.json", {"error": "; ".join(f"{name} is {value}" for name, value in bad.items())})
        return
    found = {"validation": dict(result.metrics), "test": test, "split": split}
    write_json(place / "confirmed.json", {**found, "final_weights": dict(result.final_weights)})


def _silent(step: int, metrics: Mapping[str, float]) -> None:
    """A confirmation is never pruned."""


def _weighting(trial: FrozenTrial) -> str:
    return str(trial.user_attrs["candidate"]["weighting"]["name"])


def _candidate(trial: FrozenTrial) -> Candidate:
    plain = trial.user_attrs["candidate"]
    return Candidate(plain["weighting"], plain["losses"], plain["keys"])
