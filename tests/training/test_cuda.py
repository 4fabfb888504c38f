"""What only a CUDA device shows: NCCL, shards, compiled steps, float16 scalers that step inside a kernel, and no waiting."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from autoloss import Balancer
from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.errors import NonFiniteError
from autoloss.training.step.nonfinite import BLOCK

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(scope="module")
def nccl(tmp_path_factory):
    out = tmp_path_factory.mktemp("nccl") / "found.json"
    script = Path(__file__).with_name("nccl_script.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", str(script)]
    subprocess.run([*launch, str(out)], check=True, timeout=300)
    return json.loads(out.read_text())


def test_nccl_and_shards_change_nothing(nccl):
    assert nccl["bare"].keys() == nccl["wrapped"].keys()
    for case, bare in nccl["bare"].items():
        close = {"rtol": 0.02, "atol": 0.02} if "float16" in case else {"rtol": 1e-5, "atol": 1e-6}
        for name, value in [*bare["state"].items(), ("parameters", bare["parameters"])]:
            found = nccl["wrapped"][case]
            found = found["parameters"] if name == "parameters" else found["state"][name]
            torch.testing.assert_close(torch.tensor(found), torch.tensor(value), **close, msg=f"{case} {name}")


def settings(*overrides):
    short = ["problem.pairs=400", "trainer.max_epochs=2", "trainer.accelerator=gpu", "record.every=1"]
    return composed("train", [*short, *overrides], [])


@pytest.fixture
def no_group_is_left():
    """Lightning leaves its process group to whoever comes next."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.usefixtures("no_group_is_left")
@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm", "famo"])
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_lightning_wraps_it_as_it_pleases(tmp_path, strategy, weighting):
    found = {
        flags: train(settings(f"weighting={weighting}", *flags), tmp_path / str(len(flags)))
        for flags in ((), (f"trainer.strategy={strategy}", "+trainer.use_distributed_sampler=false"))
    }
    plain, wrapped = found.values()
    assert wrapped["final_weights"] == pytest.approx(plain["final_weights"], rel=1e-4)
    assert wrapped["metrics"] == pytest.approx(plain["metrics"], rel=0.02)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("weighting", ["auto_lambda", "learned", "famo", "cagrad"])
def test_every_kind_of_weighting_learns_under_mixed_precision(tmp_path, precision, weighting):
    found = train(settings(f"weighting={weighting}", f"trainer.precision={precision}"), tmp_path)
    weights = found["final_weights"].values()
    assert max(weights) > min(weights)
    assert all(value == value for value in found["metrics"].values())


@pytest.mark.parametrize("rule", ["super_loss", "reweight"])
def test_samples_are_weighed_on_the_device(tmp_path, rule):
    found = train(settings(f"sample_weighting={rule}", "trainer.precision=16-mixed"), tmp_path)
    assert all(value == value for value in found["metrics"].values())


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_game_is_played_on_the_device(tmp_path, precision):
    config = composed(
        "train",
        ["problem=digits_gan", "trainer.max_epochs=1", "trainer.accelerator=gpu", f"trainer.precision={precision}"],
        [],
    )
    assert all(value == value for value in train(config, tmp_path)["metrics"].values())


class Attentive(nn.Module):
    """What flash attention serves in half precision, with dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.heads = nn.Linear(16, 64), nn.ModuleDict({name: nn.Linear(64, 1) for name in "ab"})

    def forward(self, x):
        z = self.enter(x).unflatten(-1, (4, 16)).transpose(1, 2)
        z = functional.scaled_dot_product_attention(z, z, z, dropout_p=0.1 if self.training else 0.0)
        return z.transpose(1, 2).flatten(2).mean(1)


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_that_skips_within_a_fused_kernel_teaches_nothing(fused):
    net = Attentive().cuda()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    balancer = Balancer("ab", "auto_lambda")
    x, held = torch.randn(8, 12, 16, device="cuda"), torch.randn(8, 12, 16, device="cuda")

    def losses(net, x=x):
        with torch.autocast("cuda", dtype=torch.float16):
            features = net(x)
            return {name: (head(features) - k).square().mean() for k, (name, head) in enumerate(net.heads.items())}

    before = {name: value.clone() for name, value in balancer.player.weighting.state_dict().items()}
    start = torch.cat([p.detach().reshape(-1).clone() for p in net.parameters()])
    for step in range(40):
        optimizer.zero_grad()
        with balancer.lookahead(net, optimizer, train=losses, held_out=lambda net: losses(net, held)):
            scaler.scale(balancer(losses(net))).backward()
            scaler.step(optimizer)
            scaler.update()
        now = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
        if step == 0:
            assert torch.equal(now, start)
            for name, value in balancer.player.weighting.state_dict().items():
                torch.testing.assert_close(value.cpu(), before[name].cpu(), equal_nan=True, msg=name)
    assert not torch.equal(now, start)
    assert max(balancer.weights.values()) > min(balancer.weights.values())


# Not those that solve for their weights on the host.
@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "dwa", "imtl_l", "gradnorm", "auto_lambda", "famo"])
def test_a_step_waits_for_no_device(weighting, tmp_path):
    net, names = Attentive().cuda(), list("ab")
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    balancer = Balancer(names, weighting, log_dir=tmp_path, record_every=1)
    x, held = torch.randn(8, 12, 16, device="cuda"), torch.randn(8, 12, 16, device="cuda")

    def losses(net, x=x):
        features = net(x)
        return {name: (head(features) - k).square().mean() for k, (name, head) in enumerate(net.heads.items())}

    def step():
        with balancer.lookahead(net, optimizer, train=losses, held_out=lambda net: losses(net, held)):
            features = net(x)
            made = {name: (head(features) - k).square().mean() for k, (name, head) in enumerate(net.heads.items())}
            optimizer.zero_grad()
            balancer(made, anchor=features).backward()
            optimizer.step()

    for _ in range(3):
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    balancer.close()


@pytest.mark.parametrize("weighting", ["gradnorm", "mgda"])
def test_a_fork_is_compiled_with_the_step(weighting):
    found = []
    for whole in (False, True):
        net = Attentive().cuda()
        balancer = Balancer("ab", weighting)
        optimizer = torch.optim.SGD(net.parameters(), 0.05)
        trunk = torch.compile(net.enter) if whole else net.enter
        torch.manual_seed(1)
        for _ in range(5):
            x = torch.randn(8, 12, 16, device="cuda")
            fork = balancer.fork(trunk(x).mean(1))
            total = balancer({n: (net.heads[n](fork[n]) - k).square().mean() for k, n in enumerate("ab")}, anchor=fork)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        found.append(torch.cat([p.detach().reshape(-1) for p in net.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


class Stop(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise RuntimeError("pulled the plug")


@pytest.mark.parametrize("weighting", ["gradnorm", "auto_lambda", "equal"])
def test_a_run_resumes_on_the_device(tmp_path, weighting):
    whole = train(settings(f"weighting={weighting}"), tmp_path / "whole")
    with pytest.raises(RuntimeError, match="pulled the plug"):
        train(settings(f"weighting={weighting}"), tmp_path / "part", callbacks=[Stop()])
    last = tmp_path / "part/checkpoints/last.ckpt"
    resumed = train(settings(f"weighting={weighting}"), tmp_path / "part", checkpoint=last)
    assert resumed["final_weights"] == pytest.approx(whole["final_weights"], rel=1e-4)
    assert resumed["metrics"] == pytest.approx(whole["metrics"], rel=0.02)


def test_a_bad_loss_is_named_with_its_step_once_somebody_looks():
    balancer = Balancer("ab", "uncertainty")
    x = torch.ones(4, device="cuda", requires_grad=True)
    for step in range(6):
        balancer({"a": x.square().mean(), "b": (x * (float("nan") if step == 3 else 1.0)).mean()}).backward()
    with pytest.raises(NonFiniteError, match="loss 'b' is nan at step 3"):
        balancer.close()


def test_a_bad_loss_is_named_though_nobody_looks():
    balancer = Balancer("ab", "equal")
    x = torch.ones(4, device="cuda", requires_grad=True)
    batches = [{"a": x.mean(), "b": (x * (float("nan") if step == 1 else 1.0)).mean()} for step in range(BLOCK)]
    for losses in batches[:-1]:
        balancer(losses).backward()
    with pytest.raises(NonFiniteError, match="loss 'b' is nan at step 1"):
        balancer(batches[-1])
