"""Old places of modules: they still import in this version, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Where the modules of 0.1.0 went, below `autoloss.`.
PLACES = {
    "app.claimed": "app.run_lock",
    "app.obey": "app.stop_callback",
    "app.parts": "app.factories",
    "app.run": "app.train_one",
    "app.runner": "app.config_runner",
    "app.stopping": "app.signal_handlers",
    "app.trainer": "app.trainer_flags",
    "core.adam": "core.tensors.adam",
    "core.adversarial": "core.gan.adversarial_loss",
    "core.book": "training.record.buffer",
    "core.cadence": "training.record.cadence",
    "core.claim": "core.io.lock",
    "core.columns": "training.record.csv_file",
    "core.constants": "core.tensors.constants",
    "core.curves": "core.schedules.curves",
    "core.defaults": "core.registry.defaults",
    "core.draws": "core.tensors.draws",
    "core.files": "core.io.files",
    "core.gan_problem": "core.gan.gan_problem",
    "core.kinds": "core.registry.kinds",
    "core.notes": "training.step.notes",
    "core.notices": "core.tensors.deferred_checks",
    "core.pacing": "core.schedules.pacing",
    "core.parameters": "core.registry.parameters",
    "core.pareto": "core.metrics.pareto",
    "core.plateaus": "core.schedules.plateaus",
    "core.precision": "core.tensors.precision",
    "core.progressive": "core.schedules.progressive",
    "core.ranks": "core.tensors.ranks",
    "core.schedule": "core.schedules.schedule",
    "core.score": "core.metrics.score",
    "core.state": "core.tensors.state",
    "core.tables": "core.io.text_table",
    "core.uncompiled": "core.tensors.compile",
    "probe.taken": "probe.optimizer_step",
    "probe.ways": "probe.graph_walk",
    "search.alive": "search.heartbeat",
    "search.board": "search.tensorboard",
    "search.chronicle": "search.search_json",
    "search.progress": "search.trial_line",
    "training.ahead": "training.step.lookahead",
    "training.build": "training.step.build",
    "training.callbacks.checkpoints": "training.lightning.callbacks.checkpoints",
    "training.callbacks.progress": "training.lightning.callbacks.progress",
    "training.callbacks.record": "training.lightning.callbacks.record",
    "training.callbacks.report_metrics": "training.lightning.callbacks.report_metrics",
    "training.callbacks.sample_grid": "training.lightning.callbacks.sample_grid",
    "training.checkpoint_file": "training.lightning.shared.checkpoint_file",
    "training.difficulty": "training.lightning.curriculum.difficulty",
    "training.entries": "training.step.entries",
    "training.export": "training.record.export",
    "training.follows_plateaus": "training.lightning.shared.plateaus",
    "training.forked": "training.step.forked",
    "training.gan.checks": "training.lightning.gan.checks",
    "training.gan.collapse": "training.lightning.gan.collapse",
    "training.gan.evaluation": "training.lightning.gan.evaluation",
    "training.gan.moving_average": "training.lightning.gan.moving_average",
    "training.gan.pace": "training.lightning.gan.pace",
    "training.gan.role": "training.lightning.gan.player",
    "training.gan.sides": "training.lightning.gan.player_table",
    "training.heatmap": "training.record.heatmap",
    "training.journal": "training.record.run_directory",
    "training.late_journal": "training.record.lazy_start",
    "training.length": "training.lightning.shared.length",
    "training.loaders": "training.lightning.loaders",
    "training.metrics": "training.lightning.shared.metrics",
    "training.modules.curriculum": "training.lightning.curriculum.module",
    "training.modules.gan": "training.lightning.gan.module",
    "training.modules.multitask": "training.lightning.multitask",
    "training.paced": "training.lightning.curriculum.sampler",
    "training.penalties": "training.step.penalties",
    "training.player": "training.step.player",
    "training.recorder": "training.record.recorder",
    "training.rng": "training.lightning.shared.rng",
    "training.sample_weights": "training.step.sample_weights",
    "training.scaling": "training.lightning.shared.scaling",
    "training.side": "training.record.player_columns",
    "training.tensorboard": "training.record.tensorboard",
    "training.term_losses": "training.lightning.shared.term_losses",
    "training.watch": "training.step.nonfinite",
    "training.weigh": "training.step.weigh",
    "training.window": "training.step.window",
}


PACKAGES = ("training.modules", "training.gan", "training.callbacks")

# Names that went to another module than the rest, or are called otherwise now: old module, old name -> new place.
NAMES: dict[str, dict[str, str]] = {
    "app.claimed": {
        "CLAIM": "app.run_lock:LOCK_FILE",
        "claimed": "app.run_lock:run_lock",
        "emptied": "app.run_lock:exclusive_lock",
        "joined": "app.run_lock:shared_lock",
    },
    "app.obey": {"Obey": "app.stop_callback:StopCallback"},
    "core.book": {
        "LossBook": "training.record.buffer:RecordBuffer",
        "Page": "training.record.buffer:RecordedStep",
    },
    "core.claim": {"claim": "core.io.lock:lock"},
    "core.columns": {"Columns": "training.record.csv_file:CsvFile"},
    "core.notes": {"Noted": "training.step.notes:Notes"},
    "core.notices": {"Notices": "core.tensors.deferred_checks:DeferredChecks"},
    "probe.taken": {
        "Taken": "probe.optimizer_step:OptimizerStep",
        "watching": "probe.optimizer_step:observe_step",
    },
    "probe.ways": {
        "graph": "probe.graph_walk:nodes_of",
        "leaves": "probe.graph_walk:leaves_of",
        "source": "probe.graph_walk:before_ddp",
        "ways": "probe.graph_walk:outputs_reached",
    },
    "report": {"Record": "report.record:RunRecord"},
    "report.record": {"Part": "report.record:PlayerRecord", "Record": "report.record:RunRecord"},
    "training.ahead": {
        "Ahead": "training.step.lookahead:LookAhead",
        "lacking": "training.step.learns_after:incomplete_look_ahead",
    },
    "training.callbacks.record": {"Record": "training.lightning.callbacks.record:RecordCallback"},
    "training.journal": {"Journal": "training.record.run_directory:RunDirectory"},
    "training.late_journal": {"LateJournal": "training.record.lazy_start:LazyRunDirectory"},
    "training.side": {
        "Side": "training.record.player_columns:PlayerColumns",
        "shares": "training.record.column_kinds:shares",
    },
    "training.tensorboard": {"Board": "training.record.tensorboard:TensorBoardWriter"},
    "training.watch": {"Watch": "training.step.nonfinite:NonFiniteWatch"},
    "core.adversarial": {name: f"core.problem:{name}" for name in ("Verdict", "Inputs", "Layers")},
    "core.draws": {"generator": "core.tensors.draws:shared_generator"},
    "core.penalty": {"precise": "core.penalty:at_least_float32"},
    "core.registry": {
        name: f"core.registry.lookup:{name}"
        for name in ("registry", "Registry", "Listing", "imported", "class_name", "PACKAGE", "ORIGIN")
    },
    "training.gan.role": {
        "Role": "training.lightning.gan.player:PlayerOptions",
        "Seat": "training.lightning.gan.player:GanPlayer",
    },
    "training.gan.sides": {"side_table": "training.lightning.gan.player_table:player_table"},
    "search.alive": {
        "BEAT": "search.heartbeat:HEARTBEAT",
        "Watch": "search.heartbeat:WorkerWatch",
        "beating": "search.heartbeat:send_heartbeats",
        "me": "search.heartbeat:this_worker",
    },
    "search.board": {"write_board": "search.tensorboard:write_tensorboard"},
    "search.chronicle": {"write_chronicle": "search.search_json:write_search_json"},
    "search.progress": {"line": "search.trial_line:trial_line"},
}


def moved_name(module: str, name: str) -> Any:
    """What ``autoloss.module`` called ``name`` in 0.1.0; AttributeError if nothing."""
    if name == "__all__":
        found = vars(import_module(f"autoloss.{PLACES[module]}")) if module in PLACES else {}
        return [*NAMES.get(module, ()), *(one for one in found if not one.startswith("_") and one != "annotations")]
    place = NAMES.get(module, {}).get(name)
    if place is None and module in PLACES:
        place = f"{PLACES[module]}:{name}"
    if place is None or name.startswith("__"):
        raise AttributeError(f"module 'autoloss.{module}' has no attribute {name!r}")
    where, _, called = place.partition(":")
    found = getattr(import_module(f"autoloss.{where}"), called)
    warnings.warn(
        f"autoloss.{module}.{name} is now autoloss.{where}.{called}; the old name works until the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    return found


class _OldModule(Loader):
    """Makes the module of an old place, which looks up each name at its new one."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix("autoloss.")
        module.__dict__["__getattr__"] = partial(moved_name, old)


class MovedFinder(MetaPathFinder):
    """Finds the modules of 0.1.0 by their old places; it is asked only for what no other finder has."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of an old place, or ``None``."""
        old = fullname.removeprefix("autoloss.")
        if old == fullname or old not in (*PLACES, *PACKAGES):
            return None
        return ModuleSpec(fullname, _OldModule(), is_package=old in PACKAGES)


def install() -> None:
    """Let old places be imported; any number of times."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
