"""One run of ``autoloss train`` as Hydra starts it: what it trains, and what its directory holds of it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from autoloss.app.composition import added_dirs, own_parameters
from autoloss.app.current_config import current
from autoloss.app.directories import CHECKPOINT, checkpoint_of, finished
from autoloss.core.io.files import MODEL, read_json, write_json
from autoloss.core.registry.parameters import wrappers_of


@dataclass(frozen=True, slots=True)
class TrainJob:
    """A run: its whole configuration, its directory, its overrides, and whether it is one of a sweep."""

    config: dict[str, Any]
    directory: Path
    overrides: list[str]
    swept: bool
    title: str

    @staticmethod
    def read(config: DictConfig, jobs: int = 0) -> TrainJob:
        """The run that Hydra has set up in this process; ``jobs``: how many the sweep has, 0 if that is not known."""
        context = HydraConfig.get()
        directory = Path(context.runtime.output_dir)
        swept = context.mode == RunMode.MULTIRUN
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        overrides = [str(o) for o in context.overrides.task]
        plain = own_parameters("train", plain, overrides, added_dirs(context))
        count = f"[{int(context.job.num) + 1}/{jobs}] " if swept and jobs else ""
        title = f"{count}{directory.name}" if swept else _title(plain["weighting"])
        return TrainJob(plain, directory, overrides, swept, title)

    def finished(self) -> dict[str, Any] | None:
        """The summary of this run if a sweep has trained it before, and is not to start anew."""
        return finished(self.directory, self.config) if self.swept and not self.config["fresh"] else None

    def checkpoint(self) -> Path | None:
        """The checkpoint from which it goes on."""
        last, asked = self.directory / CHECKPOINT, self.config["ckpt"]
        if asked not in (None, "last"):
            return checkpoint_of(str(asked))
        resumes = asked == "last"
        if self.swept and not resumes and not self.config["fresh"]:
            # A sweep goes on by itself with a run of the same configuration.
            before = read_json(self.directory / "config.json")
            resumes = before is not None and current(before) == current(self.config)
        return last if resumes and last.exists() else None

    def begin(self, goes_on: bool = False) -> None:
        """Write its configuration, and remove the results of an earlier run."""
        stale = ["summary.json", "failed.json"]
        if not goes_on:
            # The checkpoint of another configuration: if this run were killed before its first checkpoint, the next
            # start would go on from this one.
            stale += [str(CHECKPOINT), str(MODEL)]
        for name in stale:
            (self.directory / name).unlink(missing_ok=True)
        write_json(self.directory / "config.json", self.config)


def _title(weighting: Mapping[str, Any]) -> str:
    """The weighting's name, and those of its wrappers."""
    return " ".join([weighting["name"], *(name for name, _ in wrappers_of(weighting.get("wrap") or ()))])
