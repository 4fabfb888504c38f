"""Composes configurations; an error says in one sentence why one cannot be composed."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict

from autoloss.app.config_source import component_node, conf_dir, register
from autoloss.app.config_types import check_types
from autoloss.app.config_values import Chosen, with_values
from autoloss.app.current_config import current
from autoloss.app.overrides import parse
from autoloss.app.parse_errors import parse_error
from autoloss.app.unknown_keys import loss_without_term, other_shape, unknown_key
from autoloss.core.errors import AutolossError, ConfigError, UnknownNameError, first_line, unknown
from autoloss.core.io.override_key import key_of
from autoloss.core.registry.defaults import attribute
from autoloss.core.registry.lookup import registry
from autoloss.core.schedules.pacing import PACINGS
from autoloss.core.schedules.schedule import SCHEDULES

# Hydra 1.4 deprecates version_base, 1.3 needs it.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
_CHOICE = re.compile(r"\+?(problem|experiment)=[^,]*$")
_LOSS = re.compile(r"\+?loss@losses\.(\w+)=")
_LOSS_PARAMETER = re.compile(r"losses\.(\w+)\.")
_LAST = ("experiment", "debug")  # files of these groups are merged after everything else
_ABOUT_LOSS = re.compile(r"(loss@)?(discriminator\.)?losses\.")


def composed(
    verb: str, overrides: Sequence[str], config_dirs: Sequence[str] = (), chosen: Chosen | None = None
) -> dict[str, Any]:
    """The configuration of ``verb`` with ``overrides``, as plain values of the right types.

    ``chosen`` keeps compositions between calls: who composes many configurations that differ in values gives all calls
    the same one. Raises :class:`UnknownNameError` or :class:`ConfigError`, one sentence each.
    """
    found = unchecked(verb, overrides, config_dirs, chosen)
    check_types(current(found))
    return found


def unchecked(
    verb: str, overrides: Sequence[str], config_dirs: Sequence[str] = (), chosen: Chosen | None = None
) -> dict[str, Any]:
    """As :func:`composed`, with values of any type."""
    overrides = allow_new_terms(overrides, config_dirs)

    def whole(overrides: Sequence[str]) -> DictConfig:
        with _initialised(verb, config_dirs) as extra:
            return compose(verb, overrides=[*extra, *overrides])

    try:
        config = whole(overrides) if chosen is None else with_values(whole, overrides, chosen)
        missing = sorted(str(key) for key in OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError("\n".join(f"{key} must be given, but it is not. Write {key}=..." for key in missing))
        plain = OmegaConf.to_container(config, resolve=True)
    except AutolossError:
        raise
    except Exception as error:
        # Hydra raises other errors than its own if the value of a group is a list, a number or a very long text.
        with _initialised(verb, config_dirs):
            raise _explained(verb, list(overrides), error) from error
    assert isinstance(plain, dict)
    if isinstance(one := plain.get("losses"), str):
        with _initialised(verb, config_dirs):
            raise loss_without_term(verb, overrides, f"losses={one}")
    for group in {"experiment", "debug"} & set(plain):
        keys = ", ".join(map(str, plain[group] or ()))
        raise ConfigError(
            f"A file of the group {group} must begin with `# @package _global_`, but this one does not, so that "
            f"its keys ({keys}) have no effect. Write that as its first line."
        )
    return own_parameters(verb, {str(key): value for key, value in plain.items()}, overrides, config_dirs)


def own_parameters(
    verb: str, config: dict[str, Any], overrides: Sequence[str], config_dirs: Sequence[str] = ()
) -> dict[str, Any]:
    """``config`` in which the weighting and each loss have parameters of their own alone.

    Hydra merges an experiment last. So what it chooses by ``name`` would take the place of what ``overrides`` choose,
    its parameters would be given to another component, and its loss would have those of the problem's loss.
    """
    if not set(_LAST) & {key_of(override) for override in overrides}:
        return config
    return _own_weighting(verb, _own_losses(verb, config, overrides, config_dirs), overrides, config_dirs)


def _own_losses(
    verb: str, config: dict[str, Any], overrides: Sequence[str], config_dirs: Sequence[str]
) -> dict[str, Any]:
    pairs = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    typed = dict(pairs)
    chosen = {key.partition("@")[2]: name for key, name in pairs if key.startswith("loss@")}
    others = [o for o, (key, _) in zip(overrides, pairs, strict=True) if not _ABOUT_LOSS.match(key)]
    with _initialised(verb, config_dirs) as extra:
        whole = compose(verb, overrides=[*extra, *others], return_hydra_config=True)

    def own(key: str, loss: Any) -> Any:
        before = whole.hydra.runtime.choices.get(f"loss@{key}")
        kept = {name: x for name, x in loss.items() if f"{key}.{name}" in typed}
        if key in chosen and OmegaConf.select(whole, f"{key}.name") != chosen[key]:
            return {**component_node("loss", chosen[key]), **kept}
        if key in chosen or before in (None, loss["name"]):
            return loss
        left = set(component_node("loss", before)) - set(component_node("loss", loss["name"])) - set(kept)
        return {name: x for name, x in loss.items() if name not in left}

    def each(place: str, losses: Mapping[str, Any]) -> dict[str, Any]:
        known = [term for term, loss in losses.items() if "name" in loss]
        for term in losses:
            if term not in known:
                raise unknown("loss", term, known)
        return {term: own(f"{place}.{term}", loss) for term, loss in losses.items()}

    found = {**config, "losses": each("losses", config["losses"])}
    if other := config.get("discriminator"):
        found["discriminator"] = {**other, "losses": each("discriminator.losses", other.get("losses", {}))}
    return found


def _own_weighting(
    verb: str, config: dict[str, Any], overrides: Sequence[str], config_dirs: Sequence[str]
) -> dict[str, Any]:
    keys = [key_of(override) for override in overrides]
    if "weighting" not in keys:
        return config
    pairs = list(zip(keys, overrides, strict=True))
    chosen = [override.partition("=")[2] for key, override in pairs if key == "weighting"][-1]
    rest = [override for key, override in pairs if key.partition(".")[0] != "weighting"]
    own = [override for key, override in pairs if key.partition(".")[0] == "weighting"]
    with _initialised(verb, config_dirs) as extra:
        if compose(verb, overrides=[*extra, *rest]).weighting.name == chosen:
            return config
        alone: Any = compose(verb, overrides=[*extra, f"seed={config['seed']}", *own]).weighting
        return {**config, "weighting": OmegaConf.to_container(alone, resolve=True)}


def allow_new_terms(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[str]:
    """``overrides`` with the ``+`` and ``++`` that Hydra needs if the problem takes its terms from its data.

    Hydra overrides only what is in the defaults list: the terms that the class of a problem names. If the class names
    none, the losses are added instead (the last override of each term). A wrong term is found when the problem is
    built.
    """
    chosen = {match[1]: override for override in overrides if (match := _LOSS.match(override))}
    if not chosen and not any(_LOSS_PARAMETER.match(override) for override in overrides):
        return list(overrides)
    if any(override.lstrip("+").partition("=")[0] in _LAST for override in overrides):
        # It may have chosen another loss by its name: whether that has the parameter is checked when it is built.
        overrides = [f"++{o}" if (m := _LOSS_PARAMETER.match(o)) and m[1] not in chosen else o for o in overrides]
    if _terms_in_class(tuple(o for o in overrides if _CHOICE.match(o)), tuple(config_dirs)):
        return list(overrides)
    others = [override for override in overrides if not _LOSS.match(override)]
    parameters = [match is not None and match[1] not in chosen for match in map(_LOSS_PARAMETER.match, others)]
    return [
        *(f"+{override.lstrip('+')}" for override in chosen.values()),
        *(f"++{override}" if new else override for override, new in zip(others, parameters, strict=True)),
    ]


def added_dirs(hydra: Any) -> list[str]:
    """The directories of configuration files that the command line of this run of Hydra has added."""
    sources = hydra.runtime.config_sources
    return [source.path for source in sources if source.provider == "command-line" and source.schema == "file"]


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each run of a sweep over ``overrides``."""
    try:
        batches = BasicSweeper.split_arguments(parse(overrides), max_batch_size=None)
    except HydraException as error:
        raise _explained("train", list(overrides), error) from error
    return [list(job) for batch in batches for job in batch]


def hydra_value(
    verb: str, overrides: Sequence[str], config_dirs: Sequence[str], key: str, number: int | None = None
) -> str:
    """The value that Hydra's own ``key`` has with ``overrides``; in a sweep, in its job ``number``."""
    before = HydraConfig.instance().cfg
    with _initialised(verb, config_dirs) as extra:
        try:
            whole = [*extra, *allow_new_terms(overrides, config_dirs)]
            config = compose(verb, overrides=whole, return_hydra_config=True)
            with open_dict(config):
                config.hydra.job.update({} if number is None else {"num": number, "id": f"job_id_for_{number}"})
            HydraConfig.instance().set_config(config)
            return str(OmegaConf.select(config, key))
        except Exception as error:
            raise _explained(verb, list(overrides), error) from error
        finally:
            HydraConfig.instance().cfg = before


def shared_overrides(overrides: Sequence[str]) -> list[str]:
    """The ``overrides`` that all runs of a sweep share."""
    return [str(o.input_line) for o in parsed(overrides) if not o.is_sweep_override()]


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Parse ``overrides``; :class:`ConfigError` if one is not in Hydra's grammar."""
    try:
        return parse(overrides)
    except HydraException as error:
        raise _explained("train", list(overrides), error) from error


@lru_cache(maxsize=16)
def _terms_in_class(choices: tuple[str, ...], config_dirs: tuple[str, ...]) -> bool:
    with _initialised("train", config_dirs) as extra:
        try:
            config = compose("train", overrides=[*extra, *choices])
        except Exception:
            # The caller composes all overrides next, and then raises the error.
            return True
    return bool(attribute(registry.find("problem", config.problem.name), "terms", {}))


@contextmanager
def _initialised(verb: str, config_dirs: Sequence[str]) -> Iterator[list[str]]:
    """Initialise Hydra for :func:`compose`; yields the overrides that add ``config_dirs``."""
    register()
    paths = ",".join(f"file://{Path(directory).resolve()}" for directory in config_dirs)
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name=verb, **VERSION_BASE):
            yield [f"hydra.searchpath=[{paths}]"] if paths else []
    finally:
        GlobalHydra.instance().hydra = before


def _explained(verb: str, overrides: list[str], error: Exception) -> ConfigError | UnknownNameError:
    text = str(error)
    if match := re.search(r"Could not find '([^']*)'\n\nAvailable options in '([^']*)':\n((?:\t.*\n?)*)", text):
        group = match[2].partition("@")[0]
        return unknown(group.replace("/", "."), match[1].removeprefix(f"{match[2]}/"), match[3].split())
    if match := re.search(r"Could not override '(?:\w+@)?([^']+)'", text):
        return unknown_key(verb, overrides, match[1])
    if match := re.search(r"Unknown function '(\w+)'", text):
        found = unknown("function", match[1], {**SCHEDULES, **PACINGS})
        return found if "Did you mean" in str(found) else UnknownNameError(f"{found} Put a text with () in quotes.")
    if match := re.search(r"Ambiguous value for argument '(.*)'", text):
        return ConfigError(
            f"One run must have one value for each key, but {match[1]!r} has several. Add -m for a sweep."
        )
    if match := re.search(r"Error merging override \+*([\w.]+)=(.*)", text):
        return other_shape(verb, overrides, match[1], match[2])
    if isinstance(error, OverrideParseException):
        return parse_error(error.override, error.message)
    keyless = next((override for override in overrides if not key_of(override)), None)
    if keyless is not None:
        return parse_error(keyless, text)
    first = " ".join(line.strip() for line in text.splitlines() if line.strip()).rstrip(".")
    return ConfigError(f"The configuration must compose, but it does not: {first or _cause(error)}.")


def _cause(error: BaseException) -> str:
    """What is behind an ``error`` without words: the first that has some, or else its type and place."""
    behind = error.__cause__ or error.__context__
    while behind is not None:
        if str(behind).strip():
            return first_line(behind).rstrip(".")
        behind = behind.__cause__ or behind.__context__
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(at.filename).name}, line {at.lineno}"
