"""A model that the Hugging Face Trainer trains, weighted by `autoloss.Balancer`.

The balancer is a part of the model: the Trainer saves and resumes it with the model's weights. The model gives back
`loss`, the balanced total, and the Trainer does everything else. In evaluation the last weights are used again.
A callback lets the balancer watch the optimizer, because the Trainer's last step of an epoch may have fewer batches.

    python examples/huggingface_trainer.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

import autoloss


class TwoTasks(nn.Module):
    """A shared encoder and two heads: a sum to regress, and its sign; with the balancer that weighs their losses."""

    def __init__(self, weighting: str = "gradnorm", accumulate: int | None = None) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
        self.total, self.sign = nn.Linear(16, 1), nn.Linear(16, 1)
        self.balancer = autoloss.Balancer(["sum", "sign"], weighting=weighting, accumulate=accumulate)

    def forward(self, x: Tensor, labels: Tensor, **more: Any) -> dict[str, Tensor]:
        """``x`` [B, 8] and the sums ``labels`` [B]; the loss and the predicted sums.

        The Trainer counts the labels of a step's batches and gives their number to a model that takes ``**more``. It
        then multiplies the loss by the number of processes, as the balancer does, so that one of the two is undone.
        """
        items = more.get("num_items_in_batch")
        if items is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
            items = items * torch.distributed.get_world_size()
        features = self.encoder(x)
        total, sign = self.total(features)[:, 0], self.sign(features)[:, 0]
        losses = {
            "sum": (total.float() - labels).square(),
            "sign": nn.functional.binary_cross_entropy_with_logits(
                sign.float(), (labels > 0).float(), reduction="none"
            ),
        }
        return {"loss": self.balancer(losses, anchor=features, items=items), "predictions": total}


class Watch(TrainerCallback):
    """Shows the balancer of the model the steps of the Trainer's optimizer."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **its: Any) -> None:
        """The optimizer exists now."""
        its["model"].balancer.watch(its["optimizer"])


class Sums(Dataset[dict[str, Tensor]]):
    """Numbers, and ten times their sum."""

    def __init__(self, size: int = 512) -> None:
        self.x = torch.randn(size, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": 10 * self.x[index].sum()}


def train(
    directory: str | Path,
    epochs: int = 2,
    accumulate: int = 1,
    weighting: str = "gradnorm",
    resume: str | None = None,
    size: int = 512,
) -> TwoTasks:
    """Train, with a checkpoint after each epoch in ``directory``; go on from ``resume``. The model."""
    arguments = TrainingArguments(
        output_dir=str(directory),
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=accumulate,
        learning_rate=0.01,
        lr_scheduler_type="constant",
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    torch.manual_seed(0)
    model = TwoTasks(weighting)
    trainer = Trainer(model=model, args=arguments, train_dataset=Sums(size), eval_dataset=Sums(64), callbacks=[Watch()])
    trainer.train(resume_from_checkpoint=resume)
    model.balancer.close()
    return model


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        print("weights:", {name: round(weight, 4) for name, weight in train(place).balancer.weights.items()})
