"""State keeps its precision, and absent losses keep their rows."""

import pytest
import torch

from autoloss import Balancer
from autoloss.core.registry.lookup import registry
from autoloss.core.tensors.state import StateModule, commit


class Holder(StateModule):
    def __init__(self):
        super().__init__()
        self.add_state("each", torch.tensor([0.1, 0.2, 0.3]), axes=1)
        self.add_state("pairs", torch.zeros(3, 3), axes=2)
        self.add_state("shared", torch.zeros(()))
        self.add_state("count", torch.zeros((), dtype=torch.int64))

    def write(self):
        self.each += 1
        self.pairs += 1
        self.shared += 1
        self.count += 1


def test_casts_of_the_model_leave_state_alone():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Holder())
    before = model[1].each.clone()
    for cast in (model.half, model.double, model.bfloat16, lambda: model.to(torch.float16)):
        cast()
        assert model[1].each.dtype == torch.float32
        assert torch.equal(model[1].each, before)
    assert model[0].weight.dtype == torch.float16


def test_state_follows_the_device():
    assert Holder().to("meta").each.device.type == "meta"


class Renamed(Holder):
    renamed = {"each_one": "each"}


def test_state_of_an_older_version_loads_under_its_new_name():
    model, old = torch.nn.ModuleDict({"holder": Renamed()}), torch.nn.ModuleDict({"holder": Renamed()})
    old["holder"].write()
    written = old.state_dict()
    written["holder.each_one"] = written.pop("holder.each")
    model.load_state_dict(written)
    assert torch.equal(model["holder"].each, old["holder"].each)
    assert "holder.each_one" in written  # the caller's own state_dict stays as it was
    model.load_state_dict(old.state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key.*holder.another"):
        model.load_state_dict(written | {"holder.another": torch.zeros(())})


def test_commit_writes_only_for_present_losses():
    holder = Holder()
    commit(holder, holder.write, torch.tensor(True), torch.tensor([True, False, True]))
    assert torch.allclose(holder.each, torch.tensor([1.1, 0.2, 1.3]))
    assert holder.pairs.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert (float(holder.shared), int(holder.count)) == (1.0, 1)


def test_commit_writes_nothing_when_something_is_not_finite():
    holder = Holder()
    before = {name: value.clone() for name, value in holder.state_dict().items()}
    commit(holder, holder.write, torch.tensor(False), torch.ones(3).bool())
    assert all(torch.equal(value, before[name]) for name, value in holder.state_dict().items())


@pytest.mark.parametrize("weighting", registry.names("weighting"))
def test_the_meta_device_leaves_no_state_without_a_value(weighting, needed):
    def make():
        return Balancer(["a", "b"], {"name": weighting, **needed.get(weighting, {})}, total_steps=10)

    fresh = make()
    with torch.device("meta"):
        built = make()
    built.to_empty(device="cpu")
    kept = make().to_empty(device="cpu")
    lost = make().to("meta").to_empty(device="cpu")
    for (name, value), one, two, three in zip(
        fresh.state_dict().items(),
        built.state_dict().values(),
        kept.state_dict().values(),
        lost.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(one, value, rtol=0, atol=0, equal_nan=True, msg=name)
        torch.testing.assert_close(two, value, rtol=0, atol=0, equal_nan=True, msg=name)
        if value.is_floating_point() and "extra_state" not in name:
            assert bool(three.isnan().all()), name
    lost.load_state_dict(fresh.state_dict())
    for one, other in zip(lost.state_dict().values(), fresh.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
