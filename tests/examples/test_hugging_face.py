"""The examples on Hugging Face's Trainer and Accelerate: the plain loop's numbers, and resumed bit for bit."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trainer():
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    return example("huggingface_trainer")


@pytest.fixture(scope="module")
def loop():
    pytest.importorskip("accelerate")
    return example("accelerate_loop")


class TestTrainer:
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_it_trains_as_the_plain_loop_on_the_same_batches(self, trainer, accumulate, tmp_path, monkeypatch):
        seen = []

        class Recording(trainer.TwoTasks):
            def forward(self, x, labels):
                seen.append((x, labels))
                return super().forward(x, labels)

        plain = trainer.TwoTasks
        monkeypatch.setattr(trainer, "TwoTasks", Recording)
        found = trainer.train(tmp_path, epochs=1, accumulate=accumulate)
        torch.manual_seed(0)
        model = plain("gradnorm", accumulate)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
        for number, (x, labels) in enumerate(seen, 1):
            (model(x, labels)["loss"] / accumulate).backward()
            if number % accumulate == 0:
                clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        for name, value in model.state_dict().items():
            torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
        assert found.balancer.clock.step == 16 // accumulate
        assert found.balancer.weights["sum"] < found.balancer.weights["sign"]

    def test_a_resumed_training_goes_on_bit_for_bit(self, trainer, tmp_path):
        from safetensors.torch import load_file

        whole = trainer.train(tmp_path)
        assert "balancer._extra_state" in load_file(tmp_path / "checkpoint-16/model.safetensors")
        resumed = trainer.train(tmp_path, resume=str(tmp_path / "checkpoint-16"))
        same(whole.state_dict(), resumed.state_dict())


class TestAccelerate:
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_it_trains_as_the_plain_loop(self, loop, accumulate):
        network, balancer = loop.train(epochs=1, accumulate=accumulate, cpu=True)
        torch.manual_seed(0)
        x = torch.randn(512, 8)
        y, plain = 10 * x.sum(1), loop.Network()
        optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
        own = loop.autoloss.Balancer(["sum", "sign"], weighting="gradnorm", accumulate=accumulate)
        for number, (inputs, targets) in enumerate(zip(x.split(32), y.split(32), strict=True), 1):
            total, sign = plain(inputs)
            right = (targets > 0).float()
            losses = {
                "sum": (total - targets).square(),
                "sign": torch.nn.functional.binary_cross_entropy_with_logits(sign, right, reduction="none"),
            }
            (own(losses, anchor=list(plain.encoder[-1].parameters())) / accumulate).backward()
            if number % accumulate == 0:
                clip_grad_norm_(plain.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
        for name, value in plain.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
        assert balancer.weights == pytest.approx(own.weights, rel=1e-5)

    def test_a_resumed_training_goes_on_bit_for_bit(self, loop, tmp_path):
        whole, balancer = loop.train(epochs=2, cpu=True)
        loop.train(epochs=1, checkpoint=tmp_path, cpu=True)
        network, resumed = loop.train(epochs=1, resume=tmp_path, cpu=True)
        same(whole.state_dict(), network.state_dict())
        same(balancer.state_dict(), resumed.state_dict())
        assert resumed.clock.step == 16

    def test_half_precision_finds_the_same_weights(self, loop):
        from accelerate.state import AcceleratorState

        _, plain = loop.train(epochs=1, cpu=True)
        AcceleratorState._reset_state(reset_partial_state=True)
        _, cast = loop.train(epochs=1, cpu=True, mixed_precision="bf16")
        AcceleratorState._reset_state(reset_partial_state=True)
        assert cast.weights == pytest.approx(plain.weights, rel=0.02)


class TestShortWindows:
    """An epoch of 5 batches is 2 steps at an accumulation of 4: of 4 batches, and of one."""

    def test_the_trainers_steps_are_those_of_the_balancer(self, trainer, tmp_path):
        for weighting in ("gradnorm", "uncertainty"):
            model = trainer.train(tmp_path, epochs=15, accumulate=4, size=160, weighting=weighting)
            assert model.balancer.clock.step == 30

    def test_the_trainers_steps_are_exact_where_the_last_batch_is_smaller(self, trainer, tmp_path, monkeypatch):
        """32 + 32 + 32 + 4 samples are one step: its gradient is that of a batch of 100."""
        seen = []

        class Recording(trainer.TwoTasks):
            def forward(self, x, labels, **more):
                seen.append((x, labels))
                return super().forward(x, labels, **more)

        plain = trainer.TwoTasks
        monkeypatch.setattr(trainer, "TwoTasks", Recording)
        found = trainer.train(tmp_path, epochs=1, accumulate=4, size=100, weighting="equal")
        torch.manual_seed(0)
        model = plain("equal")
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
        x, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
        model(x, labels)["loss"].backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        assert [len(one) for one, _ in seen] == [32, 32, 32, 4]
        for name, value in model.named_parameters():
            torch.testing.assert_close(found.get_parameter(name), value, rtol=1e-5, atol=1e-6, msg=name)

    def test_accelerates_steps_are_those_of_the_balancer(self, loop):
        _, balancer = loop.train(epochs=15, accumulate=4, size=160, cpu=True)
        assert balancer.clock.step == 30
