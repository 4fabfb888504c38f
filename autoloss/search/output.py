"""The files and words of a finished search: its leaderboard, its best candidate and its verdict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoloss._version import __version__
from autoloss.core.io.csv_cells import escaped
from autoloss.core.io.files import write_text
from autoloss.core.io.text_table import aligned, leaderboard, markdown, number, span
from autoloss.core.metrics.pareto import front, knee
from autoloss.report.decision import Decision
from autoloss.report.notebook import as_html
from autoloss.report.verdict import sentence
from autoloss.search.budget import counted
from autoloss.search.confirm import permitted, winner
from autoloss.search.dashboard import note
from autoloss.search.decision import decide
from autoloss.search.override_text import written
from autoloss.search.runner import NO_TEST, SCORE, TEST, VALIDATION, Confirmed
from autoloss.search.search_json import write_search_json
from autoloss.search.space import BASELINE, Candidate, name_and_numbers
from autoloss.search.tensorboard import write_tensorboard

TOP = 12
EQUAL = "equal weights"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished search: its trials, the confirmed candidates, and the verdict."""

    study: Study
    goals: Mapping[str, str]
    objectives: tuple[str, ...]
    confirmed: tuple[Confirmed, ...] = ()
    guard: float | None = None

    @property
    def best(self) -> Candidate:
        """The candidate to use: the decision's if candidates were confirmed, else the best trial, or the knee."""
        chosen = self.decision.trial
        if self.confirmed:
            return next(c.candidate for c in self.confirmed if c.trial == chosen)
        plain = next(t for t in self.ranked if t.number == chosen).user_attrs["candidate"]
        return Candidate(plain["weighting"], plain["losses"], plain["keys"])

    @property
    def decision(self) -> Decision:
        """What to use, and what it does to each metric; a trial must be complete."""
        if self.confirmed:
            return decide(self.confirmed, self.goals, {c.trial: self._name(c) for c in self.confirmed}, self.guard)
        best = permitted(self.ranked, self.goals, self.guard)[0]
        name, weights = str(best.user_attrs["label"]), best.user_attrs.get("final_weights", {})
        if best.user_attrs.get("baseline"):
            name = EQUAL
            said = f"Keep {EQUAL}: no other single run was better, and none was trained again on fresh seeds."
            if len(self.ranked) == 1:
                said = f"Keep {EQUAL}: no other run has finished."
        elif len(self.objectives) > 1:
            said = f"Not confirmed: {name} is the best compromise of single runs, so noise may have chosen it."
        else:
            score = number(best.user_attrs[SCORE], "+.2g")
            said = f"Not confirmed: {name} has the best single run (score {score}), so noise may have chosen it."
        return Decision(said, name, best.number, name == EQUAL, False, final_weights=weights)

    @property
    def ranked(self) -> list[FrozenTrial]:
        """The completed trials, best first; with several objectives the knee, then the rest of the front."""
        done = [t for t in counted(self.study) if t.state == TrialState.COMPLETE]
        if len(self.objectives) == 1:
            sign = -1.0 if self.study.direction.name == "MAXIMIZE" else 1.0
            return sorted(done, key=lambda t: (sign * float(t.value or 0.0), t.number))
        if not done:
            return []
        points = [list(t.values or ()) for t in done]
        goals = ["max" if d.name == "MAXIMIZE" else "min" for d in self.study.directions]
        on_front = front(points, goals)
        first = knee(points, goals)
        order = [first, *(i for i in on_front if i != first), *(i for i in range(len(done)) if i not in on_front)]
        return [done[i] for i in order]

    @property
    def verdict(self) -> list[str]:
        """The verdict: one sentence for each confirmed candidate, and one for the winner."""
        if not self.confirmed:
            return ["Nothing was confirmed on fresh seeds: above are single runs, so noise may decide their order."]
        lines = [
            sentence(self._name(c), c.comparison, self._name(self.confirmed[0]))
            for c in self.confirmed
            if c.comparison is not None
        ]
        best = winner(self.confirmed, self.goals, self.guard)
        if best.comparison is None:
            first = self._name(best)
            verb = "are" if first == EQUAL else "is"
            place = "best of the confirmed candidates on validation data"
            return [*lines, f"Verdict: {first} {verb} {place}; no other candidate helped."]
        return [
            *lines,
            f"Verdict: {self._name(best)} is best of the confirmed candidates on validation data; {self._where}: "
            f"{best.comparison.words}.{self._harm}",
        ]

    def __repr__(self) -> str:
        trials = f"{len(self.ranked)} trials, {max(0, len(self.confirmed) - 1)} confirmed on fresh seeds"
        return f"<Search: {trials}>\n{self.verdict[-1]}"

    def _repr_html_(self) -> str:
        header, *rows = self.table()
        tables = {"Trials": [dict(zip(header, row, strict=True)) for row in rows]}
        if self.confirmed:
            header, *rows = self._confirmed()
            confirmed = [dict(zip(header, row, strict=True)) for row in rows]
            tables = {f"Confirmed on fresh seeds ({self._data})": confirmed, **tables}
        *each, verdict = self.verdict
        return as_html("Search", [verdict, *each], tables)

    def table(self) -> list[list[str]]:
        """The best trials and the baseline, as a header and rows of text."""
        shown = self.ranked[:TOP]
        shown += [t for t in self.ranked[TOP:] if t.user_attrs.get("baseline")]
        header = ["rank", "trial", "candidate", SCORE, *self.goals, "sum of weights"]
        ranks = {t.number: rank for rank, t in enumerate(self.ranked, 1)}
        return [header, *([str(ranks[t.number]), str(t.number), *self._cells(t)] for t in shown)]

    def text(self) -> str:
        """The tables and the verdict, for a terminal."""
        parts = [leaderboard(self.table(), range(4, 4 + len(self.goals)), left=(2,))]
        if self.confirmed:
            parts += [f"\nconfirmed on fresh seeds (score relative to equal weights, {self._data}):"]
            parts += [aligned(self._confirmed(), left=(0,))]
        return "\n".join([*parts, "", *self._failed(), *self.verdict])

    def banner(self) -> str:
        """The decision, what happens to each metric, and the final weights, for the end of the output."""
        return self.decision.text

    def markdown(self) -> str:
        """The tables and the verdict as Markdown."""
        parts = [markdown(self.table())]
        if self.confirmed:
            parts += [
                "",
                f"Confirmed on fresh seeds (score over equal weights, {self._data}):",
                "",
                markdown(self._confirmed()),
            ]
        return "\n".join([*parts, "", *(f"- {line}" for line in [*self._failed(), *self.verdict])]) + "\n"

    def csv(self) -> str:
        """Every trial as CSV, with all digits; failed trials with their error."""
        out = io.StringIO()
        writer = csv.writer(out)
        goals = map(escaped, self.goals)
        writer.writerow(["trial", "state", "candidate", SCORE, *goals, "mean_weight_sum", "seconds", "error"])
        ranked = self.ranked
        for t in [*ranked, *(t for t in counted(self.study) if t.state != TrialState.COMPLETE)]:
            a = t.user_attrs
            metrics = [a.get("metrics", {}).get(name, "") for name in self.goals]
            row = [t.number, t.state.name.lower(), a.get("label", ""), a.get(SCORE, ""), *metrics]
            row += [a.get("mean_weight_sum", ""), a.get("seconds", ""), a.get("error", "")]
            writer.writerow(map(escaped, row))
        return out.getvalue()

    def write(self, directory: Path, settings: Sequence[str] = (), command: str = "") -> None:
        """Write ``leaderboard.csv``, ``leaderboard.md``, ``search.json``, and the run ``study`` for TensorBoard.

        ``command`` is what to type next.
        """
        write_text(directory / "leaderboard.csv", self.csv())
        write_text(directory / "leaderboard.md", self.markdown())
        decision = self.decision.plain() | {"command": command} if self.ranked else None
        write_search_json(
            directory, self.study, self.goals, self.objectives, self.confirmed, self.verdict, [*settings], decision
        )
        note(self.study, [self.decision.sentence, *self.verdict] if self.ranked else ["No trial finished."])
        write_tensorboard(directory, counted(self.study), self.markdown(), list(self.goals), self.confirmed)

    def best_yaml(self, settings: Sequence[str]) -> str:
        """The best candidate as a file for ``load=``: overrides, first the command's own ``settings``."""
        # A JSON string is a YAML string.
        lines = [f"  - {json.dumps(one)}" for one in [*settings, *overrides(self.best)]]
        head = f"# Written by `autoloss search` {__version__}; use it as: autoloss train load=THIS_FILE\noverrides:\n"
        return head + "\n".join(lines) + "\n"

    def _cells(self, trial: FrozenTrial) -> list[str]:
        a = trial.user_attrs
        metrics = [number(a["metrics"][name], ".4g") for name in self.goals]
        return [a["label"], number(a[SCORE], "+.4f"), *metrics, number(a["mean_weight_sum"], ".3g")]

    def _confirmed(self) -> list[list[str]]:
        scores = [VALIDATION, TEST] if self._tested else [VALIDATION]
        header = ["candidate", "seeds", *scores, "95 % interval of the difference", "p (Holm)", "verdict"]
        rows = []
        for c in sorted((c for c in self.confirmed if c.error is None), key=lambda c: -fmean(c.validation)):
            both = [number(fmean(of), "+.4f") for of in ((c.validation, c.test) if self._tested else (c.test,))]
            d = c.comparison
            more = ["", "", ""] if d is None else [span(d.low, d.high, "+.4f"), number(d.p_corrected, ".3g"), d.words]
            rows.append([self._name(c), str(len(c.test)), *both, *more])
        return [header, *rows]

    @property
    def _tested(self) -> bool:
        return all(c.split == TEST for c in self.confirmed)

    @property
    def _data(self) -> str:
        return "validation and test" if self._tested else NO_TEST

    @property
    def _where(self) -> str:
        """Which data the verdict compares."""
        return "on test data" if self._tested else f"on fresh seeds ({NO_TEST})"

    @property
    def _harm(self) -> str:
        """Names the metrics that the best candidate makes worse beyond their noise."""
        worse = [f"{one.metric} gets {one.text}" for one in self.decision.changes if one.words == "worse"]
        return f" But {', '.join(worse)}." if worse else ""

    def _failed(self) -> list[str]:
        failed = [t for t in counted(self.study) if t.state == TrialState.FAIL]
        lines = [f"failed: trial {t.number}: {t.user_attrs.get('error', 'unknown')}" for t in failed]
        return lines + [
            f"failed: confirming trial {c.trial}, {self._name(c)}: {c.error}" for c in self.confirmed if c.error
        ]

    def _name(self, confirmed: Confirmed) -> str:
        """The candidate's label; plain "equal weights" where there is only one with them."""
        equal = [c for c in self.confirmed if c.candidate.weighting["name"] == BASELINE]
        return EQUAL if equal == [confirmed] else confirmed.candidate.label


def overrides(candidate: Candidate) -> list[str]:
    """The candidate as overrides of the command line."""
    weighting = dict(candidate.weighting)
    lines = [f"weighting={weighting.pop('name')}"]
    for key, value in weighting.items():
        lines.append(f"weighting.{key}={written(value)}")
    for term, loss in candidate.losses.items():
        name, numbers = name_and_numbers(loss)
        lines += [f"losses.{term}={name}", *(f"losses.{term}.{key}={written(v)}" for key, v in numbers.items())]
    return [*lines, *(f"{key}={written(value)}" for key, value in candidate.keys.items())]
