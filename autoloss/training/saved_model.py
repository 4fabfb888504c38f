"""A trained model as one file: the network, the balancer, and what the problem needs to predict; no code is in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoloss._version import __version__
from autoloss.core.errors import AutolossError, ConfigError, first_line
from autoloss.core.io.files import MODEL, whole
from autoloss.core.problem import Problem
from autoloss.core.registry.import_paths import import_paths, texts_in
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named
from autoloss.training.balancer import Balancer
from autoloss.training.step.build import build
from autoloss.training.step.player import Player

FORMAT = 1
_NO_MODEL = "A finished search keeps one unless search.keep=false, and a finished run unless checkpoint.every=0."
_PARTS = ("problem", "losses", "balancer", "network", "balancer_state", "problem_state")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A trained model in eval mode.

    ``network`` is the problem's trained network (of a GAN the generator, or its moving average). ``balancer`` has the
    weights with which the training ended: ``balancer.weights``. ``problem`` holds no data if it saved what it needs to
    predict; the model of a function that :func:`autoloss.search` called has none.
    """

    network: nn.Module
    balancer: Balancer
    problem: Problem | None = None

    def predict(self, samples: Any) -> Any:
        """What the problem's ``predict`` gives for new ``samples``; no gradient is kept.

        Of a table: ``samples`` is the path of a CSV file, or a list of cells for each column by name. The result has a
        list for each target by name, and ``NAME_probability`` for classes.
        """
        if self.problem is None:
            raise ConfigError(
                "Predictions need a problem, but this is the model of your own training function, which has none. "
                "Call its network: model.network(samples)."
            )
        with torch.no_grad():
            return self.problem.predict(self.network, samples)


def save_model(
    file: Path,
    problem: Problem | None,
    network: nn.Module,
    player: Player,
    config: Mapping[str, Any],
    samples: int | None = None,
) -> None:
    """Write the model of a run of ``config`` to ``file`` in one step; ``samples`` is the number of training samples.

    Without a ``problem`` the model holds the network's parameters, and is loaded into a network that is given.
    """
    # A GAN's player also counts its steps, and a loss's learned numbers are of training alone: a balancer has neither.
    own = _on_cpu(player.state_dict()).items()
    state = {name: of for name, of in own if name != "_extra_state" and not name.startswith("numbers.")}
    balancer = {key: config[key] for key in ("weighting", "base", "groups", "unbalanced", "sample_weighting")}
    balancer |= {"constraints": config["constraints"]} if player.constraints is not None else {}
    content = {
        "format": FORMAT,
        "autoloss": __version__,
        "problem": None if problem is None else config["problem"],
        "losses": list(player.terms.names),
        "balancer": {**balancer, "samples": samples},
        "network": _on_cpu(network.state_dict()),
        "balancer_state": state,
        "problem_state": {} if problem is None else dict(problem.saved_state()),
    }
    with whole(file, "wb") as opened:
        torch.save(content, opened)


def load(directory: str | Path, trust: Sequence[str] = (), network: nn.Module | None = None) -> LoadedModel:
    """The model that a search kept, or ``autoloss train`` trained, in ``directory``; on the CPU, to predict.

    Args:
        directory: of the search or run; or the file ``model.pt`` itself.
        trust: import paths (``my_module:MyProblem``) that the model may import. The file may come from another person:
            it holds tensors and plain values only, and a component that is not registered is imported only if it is
            named here.
        network: the parameters are loaded into it. Needed for what :meth:`UserTrial.keep` has kept, since only your
            function knows how its network is built; else the problem builds it.

    Raises :class:`ConfigError` if there is no model, or it cannot be read or does not fit its problem.
    """
    file = Path(directory)
    file = file if file.is_file() else file / MODEL
    content = _read(file)
    for path in _import_paths(content["problem"], content["balancer"]):
        if path not in trust:
            raise ConfigError(
                f"A model must have registered components, but {str(file)!r} would import {path!r}. "
                f"If you trust it, name it: autoloss.load(..., trust=[{path!r}]), autoloss predict ... trust={path}."
            )
    problem = None if content["problem"] is None else _problem(content)
    balancer = Balancer(content["losses"], **dict(content["balancer"]))
    if network is None:
        if problem is None:
            raise ConfigError(
                f"The model of your own training function must be loaded into a network, but for {str(file)!r} none "
                "is given. Build it as the function does: autoloss.load(DIR, network=MyNetwork())."
            )
        network = problem.network()
    with _explained(file):
        network.load_state_dict(content["network"])
        balancer.player.load_state_dict(content["balancer_state"])
    return LoadedModel(network.eval(), balancer.eval(), problem)


def _problem(content: Mapping[str, Any]) -> Problem:
    """The problem of a saved model: from its saved state, or built anew from its parameters."""
    name, parameters = named("problem", content["problem"], "problem=tabular")
    if content["problem_state"]:
        restored: Problem = registry.load("problem", name).restored(content["problem_state"], parameters)
        return restored
    built: Problem = build("problem", {"name": name, **parameters})
    return built


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        place = file.parent.parent
        runs = sorted(one for one in place.glob("*") if (one / MODEL).is_file()) if place.is_dir() else []
        raise ConfigError(
            f"A model must lie in {MODEL}, but there is no file {str(file)!r}. "
            + (f"There is one in {str(runs[-1])!r}." if runs else _NO_MODEL)
        )
    with _explained(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not set(_PARTS) <= set(content):
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ConfigError(
            f"A model must be one that autoloss writes, of format {FORMAT}, but {str(file)!r} is {found}. "
            "Train it again with this version."
        )
    return content


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except AutolossError:
        raise
    except Exception as error:
        # Unknown bytes may raise any exception; torch then advises to load what is not safe.
        what = first_line(error).partition(". ")[0].rstrip(".:")
        raise ConfigError(
            f"A model must be complete, hold only tensors and plain values, and fit its problem, but {str(file)!r} "
            f"does not load: {what}. Use one that autoloss has written."
        ) from error


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.detach().cpu() if isinstance(one, torch.Tensor) else one for name, one in state.items()}


def _import_paths(problem: Any, balancer: Mapping[str, Any]) -> list[str]:
    """The import paths among the names of components: a problem's name, and every text in a weighting."""
    name = "" if problem is None else problem if isinstance(problem, str) else str(problem.get("name"))
    return import_paths([name, *texts_in([balancer[key] for key in ("weighting", "sample_weighting")])])
