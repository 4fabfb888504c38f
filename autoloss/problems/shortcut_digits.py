"""Real digits with a shortcut: a bright edge tells the answer for most of them, and lies for a few."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.metrics.groups import concluded, tallied
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.problems._digits import part
from autoloss.problems._tensors import Batch, TensorTable

GROUPS = ("even_dark", "even_bright", "odd_dark", "odd_bright")


class ShortcutDigits(Problem):
    """Says whether a digit is odd, where a bright edge says so too for most training samples: two groups are small.

    Scikit-learn's 8 x 8 digits in a frame of one pixel, which is bright or dark. In training (1000 digits) it
    is bright for a share ``agree`` of the odd digits and dark for the same share of the even ones; for the others it is
    the other way. In validation (350) and test (447) each digit occurs twice, with both frames, so that the four groups
    are about as large. The frame is easier to see than the digit: a network that trusts it is wrong in the two small
    groups. Batches have the key ``group``: even_dark, even_bright, odd_dark and odd_bright, numbered from 0.

    Metrics: ``error``, and ``error_worst``, that of the worst group, beside the errors of all groups.

    Args:
        agree: share of the training samples whose frame tells the truth, in [0.5, 1).
        bright: how bright the frame is, above 0, where pixels lie in [0, 1].
        hidden: width of the one hidden layer, at least 1.
    """

    terms = {"odd": "cross_entropy"}
    metrics = {"error": "min", "error_worst": "min"}
    groups = {"group": GROUPS}
    recipe = {"optimizer": {"lr": 0.003}, "batch_size": 100, "threads": 1, "trainer": {"max_epochs": 30}}
    use = "Groups: a small one that the mean forgets, and what weights for groups do about it, in seconds."
    avoid = "Several losses should be balanced: it has one, or one for each group (losses.odd.by=group)."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; groups as in Sagawa et al., ICLR 2020"

    def __init__(self, agree: float = 0.95, bright: float = 1.0, hidden: int = 64) -> None:
        super().__init__()
        require(0.5 <= agree < 1, "`agree` must lie in [0.5, 1)", f"agree={agree}")
        require(bright > 0, "`bright` must be above 0", f"bright={bright}")
        require(hidden >= 1, "`hidden` must be at least 1", f"hidden={hidden}")
        self.agree, self.bright, self.hidden = agree, bright, hidden

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        images, labels = part("train")
        draws = torch.rand(len(images), generator=torch.Generator().manual_seed(2_000_003 + seed))
        frames = torch.where(draws < self.agree, labels % 2, 1 - labels % 2)
        found = {"train": self._framed(images, labels, frames)}
        for split in ("val", "test"):
            images, labels = part(split)
            both = torch.arange(2).repeat_interleave(len(images))
            found[split] = self._framed(images.repeat(2, 1, 1), labels.repeat(2), both)
        return found

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Sequential(nn.Linear(100, self.hidden), nn.ReLU()), nn.Linear(self.hidden, 2))

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        trunk, head = network.children()
        copies, anchor = self.branch(trunk(batch["image"]))
        term = Term(head(copies["odd"]), batch["odd"])
        return Outputs({"odd": term}, anchor, index=batch["index"], keys={"group": batch["group"]})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        term = outputs.term("odd")
        return {"error": (term.prediction.argmax(1) != term.target).float()}

    def tally(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return tallied(self.measure(outputs), outputs.keys["group"], len(GROUPS))

    def conclude(self, sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        return concluded(sums, self.metrics, self.groups["group"])

    def _framed(self, images: Tensor, labels: Tensor, frames: Tensor) -> TensorTable:
        framed = (self.bright * frames.float())[:, None, None].expand(-1, 10, 10).clone()
        framed[:, 1:-1, 1:-1] = images
        odd = labels % 2
        index = torch.arange(len(labels))
        return TensorTable(image=framed.flatten(1), odd=odd, group=2 * odd + frames, index=index)
