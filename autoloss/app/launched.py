"""A command that a launcher (``torchrun``, ``srun``) started in several processes at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from autoloss.app.composition import composed, shared_overrides
from autoloss.app.hydra_app import FAILED, USER_ERROR, config_dirs, split
from autoloss.app.ranks.environment import on_one_device
from autoloss.app.ranks.group import Group, join, leave
from autoloss.app.ranks.place import RankPlace
from autoloss.app.signal_handlers import SIGNALS
from autoloss.core.errors import AutolossError, ConfigError

PARTING = 30.0  # seconds in which the other processes must hear that the command ends
_MANY = ("trainer.devices=", "trainer.num_nodes=", "trainer.strategy=")


def run_at(place: RankPlace, verb: str, arguments: Sequence[str], run: Callable[[Sequence[str]], int]) -> int:
    """Run the verb in the first process alone; the others train with it. The exit code is the same in all.

    A command that trains on one device is run by every process for itself.
    """
    if not _together(place, verb, arguments):
        return run(arguments)
    if place.rank:
        from autoloss.app.follower import follow, quietly

        for number in SIGNALS:
            signal.signal(number, quietly)
        return follow(join(place))
    group = join(place)
    code = FAILED
    try:
        code = run(arguments)
        return code
    except AutolossError:
        code = USER_ERROR
        raise
    finally:
        group.publish({"end": code})
        _wait_for_others(group)
        leave()


def _together(place: RankPlace, verb: str, arguments: Sequence[str]) -> bool:
    """Whether the command trains on several devices, so that its processes are those of one training."""
    try:
        flags, overrides = split([one for one in arguments if one not in ("-m", "--multirun")])
        typed = [
            one for one in overrides if one.startswith("hydra.searchpath") or not one.startswith(("hydra.", "hydra/"))
        ]
        trainer = composed(verb, shared_overrides(typed), config_dirs(flags))["trainer"]
    except AutolossError:
        # The first process says what is wrong.
        return any(one.lstrip("+").startswith(_MANY) for one in arguments)
    if on_one_device(trainer) and place.by_torch:
        if place.rank:
            raise SystemExit(USER_ERROR)  # the first process says it
        raise ConfigError(
            f"torchrun started {place.size} processes, which must have a device each, but trainer.devices is 1. Set "
            f"trainer.devices to the number of processes on each node."
        )
    return not on_one_device(trainer)


def _wait_for_others(group: Group) -> None:
    """Until the others have heard that the command ends: the store ends with this process."""
    until = time.monotonic() + PARTING
    while not all(group.has_taken(rank) for rank in group.others) and time.monotonic() < until:
        time.sleep(0.02)
