"""Rays against solids whose depth and normals are known from formulas."""

import math

import pytest
import torch
from torch.nn import functional

from autoloss.problems import _dense_folder, _rooms
from autoloss.problems._ray_casting import FIRST, GROUND, WALL, Rooms, camera_axes, look, rays

SIDE = 32


def room(shape=(), place=(), half=(), yaw=None, pitch=0.0, height=1.5, distance=50.0, turn=0.0):
    """One room with the given solids."""
    return Rooms(
        *(torch.tensor([float(x)]) for x in (height, pitch, distance, turn)),
        torch.tensor([list(shape)], dtype=torch.long).view(1, -1),
        torch.tensor([list(place)], dtype=torch.float32).view(1, -1, 3),
        torch.tensor([list(half)], dtype=torch.float32).view(1, -1, 3),
        torch.tensor([yaw or [0.0] * len(shape)], dtype=torch.float32).view(1, -1),
    )


def directions(pitch=0.0):
    """The direction of each pixel's ray in the room's axes, [P, 3], in double precision."""
    return rays(SIDE).double() @ camera_axes(torch.tensor([pitch]).double())[0]


def test_the_ground_has_the_depth_of_a_plane():
    view = look(room(pitch=0.4), SIDE)
    down = -directions(0.4)[:, 1].view(SIDE, SIDE)
    expected = 1.5 / down
    ground = view.owner[0] == GROUND
    assert ground.sum() > SIDE * SIDE / 2
    torch.testing.assert_close(view.depth[0][ground].double(), expected[ground], rtol=1e-5, atol=1e-5)
    # Seen from above by 0.4 radians, the ground's normal points up and towards the camera.
    expected_normal = torch.tensor([0.0, math.cos(0.4), math.sin(0.4)])
    torch.testing.assert_close(view.normal[0][:, ground].T, expected_normal.expand(int(ground.sum()), 3))


def test_the_wall_is_as_far_as_it_says_and_turns():
    view = look(room(distance=6.0), SIDE)
    wall = view.owner[0] == WALL
    torch.testing.assert_close(view.depth[0][wall], torch.full((int(wall.sum()),), 6.0))
    turned = look(room(distance=6.0, turn=0.3), SIDE)
    wall = turned.owner[0] == WALL
    # Every point of it is 6 m from the camera along its normal.
    across = -(turned.world[0] * (turned.point[0] - torch.tensor([0.0, 1.5, 0.0])[:, None, None])).sum(0)
    torch.testing.assert_close(across[wall], torch.full((int(wall.sum()),), 6.0), rtol=1e-5, atol=1e-5)


def test_a_sphere_alone_is_where_the_quadratic_formula_says():
    centre, radius = torch.tensor([0.2, 1.6, 4.0]), 0.7
    view = look(room([1], [centre.tolist()], [[radius] * 3]), SIDE)
    from_camera, ray = (centre - torch.tensor([0.0, 1.5, 0.0])).double(), directions()
    a, b = ray.square().sum(1), -2 * ray @ from_camera
    c = from_camera.square().sum() - radius**2
    root = b.square() - 4 * a * c
    hit = (root > 0).view(SIDE, SIDE)
    seen = view.owner[0] == FIRST
    assert torch.equal(seen, hit)
    expected = ((-b - root.clamp(min=0).sqrt()) / (2 * a)).view(SIDE, SIDE)
    torch.testing.assert_close(view.depth[0][seen].double(), expected[seen], rtol=1e-4, atol=1e-4)
    outwards = (view.point[0] - centre[:, None, None]) / radius
    torch.testing.assert_close(view.world[0][:, seen], outwards[:, seen], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("yaw", [0.0, 0.7])
def test_points_of_a_box_lie_on_it_and_its_normals_are_its_axes(yaw):
    centre, half = torch.tensor([0.1, 0.5, 3.0]), torch.tensor([0.6, 0.5, 0.3])
    view = look(room([0], [centre.tolist()], [half.tolist()], [yaw], pitch=0.4), SIDE)
    seen = view.owner[0] == FIRST
    assert seen.sum() > 30
    right = torch.tensor([math.cos(yaw), 0.0, -math.sin(yaw)])
    deep = torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    axes = torch.stack([right, torch.tensor([0.0, 1.0, 0.0]), deep])
    own = axes @ (view.point[0] - centre[:, None, None])[:, seen]
    size = (own / half[:, None]).abs()
    torch.testing.assert_close(size.amax(0), torch.ones(size.shape[1]), rtol=1e-4, atol=1e-4)
    normal = axes @ view.world[0][:, seen]
    face = functional.one_hot(size.argmax(0), 3).T
    torch.testing.assert_close(normal, face * own.sign(), rtol=1e-4, atol=1e-4)
    assert len(size.argmax(0).unique()) > 1


def test_points_of_a_cylinder_lie_on_its_side_or_its_lid():
    centre, radius, half = torch.tensor([0.0, 0.6, 3.0]), 0.5, 0.6
    view = look(room([2], [centre.tolist()], [[radius, half, radius]], pitch=0.5), SIDE)
    seen = view.owner[0] == FIRST
    x, y, z = (view.point[0] - centre[:, None, None])[:, seen]
    from_axis, normal = (x.square() + z.square()).sqrt(), view.world[0][:, seen]
    lid = normal[1] > 0.5
    assert 0 < lid.sum() < len(lid)
    torch.testing.assert_close(y[lid], torch.full_like(y[lid], half), rtol=1e-4, atol=1e-4)
    assert (from_axis[lid] <= radius + 1e-4).all()
    torch.testing.assert_close(from_axis[~lid], torch.full_like(y[~lid], radius), rtol=1e-4, atol=1e-4)
    assert (y[~lid].abs() <= half + 1e-4).all()
    torch.testing.assert_close(normal[:, ~lid], torch.stack([x, 0 * y, z])[:, ~lid] / radius, rtol=1e-3, atol=1e-3)


def test_the_nearer_of_two_solids_is_seen_whichever_comes_first():
    near, far = [0.0, 1.5, 2.0], [0.0, 1.5, 4.0]
    one = look(room([1, 1], [near, far], [[0.3] * 3, [0.9] * 3]), SIDE)
    other = look(room([1, 1], [far, near], [[0.9] * 3, [0.3] * 3]), SIDE)
    assert torch.equal(one.depth, other.depth)
    assert torch.equal(one.owner == FIRST, other.owner == FIRST + 1)
    assert {FIRST, FIRST + 1} <= set(one.owner.unique().tolist())


def test_a_solid_behind_the_camera_is_not_seen():
    view = look(room([1, 0, 2], [[0.0, 1.5, -3.0]] * 3, [[0.5] * 3] * 3), SIDE)
    assert (view.owner < FIRST).all()


def test_all_that_is_drawn_is_in_front_and_its_normals_are_unit_and_face_the_camera():
    rooms, classes = _rooms.draw_rooms(40, torch.Generator().manual_seed(0))
    view = look(rooms, SIDE)
    assert torch.isfinite(view.depth).all()
    assert (view.depth > 0.5).all()
    torch.testing.assert_close(view.normal.norm(dim=1), torch.ones_like(view.depth), rtol=1e-3, atol=1e-3)
    against = (view.normal * rays(SIDE).T.view(3, SIDE, SIDE)).sum(1)
    assert (against < 1e-3).all()
    # The point that is seen, brought into the camera's axes, has the depth that is said.
    from_camera = view.point.clone()
    from_camera[:, 1] -= rooms.height[:, None, None]
    depth = -torch.einsum("sak,skhw->sahw", camera_axes(rooms.pitch), from_camera)[:, 2]
    torch.testing.assert_close(depth, view.depth, rtol=1e-4, atol=1e-4)
    labels = _rooms.labels_of(view, classes)
    assert set(labels.unique().tolist()) == set(range(len(_rooms.CLASSES)))
    shares = torch.stack([(labels == c).float().mean() for c in _rooms.SMALL])
    assert bool(((shares > 0) & (shares < _dense_folder.SMALL_SHARE)).all())


def test_a_centre_is_in_the_middle_of_what_is_seen():
    view = look(room([1, 1], [[0.3, 1.2, 3.0], [0.0, 1.5, 40.0]], [[0.5] * 3, [0.05] * 3]), SIDE)
    assert (view.owner == FIRST + 1).sum() < _rooms.SEEN
    heat = _rooms.centres_of(view, 2)[0, 0]
    rows, columns = (view.owner[0] == FIRST).nonzero().double().mean(0)
    block = heat.nonzero()
    assert heat.sum() == 9
    torch.testing.assert_close(block.double().mean(0), torch.stack([rows, columns]).round())


def test_rooms_are_those_of_their_seed():
    one, again, other = (_rooms.rendered(3, 16, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["image"], other["image"])


def test_what_is_small_can_be_told_by_its_colour():
    columns = _rooms.rendered(60, 64, 0)
    picture, labels = columns["image"].float().movedim(1, 3) / 255, columns["segmentation"]
    bright = picture.amax(3) - picture.amin(3)
    small = torch.isin(labels, torch.tensor(_rooms.SMALL, dtype=labels.dtype))
    middle = bright[small].median()
    assert (bright[~small] > middle).float().mean() < 0.01
    mean = torch.stack([picture[labels == c].mean(0) for c in _rooms.SMALL])
    wanted = torch.tensor(_rooms.SMALL_COLOURS)
    found = torch.nn.functional.cosine_similarity(mean.unsqueeze(1), wanted.unsqueeze(0), dim=2)
    assert found.argmax(1).tolist() == [0, 1, 2]
