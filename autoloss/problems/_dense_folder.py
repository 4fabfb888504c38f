"""Dense data in a folder of arrays, as LibMTL has NYUv2 and Cityscapes.

``DIR/train/image/0.npy`` [H, W, 3] in [0, 1], and beside it ``label`` [H, W] (below 0: unknown), ``depth`` [H, W, 1]
(0: unknown) and ``normal`` [H, W, 3] (all 0: unknown), those that there are; ``DIR/val`` and, if there is one,
``DIR/test`` in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from autoloss.core.errors import ConfigError, require
from autoloss.problems._dense_network import STRIDE

FOLDERS = {"segmentation": "label", "depth": "depth", "normals": "normal"}
SMALL_SHARE = 0.01  # a class with fewer of the training pixels counts as small
SAMPLED = 16  # files from which a typical depth is taken


class ArrayFolder(Dataset[Mapping[str, Tensor]]):
    """The samples of one split, each read when it is asked for.

    ``image`` is [3, H, W], ``segmentation`` [H, W], ``depth`` [1, H, W] and ``normals`` [3, H, W].
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tasks = tuple(task for task, folder in FOLDERS.items() if (place / folder).is_dir())
        self.size = len(list((place / "image").glob("*.npy")))
        require(self.size > 0, f"{str(place / 'image')!r} must hold pictures 0.npy, 1.npy, ...", "it holds none")
        require(
            len(self.tasks) > 0,
            f"{str(place)!r} must hold one of {', '.join(FOLDERS.values())}",
            "it holds none of them",
        )
        for folder in ("image", *(FOLDERS[task] for task in self.tasks)):
            missing = [k for k in range(self.size) if not (place / folder / f"{k}.npy").is_file()]
            require(
                not missing,
                f"{str(place / folder)!r} must hold the files 0.npy to {self.size - 1}.npy",
                f"{missing[0]}.npy is missing" if missing else "",
            )
        shape = self.array("image", 0).shape
        good = len(shape) == 3 and shape[2] == 3 and not shape[0] % STRIDE and not shape[1] % STRIDE
        require(good, f"Pictures must be [H, W, 3], their sides multiples of {STRIDE}", f"they are {list(shape)}")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Mapping[str, Tensor]:
        found = {"image": self._planes("image", index), "index": torch.tensor(index)}
        for task in self.tasks:
            found[task] = self._planes(FOLDERS[task], index)
        if "segmentation" in found:
            found["segmentation"] = found["segmentation"].squeeze(0).long()
        return found

    def array(self, folder: str, index: int) -> np.ndarray:
        """The array in ``folder`` with the number ``index``."""
        path = self.place / folder / f"{index}.npy"
        try:
            return np.asarray(np.load(path, mmap_mode="r"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{str(path)!r} must be a NumPy array, but it cannot be read: {error}.") from error

    def pixels(self) -> Tensor:
        """How many pixels each class has, [C]."""
        total = torch.zeros(0, dtype=torch.int64)
        for index in range(self.size):
            labels = torch.from_numpy(np.array(self.array("label", index))).long().flatten()
            counts = labels[labels >= 0].bincount(minlength=len(total))
            total = counts + torch.cat([total, total.new_zeros(len(counts) - len(total))])
        return total

    def typical_depth(self) -> float:
        """The mean of the known depths of the first pictures."""
        depths = np.concatenate([self.array("depth", k).ravel() for k in range(min(SAMPLED, self.size))])
        known = depths[np.isfinite(depths) & (depths != 0)]
        return float(known.mean()) if len(known) else 1.0

    def _planes(self, folder: str, index: int) -> Tensor:
        array = torch.from_numpy(np.array(self.array(folder, index), dtype=np.float32))
        return array.unsqueeze(0) if array.dim() == 2 else array.movedim(2, 0).contiguous()


def splits(directory: str) -> dict[str, ArrayFolder]:
    """``train``, ``val`` and, if there is one, ``test`` of ``directory``; they must have the same targets."""
    place = Path(directory).expanduser()
    missing = [name for name in ("train", "val") if not (place / name / "image").is_dir()]
    require(
        not missing,
        "`data` must name a directory with the folders train/image and val/image",
        f"{str(place)!r} has no {missing[0]}/image" if missing else "",
    )
    names = [name for name in ("train", "val", "test") if (place / name / "image").is_dir()]
    found = {name: ArrayFolder(place / name) for name in names}
    for name, split in found.items():
        require(
            split.tasks == found["train"].tasks,
            "All splits must have the same targets",
            f"train has {', '.join(found['train'].tasks)}, and {name} has {', '.join(split.tasks)}",
        )
    return found
