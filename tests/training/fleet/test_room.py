"""How many members fit."""

import pytest
import torch
from torch import nn

from autoloss.training.fleet import room
from autoloss.training.fleet.plan import Plan
from autoloss.training.fleet.training import Job
from tests.training.fleet.trainings import BATCH, Three, member


class Wide(Three):
    """Its layers are as wide as it is told."""

    def __init__(self, width):
        super().__init__(normalised=True)
        self.width = width

    def network(self):
        trunk = nn.Sequential(nn.Linear(5, self.width), nn.BatchNorm1d(self.width), nn.Tanh())
        return nn.ModuleDict({"trunk": trunk, "kind": nn.Linear(self.width, 3), "size": nn.Linear(self.width, 2)})


def job(width, tmp_path):
    problem = Wide(width)
    return Job(member(problem, 0), tmp_path, 0, problem.datasets(0))


def test_the_memory_of_a_member_is_that_of_its_parameters_and_activations(tmp_path):
    width = 1000
    made = job(width, tmp_path)
    before = {name: of.clone() for name, of in made.member.network.state_dict().items()}
    found = room.member_bytes(made, Plan(1, BATCH))
    parameters = 4 * sum(p.numel() for p in made.member.network.parameters())
    activations = 4 * BATCH * width
    assert found > room.COPIES * parameters + 2 * activations
    assert found < room.COPIES * parameters + 20 * activations
    # A larger batch needs more, by activations alone.
    assert room.member_bytes(made, Plan(1, BATCH // 2)) < found - 2 * activations / 2
    for name, of in made.member.network.state_dict().items():
        assert torch.equal(of, before[name])


def test_a_fleet_that_is_too_large_says_how_many_fit(tmp_path, monkeypatch):
    made, plan = job(100, tmp_path), Plan(1, BATCH)
    need = room.member_bytes(made, plan)
    monkeypatch.setattr(room, "free_bytes", lambda device: 3.5 * need / room.SHARE)
    room.check_room(made, plan, 3)
    with pytest.raises(room.NoRoomError) as error:
        room.check_room(made, plan, 4)
    assert error.value.room == 3
    monkeypatch.setattr(room, "free_bytes", lambda device: 0)
    with pytest.raises(room.NoRoomError) as error:
        room.check_room(made, plan, 2)
    assert error.value.room == 1


@pytest.mark.parametrize("files", [("memory.max", "memory.current"), room.LIMITS[1]])
def test_the_limit_of_a_container_counts(files, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert room.free_bytes(cpu) > 1000
    for name, text in zip(files, ("1500", "500"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert room.free_bytes(cpu) == 1000
    (tmp_path / files[0]).write_text("max")
    assert room.free_bytes(cpu) > 1000
