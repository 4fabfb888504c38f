"""Where a process stands among those that train together."""

from __future__ import annotations

import os
from dataclasses import dataclass

INTERACTIVE = ("bash", "interactive")  # names of Slurm jobs whose commands are typed one by one


@dataclass(frozen=True, slots=True)
class RankPlace:
    """The ``rank`` of this process among ``size``, and the ``address`` and ``port`` of the store that they share.

    The first process holds the store, unless the launcher does (``hosted``). ``by_torch`` says that the variables are
    those of ``torchrun``, which starts processes for one training only; ``srun`` starts any.
    """

    rank: int
    size: int
    local_rank: int
    node: int
    address: str
    port: int
    hosted: bool = False
    by_torch: bool = False


def given() -> RankPlace | None:
    """The place that a launcher (``torchrun``, ``srun``) gave this process; ``None`` if it started one process."""
    found = _of_torch() or _of_slurm()
    return found if found is not None and found.size > 1 else None


def _of_torch() -> RankPlace | None:
    env = os.environ
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        return None
    return RankPlace(
        rank=int(env["RANK"]),
        size=int(env["WORLD_SIZE"]),
        local_rank=int(env.get("LOCAL_RANK", env["RANK"])),
        node=int(env.get("GROUP_RANK", 0)),
        address=env["MASTER_ADDR"],
        port=int(env["MASTER_PORT"]),
        hosted=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        by_torch=True,
    )


def _of_slurm() -> RankPlace | None:
    env = os.environ
    if not {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"} <= env.keys() or env.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    return RankPlace(
        rank=int(env["SLURM_PROCID"]),
        size=int(env["SLURM_NTASKS"]),
        local_rank=int(env["SLURM_LOCALID"]),
        node=int(env.get("SLURM_NODEID", 0)),
        address=env.get("MASTER_ADDR") or _first_node(),
        port=int(env.get("MASTER_PORT") or 15000 + int(env.get("SLURM_JOB_ID", "0")[-4:])),
    )


def _first_node() -> str:
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    names = ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST")
    nodes = next((os.environ[name] for name in names if name in os.environ), "127.0.0.1")
    return SLURMEnvironment.resolve_root_node_address(nodes)
