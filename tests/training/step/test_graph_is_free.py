"""What a step leaves behind: no graph, and a balancer that can be copied and that survives an error."""

import copy
import gc
import types
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.report import read

NAMES = ("a", "b", "c")


def graphs(root):
    """Where in ``root`` a tensor with a graph is kept."""
    seen, todo, found = set(), [(root, type(root).__name__)], []
    while todo:
        one, path = todo.pop()
        if id(one) in seen or isinstance(one, (type, types.ModuleType, types.FrameType)):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found += [path] if one.grad_fn is not None else []
        elif isinstance(one, types.FunctionType):
            todo += [(cell.cell_contents, f"{path}/{one.__name__}") for cell in one.__closure__ or ()]
        else:
            todo += [(other, f"{path}/{type(one).__name__}") for other in gc.get_referents(one)]
    return found


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


def losses_of(net, x):
    return dict(zip(NAMES, net(x).square().unbind(1), strict=True))


def step(balancer, net, optimizer, place=0, fails=None):
    """One micro-batch, the ``place``-th of its optimiser step."""
    x, held = torch.randn(6, 3), torch.randn(6, 3)
    learned = balancer.player.foresees or balancer.player.weighting.needs_at(0)
    ahead = balancer.lookahead(net, optimizer, train=lambda n: losses_of(n, x), held_out=lambda n: losses_of(n, held))
    with ahead if learned else nullcontext():
        if place == 0:
            optimizer.zero_grad()
        features = net[:2](x)
        if isinstance(balancer.player.weighting, Surgery):
            fork = balancer.fork(features)
            losses = {name: net[2](fork[name])[:, i].square() for i, name in enumerate(NAMES)}
            total = balancer(losses, anchor=fork)
        else:
            total = balancer(dict(zip(NAMES, net[2](features).square().unbind(1), strict=True)), anchor=features)
        if fails is not None:
            raise fails
        (total / balancer.accumulate).backward()
        if place == balancer.accumulate - 1:
            optimizer.step()


@pytest.mark.parametrize("weighting", registry.names("weighting"))
@pytest.mark.parametrize("recorded", [False, True])
def test_a_step_keeps_no_graph_and_the_model_can_be_copied(weighting, recorded, tmp_path, needed):
    net = network()
    log_dir = tmp_path if recorded else None
    balancer = Balancer(
        NAMES, {"name": weighting, **needed.get(weighting, {})}, total_steps=10, log_dir=log_dir, record_every=2
    )
    model = nn.ModuleDict({"net": net, "balancer": balancer})
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        step(balancer, net, optimizer)
        assert graphs(balancer) == []
        twin = copy.deepcopy(model)
    for (name, one), other in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True, msg=name)
    # The copy goes on where the model is, and writes nothing into its record.
    step(twin["balancer"], twin["net"], torch.optim.SGD(twin["net"].parameters(), 0.1))
    twin["balancer"].close()
    assert balancer.calls == 2
    assert twin["balancer"].calls == 3
    balancer.close()
    if recorded:
        assert list(read(tmp_path).steps) == [0, 1]


@pytest.mark.parametrize("weighting", ["famo", "auto_lambda", "learned", "coba"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_exception_in_a_look_ahead_gives_up_the_step_and_nothing_else(weighting, accumulate):
    def trained(errors):
        net = network()
        balancer = Balancer(NAMES, weighting, accumulate=accumulate)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for i in range(6):
            if i in errors:
                state = torch.get_rng_state()
                for place in range(accumulate - 1):
                    step(balancer, net, optimizer, place)
                with pytest.raises(MemoryError):
                    step(balancer, net, optimizer, accumulate - 1, fails=MemoryError("out of memory"))
                assert balancer.clock.step == i
                torch.set_rng_state(state)
            for place in range(accumulate):
                step(balancer, net, optimizer, place)
        return balancer

    one, other = trained(()), trained((0, 3))
    assert one.calls == other.calls == 6 * accumulate
    assert one.weights == other.weights


def test_an_exception_before_and_after_the_step_leaves_the_balancer_usable():
    net = network()
    balancer, optimizer = Balancer(NAMES, "auto_lambda"), torch.optim.SGD(net.parameters(), 0.1)
    x = torch.randn(6, 3)

    def fails(net):
        raise MemoryError("out of memory")

    def fails_after():
        with balancer.lookahead(net, optimizer, train=lambda n: losses_of(n, x), held_out=fails):
            optimizer.zero_grad()
            balancer(losses_of(net, x)).backward()
            optimizer.step()

    with pytest.raises(MemoryError):
        fails_after()
    step(balancer, net, optimizer)
    with (
        pytest.raises(ConfigError),
        balancer.lookahead(torch.jit.script(net), optimizer, train=fails, held_out=fails),
    ):
        raise AssertionError
    with pytest.raises(Exception, match="not inside a look-ahead"):
        balancer(losses_of(net, x))
    step(balancer, net, optimizer)
    assert balancer.calls == 3


@pytest.mark.parametrize("weighting", ["famo", "auto_lambda", "learned", "coba", "uncertainty"])
def test_after_an_exception_the_balancer_is_no_longer_inside_the_look_ahead(weighting):
    """A plain step is refused as before if the weighting looks ahead, and is counted and learned from if not."""
    net = network()
    balancer, optimizer = Balancer(NAMES, weighting), torch.optim.SGD(net.parameters(), 0.1)
    x = torch.randn(6, 3)

    def of(net):
        return losses_of(net, x)

    def interrupted():
        with balancer.lookahead(net, optimizer, train=of, held_out=of):
            balancer(of(net))
            raise MemoryError("out of memory")

    with pytest.raises(MemoryError):
        interrupted()
    if weighting != "uncertainty":
        with pytest.raises(SignalError, match="not inside a look-ahead"):
            balancer(of(net))
        return
    before = balancer.weights
    for number in range(1, 3):
        balancer(of(net)).backward()
        assert balancer.clock.step == number
    assert balancer.weights != before
