"""Names of the directories of all verbs, from what was typed; how a name is written is in `core/io/names`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from autoloss.app.overrides import ungrouped
from autoloss.core.io.names import checked_name, digest, distinct, made_name
from autoloss.core.io.override_key import key_of

# Keys that do not belong in the name of what they are typed for, unless they differ between its runs.
_UNNAMED = ("name", "ckpt", "fresh", "test", "workers", "threads", "hydra", "load")
_VALUE_ALONE = ("weighting", "problem")
_ORDER = {"problem": 0, "weighting": 1, "seed": 3}  # of the keys in a job's name; all others lie between
_RUN = "run"  # the name of a job of which nothing differs


def run_name(problem: str, overrides: Sequence[str], unnamed: Sequence[str] = ()) -> str:
    """A directory's name from the problem and the overrides: no ``=``, no time stamp.

    >>> run_name("two_digits", ["weighting=gradnorm", "weighting.alpha=1", "seed=0,1"])
    'two_digits-gradnorm-weighting.alpha_1-seed_0_1'
    """
    parts = [problem]
    for override in overrides:
        key = _key(override)
        if re.split(r"[./]", key)[0] not in _UNNAMED and key not in ("problem", *unnamed):
            parts.append(_part(override))
    return made_name(parts)


def directory_name(
    configs: Sequence[Mapping[str, Any]], overrides: Sequence[str], unnamed: Sequence[str] = (), prefix: str = ""
) -> str:
    """The name of the directory of the runs with ``configs``: the user's ``name``, or one made from their overrides.

    It begins with the ``prefix``, or else with the problems.
    """
    names = list(dict.fromkeys(str(config["name"] or "") for config in configs))
    if names != [""]:
        checked = [checked_name(name) for name in names if name]
        return checked[0] if len(checked) == 1 else made_name([",".join(checked)])
    problems = dict.fromkeys(str(config["problem"]["name"]) for config in configs)
    return run_name(prefix or ",".join(problems), overrides, unnamed)


def job_names(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The names of the directories of jobs, each given by the overrides that differ between them.

    Only if two of the names were the same, each has a digest of its overrides too.

    >>> job_names([["problem=tabular", "seed=0"], ["problem=tabular", "seed=1"]])
    ['tabular-seed_0', 'tabular-seed_1']
    >>> job_names([["base.a=[b,c]"], ["base.a=b_c"]])
    ['base.a_b_c-2b90004d', 'base.a_b_c-6587e5d4']
    """
    exact = clash(jobs)
    return [job_name(job, exact) for job in jobs]


def clash(jobs: Sequence[Sequence[str]]) -> bool:
    """Whether two of ``jobs``, as in :func:`job_names`, need a digest to have different names."""
    return not distinct([_parts(job) for job in jobs])


def job_name(overrides: Sequence[str], exact: bool = False) -> str:
    """The name of one job's directory from the ``overrides`` that differ; with ``exact`` it has a digest of them."""
    parts = _parts(overrides)
    name = made_name(parts).strip("-") or _RUN
    return f"{name}-{digest(parts)}" if exact else name


def in_order(overrides: Sequence[str]) -> list[str]:
    """``overrides`` in the order in which a job's name has them: the problem, the weighting, ..., the seed."""
    return sorted(overrides, key=lambda override: _ORDER.get(_key(override), 2))


def _parts(overrides: Sequence[str]) -> list[str]:
    return ["", *map(_part, overrides)]  # the first part is where the name of a single run has its problem


def _part(override: str) -> str:
    key, value = _key(override), override.partition("=")[2]
    return value if key in _VALUE_ALONE else f"{key}_{value}"


def _key(override: str) -> str:
    return ungrouped(key_of(override))
