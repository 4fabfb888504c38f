"""Tells Lightning where a process stands among those that train together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.utilities.rank_zero import rank_zero_only

from autoloss.app.ranks.group import joined
from autoloss.app.ranks.place import RankPlace

ALONE = RankPlace(rank=0, size=1, local_rank=0, node=0, address="127.0.0.1", port=0)


class RankEnvironment(ClusterEnvironment):
    """Lightning starts no processes and reads no environment variables: autoloss does both, for every verb.

    Lightning would start the command line again, which lacks the verb, chooses a directory of its own, and in a sweep
    runs the whole sweep.
    """

    def __init__(self) -> None:
        group = joined()
        self.place = ALONE if group is None else group.place
        self._address, self._port = (self.place.address, 0) if group is None else group.meeting
        self._size = self.place.size
        # Lightning takes it from variables such as SLURM_PROCID, also where each process trains for itself.
        rank_zero_only.rank = self.place.rank  # type: ignore[attr-defined]

    def meet(self, address: str, port: int) -> None:
        """Set where the process group meets."""
        self._address, self._port = address, port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self._address

    @property
    def main_port(self) -> int:
        self._port = self._port or find_free_network_port()
        return self._port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        self._size = size

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: a process has the rank that it was given."""

    def local_rank(self) -> int:
        return self.place.local_rank

    def node_rank(self) -> int:
        return self.place.node


def on_one_device(flags: Mapping[str, Any]) -> bool:
    """Whether the Trainer's ``flags`` ask for one device, without a strategy for several."""
    return str(flags.get("strategy", "auto")) in ("auto", "single_device") and flags.get("devices", 1) in (1, "1")
