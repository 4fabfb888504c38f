"""Rooms with solids: four dense tasks of unlike loss, drawn at run time; or NYUv2 and Cityscapes from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoloss.core.errors import require
from autoloss.core.problem import Outputs, Pictures, Problem, Term
from autoloss.problems import _dense_folder, _dense_metrics, _dense_pictures, _rooms
from autoloss.problems._dense_network import STRIDE, DenseNetwork, rare
from autoloss.problems._tensors import Batch, TensorTable

LOSSES: Mapping[str, str] = {
    "segmentation": "cross_entropy",
    "depth": "mae",
    "normals": "cosine",
    "centres": "focal",
}
UNKNOWN = -1  # the label of a pixel without a class
TYPICAL_DEPTH = 4.0
CENTRE_SHARE = 0.01  # about the share of pixels that belong to a centre
SHOWN = 4  # samples in the pictures
OTHERS = {"val": 10_000_019, "test": 10_000_079}  # seeds of the rooms that all runs are measured on


class Scenes(Problem):
    """Sees a room: the class, depth and normal of each pixel, and the centres of the things that stand in it.

    Boxes, spheres and cylinders of many sizes stand on a chequered ground before a wall, under one lamp, with noise.
    They are drawn from the run's seed (validation and test rooms are always the same), and rays are cast for the exact
    depth, normal and class of each pixel. Of the eight classes three are small things (die, ball, peg): 0.3 to 0.5 %
    of the pixels each, in bright colours of their own. Plain cross-entropy finds them late: raise their
    ``class_weights``. Losses: ``segmentation`` (classes), ``depth`` (metres), ``normals`` (directions in the camera's
    axes) and ``centres`` (a heat map). The network is a small U-Net, whose last features are the anchor.

    Metrics are those of the tables for NYUv2, over all pixels of a split: mean intersection over union, pixel accuracy,
    absolute and relative error of the depth, mean and median angle (degrees) between normals, and the share within
    11.25 degrees. ``small_iou`` is the mean intersection over union of the small classes alone, and ``centre_f1`` the
    F1 score of the centres; ``small_error`` and ``centre_error`` are 1 minus these, and count where runs are compared.

    With ``data`` the samples are arrays in LibMTL's folders: ``DIR/train/image/0.npy`` [H, W, 3] in [0, 1], beside it
    ``label`` [H, W], ``depth`` [H, W, 1] and ``normal`` [H, W, 3], those that there are (Cityscapes has no normals);
    the same in ``DIR/val``. A loss without a folder is left out. Pixels with a label of -1, a depth of 0 or a normal of
    0 are unknown; another segmentation loss than the default then needs ``losses.segmentation.ignore_index=-1``.
    Classes with less than 1 % of the training pixels are the small ones.

    Args:
        rooms: training rooms, at least 8; validation and test have a quarter as many. Not for ``data``.
        side: the pictures' width and height, a multiple of 8. Not for ``data``.
        data: a directory of arrays; rooms are drawn if there is none.
    """

    recipe = {"optimizer": {"lr": 0.003}, "batch_size": 8, "threads": 2, "trainer": {"max_epochs": 20}}
    use = "Dense tasks of unlike loss, with rare small classes, and pictures to look at; a run takes about two minutes."
    avoid = "A first look: two_digits takes seconds."
    citation = "Metrics: Liu, Johns, Davison: MTAN, CVPR 2019, arXiv:1803.10704; folders: LibMTL, JMLR 2023"

    def __init__(self, rooms: int = 800, side: int = 64, data: str | None = None) -> None:
        super().__init__()
        require(rooms >= 8, "`rooms` must be at least 8", f"rooms={rooms}")
        require(
            side >= 16 and side % STRIDE == 0, f"`side` must be a multiple of {STRIDE}, at least 16", f"side={side}"
        )
        self.rooms, self.side = rooms, side
        self.folders = None if data is None else _dense_folder.splits(data)
        tasks = tuple(LOSSES)
        self.classes, self.small, self.typical = len(_rooms.CLASSES), _rooms.SMALL, TYPICAL_DEPTH
        if self.folders is not None:
            train = self.folders["train"]
            tasks = train.tasks
            if "segmentation" in tasks:
                pixels = {name: split.pixels() for name, split in self.folders.items()}
                self.classes = max(2, *map(len, pixels.values()))
                rarely = pixels["train"] < _dense_folder.SMALL_SHARE * pixels["train"].sum()
                self.small = tuple(rarely.nonzero().flatten().tolist())
            self.typical = train.typical_depth() if "depth" in tasks else TYPICAL_DEPTH
        self.terms = {task: LOSSES[task] for task in tasks}
        if self.folders is not None and "segmentation" in tasks:
            self.terms = {**self.terms, "segmentation": {"name": LOSSES["segmentation"], "ignore_index": UNKNOWN}}
        self.metrics = {name: goal for task in tasks for name, goal in _dense_metrics.GOALS[task].items()}
        if "segmentation" in tasks and self.small:
            self.metrics = {**self.metrics, "small_error": "min"}

    def datasets(self, seed: int) -> Mapping[str, Dataset[Any]]:
        if self.folders is not None:
            return self.folders
        drawn = {"train": (self.rooms, seed), **{name: (self.rooms // 4, other) for name, other in OTHERS.items()}}
        return {
            name: TensorTable(**_rooms.rendered(count, self.side, of), index=torch.arange(count))
            for name, (count, of) in drawn.items()
        }

    def network(self) -> nn.Module:
        channels = {"segmentation": self.classes, "depth": 1, "normals": 3, "centres": 1}
        network = DenseNetwork({task: channels[task] for task in self.terms})
        if "centres" in self.terms:
            rare(network.heads["centres"], CENTRE_SHARE)
        return network

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        image = batch["image"]
        image = image.float() / 255 if image.dtype == torch.uint8 else image
        anchor, maps = network(2 * image - 1, self.branch)
        terms, known = {}, {}
        for task, found in maps.items():
            target = batch[task]
            if task == "depth":
                found = self.typical * (1 + found)
                known[task] = torch.isfinite(target) & (target != 0)
            if task == "normals":
                known[task] = (target != 0).any(1, keepdim=True)
            if task in known:
                # An unknown pixel has its own prediction as target: it costs 0, and pulls nowhere.
                target = torch.where(known[task], target, found.detach())
            terms[task] = Term(found, target)
        return Outputs(terms, anchor, extra=known, index=batch["index"])

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """Nothing: all metrics are over the pixels of a split, which :meth:`tally` counts."""
        return {}

    def tally(self, outputs: Outputs) -> Mapping[str, Tensor]:
        found: dict[str, Tensor] = {}
        for task in self.terms:
            term, known = outputs.term(task), outputs.extra.get(task)
            prediction, target = term.prediction.detach().float(), term.target
            if task == "segmentation":
                found[task] = _dense_metrics.segmentation_sums(prediction, target.long())
            elif task == "centres":
                found[task] = _dense_metrics.centre_sums(prediction, target)
            elif known is not None and task == "depth":
                found[task] = _dense_metrics.depth_sums(prediction, target, known)
            elif known is not None:
                found |= _dense_metrics.normal_sums(prediction, target, known.squeeze(1))
        return found

    def conclude(self, sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        found: dict[str, float] = {}
        if "segmentation" in sums:
            found |= _dense_metrics.segmentation_metrics(sums["segmentation"], self.small)
        if "depth" in sums:
            found |= _dense_metrics.depth_metrics(sums["depth"])
        if "angles" in sums:
            found |= _dense_metrics.normal_metrics(sums)
        if "centres" in sums:
            found |= _dense_metrics.centre_metrics(sums["centres"])
        return found

    def pictures(self, network: nn.Module, batch: Batch) -> Pictures:
        """The picture, and the truth beside the prediction of each task, of the first samples of ``batch``."""
        batch = {name: column[:SHOWN] for name, column in batch.items()}
        outputs = self.outputs(network, batch)
        image = batch["image"]
        titles = ["picture"]
        columns = [image.float() / 255 if image.dtype == torch.uint8 else image]
        for task in self.terms:
            titles += [task, "predicted"]
            columns += self._shown(task, outputs.term(task), batch)
        return Pictures(torch.stack(columns, 1), titles)

    def _shown(self, task: str, term: Term, batch: Batch) -> list[Tensor]:
        """The truth and the prediction of a task as colours."""
        truth, found = batch[task], term.prediction.float()
        if task == "depth":
            return [_dense_pictures.depth_picture(depth, truth) for depth in (truth, found)]
        if task == "normals":
            return [_dense_pictures.normal_picture(normals) for normals in (truth, found)]
        if task == "centres":
            return [_dense_pictures.chance_picture(chances) for chances in (truth, found.sigmoid())]
        return [_dense_pictures.class_picture(labels, self.classes) for labels in (truth, found.argmax(1))]
