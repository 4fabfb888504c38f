"""Data without a length, and seeds that are large."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from autoloss import Outputs, Problem, Term
from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.training.lightning.curriculum.sampler import PacedShuffle
from autoloss.training.lightning.loaders import EpochShuffle, HeldOut, loader
from autoloss.training.lightning.multitask import MultiTaskModule
from tests.trainers import quiet_trainer


class Stream(IterableDataset):
    """Rows whose first number says which they are."""

    def __init__(self, size):
        self.size = size

    def __iter__(self):
        source = torch.Generator().manual_seed(0)
        for i in range(self.size):
            yield torch.cat([torch.tensor([float(i)]), torch.randn(2, generator=source)])


class Endless(Dataset):
    """Has rows and no length."""

    def __getitem__(self, i):
        return torch.ones(3)


class Streaming(Problem):
    """Two losses of a stream."""

    terms = {"sum": "mse", "first": "mae"}
    metrics = {"error": "min"}

    def __init__(self):
        super().__init__()
        self.seen = []

    def network(self):
        torch.manual_seed(0)
        return nn.Linear(3, 2)

    def outputs(self, network, batch):
        self.seen.append(batch[:, 0].tolist())
        out = network(batch / 10)
        return Outputs({"sum": Term(out[:, :1], batch.sum(1, keepdim=True)), "first": Term(out[:, 1:], batch[:, 1:2])})

    def measure(self, outputs):
        return {"error": outputs.term("sum").prediction.abs().mean(1)}

    def datasets(self, seed):
        return {"train": Stream(22), "val": Stream(6)}


def fit(directory, steps, checkpoint=None):
    problem = Streaming()
    losses = {name: registry.build("loss", loss) for name, loss in problem.terms.items()}
    weighting = registry.build("weighting", "uncertainty")
    module = MultiTaskModule(problem, losses, weighting, lambda p: torch.optim.SGD(p, lr=0.01))
    trainer = quiet_trainer(max_steps=steps, max_epochs=3, limit_val_batches=0, default_root_dir=directory)
    data = problem.datasets(0)
    trainer.fit(
        module,
        loader(data["train"], 4, 0, shuffle=True),
        loader(data["val"], 4, 0, shuffle=False),
        ckpt_path=checkpoint,
        weights_only=False,
    )
    trainer.save_checkpoint(directory / f"{steps}.ckpt")
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cut", [3, 6, 8])
def test_a_stream_trains_and_resumes_at_the_same_batch(tmp_path, cut):
    whole = fit(tmp_path, 11)
    epoch = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19], [20, 21]]
    assert whole.problem.seen == [*epoch, *epoch[:5]]
    first = fit(tmp_path, cut)
    rest = fit(tmp_path, 11, tmp_path / f"{cut}.ckpt")
    assert first.problem.seen + rest.problem.seen == whole.problem.seen
    for one, other in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_what_needs_a_length_says_so_of_a_stream():
    stream = Stream(8)
    with pytest.raises(
        ConfigError, match=r"hold_out\(\) needs data with a length and an order, but Stream is a stream"
    ):
        Streaming().hold_out(stream, 0.1, 0)
    with pytest.raises(ConfigError, match="Held-out data needs data with a length"):
        HeldOut(stream, 4, 0)
    with pytest.raises(ConfigError, match="must have a length to be ordered, but Stream is a stream"):
        loader(stream, 4, 0, True, order=EpochShuffle(8, 0))
    with pytest.raises(ConfigError, match="Write __len__, or make it an IterableDataset"):
        loader(Endless(), 4, 0, True)
    assert len(list(loader(stream, 3, 0, True))) == 3


@pytest.mark.parametrize("seed", [987654321, 2**32 - 1])
def test_large_seeds_give_orders_of_their_own(seed):
    data = TensorDataset(torch.arange(100.0))
    for make in (
        lambda seed: HeldOut(data, 100, seed).batch(3, rank=1)[0].tolist(),
        lambda seed: list(EpochShuffle(100, seed)),
        lambda seed: list(PacedShuffle(100, seed, None)),
    ):
        assert sorted(make(seed)) == list(range(100))
        assert make(seed) == make(seed) != make(seed - 1)


def test_small_seeds_give_the_orders_that_they_gave():
    data = TensorDataset(torch.arange(8.0))
    source = torch.Generator().manual_seed((5 * 1_000_003 + 2) * 65_537 + 1)
    assert HeldOut(data, 8, 5).batch(2, rank=1)[0].tolist() == torch.randperm(8, generator=source).tolist()
