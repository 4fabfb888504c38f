"""Errors, and functions that write their messages: what must hold, what was found, what to do.

Every error is an :class:`AutolossError` and also the built-in exception that a caller would expect to catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import ClassVar

from autoloss.core.passwords import without_passwords


class AutolossError(Exception):
    """Any error that autoloss raises for what it was given; ``exit_code`` is that of a command which it ends."""

    exit_code: ClassVar[int] = 2


class ConfigError(AutolossError, ValueError):
    """A parameter or configuration value that cannot be used."""


class DamagedError(ConfigError):
    """A file that autoloss wrote is not as it wrote it."""


class UnknownNameError(AutolossError, LookupError):
    """A name under which nothing is registered."""


class PluginError(AutolossError, ImportError):
    """A registered component that could not be loaded, or whose name is also another component's."""


class SignalError(AutolossError, RuntimeError):
    """A measurement that is needed and cannot be made (there is no anchor, or it was not declared)."""


class NonFiniteError(AutolossError, FloatingPointError):
    """A loss became NaN or infinite."""


class NonPositiveError(AutolossError, ValueError):
    """A loss is negative, and the weighting takes its logarithm or divides by it."""


class LabelError(AutolossError, ValueError):
    """A target (or prediction) with values that a loss cannot take: an unknown class, a negative count."""


class LoaderError(AutolossError, RuntimeError):
    """A process that loads data has died."""


class ExitError(AutolossError, RuntimeError):
    """Code that is trained called ``sys.exit``."""

    exit_code = 1  # a run that failed


class BusyError(AutolossError, BlockingIOError):
    """A directory that another process is using."""


class OccupiedError(ConfigError):
    """A directory that holds something else, which would be written over."""


class MetricError(AutolossError, FloatingPointError):
    """A metric is NaN or infinite at the end of a training: the run failed."""

    exit_code = 1


class DiskError(AutolossError, OSError):
    """A file that cannot be written or read: a full or read-only disk, a directory without permission."""

    exit_code = 1


class RankError(AutolossError, RuntimeError):
    """One of the processes that train together ended before the training did, or never started."""

    exit_code = 1


class EmptySelectionWarning(UserWarning):
    """A loss had no samples or pairs in a batch, and is 0 there."""


class ConstraintWarning(UserWarning):
    """A bound of ``constraints`` is not met, however large its multiplier has become."""


class CollapseWarning(UserWarning):
    """The discriminator of a GAN is always right: the generator learns nothing from it."""


def first_line(error: BaseException) -> str:
    """The error in one line: an :class:`AutolossError` as it is, any other error with its type.

    For an error in a process that loads data this is the last line of torch's message, where the error itself is.

    >>> first_line(OSError("disk on fire"))
    'OSError: disk on fire'
    """
    lines = without_passwords(str(error)).strip().splitlines() or [""]
    if isinstance(error, AutolossError):
        return lines[0]
    if lines[0].startswith("Caught ") and len(lines) > 1:
        return f"{lines[-1]} ({lines[0].partition(' in ')[2].rstrip('.')})"
    return f"{type(error).__name__}: {lines[0]}"


def require(holds: bool, rule: str, found: str, advice: str = "") -> None:
    """Raise :class:`ConfigError` ``<rule>, but <found>. <advice>`` unless ``holds``.

    >>> require(0 <= 0.5 < 1, "`decay` must lie in [0, 1)", "decay=0.5")
    """
    if not holds:
        raise ConfigError(f"{rule}, but {found}." + (f" {advice}" if advice else ""))


def check_known(what: str, given: Iterable[str], options: Collection[str]) -> None:
    """Raise :class:`UnknownNameError` unless each of the ``given`` names is among the ``options`` for a ``what``."""
    for name in given:
        if name not in options:
            raise unknown(what, name, options)


def unknown(what: str, name: object, options: Iterable[str]) -> UnknownNameError:
    """The error for a misspelt name, with the nearest one or all of them.

    >>> unknown("weighting", "gradnrom", ["gradnorm", "equal"]).args[0]
    "No weighting is called 'gradnrom'. Did you mean 'gradnorm'?"
    """
    listed, name = sorted(options), str(name)
    # People often type the last part of a dotted key only.
    ends = [option for option in listed if option.endswith(f".{name}")]
    close = ends if len(ends) == 1 else difflib.get_close_matches(name, listed, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(listed) or 'none'}."
    return UnknownNameError(f"No {what} is called {name!r}. {hint}")
