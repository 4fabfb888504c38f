"""A balancer in LightningModules that somebody else wrote, of either namespace, trains as it does in a plain loop."""

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch

spec = importlib.util.spec_from_file_location("others", Path(__file__).with_name("others.py"))
others = importlib.util.module_from_spec(spec)
spec.loader.exec_module(others)

KINDS = pytest.mark.parametrize("kind", ["automatic", "manual"])


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def pl(request):
    return pytest.importorskip(request.param)


def parameters(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


@KINDS
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("cast", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_module_trains_as_the_plain_loop(pl, kind, weighting, accumulate, cast):
    data = others.batches(8)
    clip = 0.5 if kind == "manual" or accumulate > 1 else None
    flags = {} if cast is None else {"precision": "bf16-mixed"}
    if kind == "automatic":
        flags |= {"accumulate_grad_batches": accumulate, "gradient_clip_val": clip}
    module = getattr(others, kind)(pl, weighting, accumulate)
    others.fit(pl, module, data, **flags)
    network, balancer = others.plain(data, weighting, accumulate, clip, cast)
    torch.testing.assert_close(parameters(module.network), parameters(network), rtol=1e-5, atol=1e-6)
    assert module.balancer.weights == pytest.approx(balancer.weights, rel=1e-5)
    assert module.balancer.clock.step == 8 // accumulate
    assert len(set(balancer.weights.values())) == 3


@KINDS
def test_a_resumed_module_goes_on_bit_for_bit(pl, kind, tmp_path):
    data = others.batches(6)

    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "last.ckpt")
            if trainer.current_epoch == 1:
                raise RuntimeError("pulled the plug")

    whole, broken, resumed = (getattr(others, kind)(pl, "gradnorm") for _ in range(3))
    others.fit(pl, whole, data, epochs=4)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        others.fit(pl, broken, data, epochs=4, callbacks=[Stop()])
    others.fit(pl, resumed, data, epochs=4, resume=tmp_path / "last.ckpt")
    one, other = whole.state_dict(), resumed.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert resumed.balancer.clock.step == 24


# torch's own, where a graph breaks that has given a tensor.
@pytest.mark.filterwarnings("ignore:.*not a leaf Tensor.*")
def test_a_compiled_module_trains_as_it_does_uncompiled(pl):
    data = others.batches(4)
    module = others.automatic(pl, "uncertainty")
    others.fit(pl, torch.compile(module, backend="eager"), data)
    torch.testing.assert_close(
        parameters(module.network), parameters(others.plain(data, "uncertainty")[0]), rtol=1e-5, atol=1e-6
    )
