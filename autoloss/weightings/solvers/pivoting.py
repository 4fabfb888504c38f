"""Linear complementarity with a positive definite matrix, many right-hand sides at once."""

from __future__ import annotations

import torch
from torch import Tensor

# Exchanges that may fail to improve before one index at a time is exchanged.
PATIENCE = 3
# What counts as below 0, relative to a row's largest y and q.
TOLERANCE = 1e-10


def complementary(matrix: Tensor, offset: Tensor, support: Tensor | None = None) -> Tensor:
    """For each row q of ``offset`` [B, M], the y >= 0 with ``z = matrix y + q >= 0`` and ``y z = 0``.

    These are the optimality conditions of ``min 1/2 y^T matrix y + q^T y`` over y >= 0. Block
    principal pivoting: all indices whose y or z is negative change sides (Júdice and Pires,
    1994), which takes a few linear solves whatever M; rows where that stops improving go on one
    index at a time, always lowering the objective (Lawson and Hanson, 1974). All rows are solved together.

    Exact on the support found: z and ``y z`` are 0 to rounding and nothing is below ``-1e-10`` of
    the row's largest y and q.

    Args:
        matrix: [M, M], float64, positive definite with a diagonal of about 1.
        offset: [B, M], float64.
        support: [B, M] (bool), where to start; a good guess saves work and changes nothing else.
    """
    support = offset < 0 if support is None else support
    answer = torch.zeros_like(offset)
    rows = torch.arange(len(offset))
    best = torch.full_like(rows, offset.shape[1] + 1)
    patience = torch.full_like(rows, PATIENCE)
    stuck = torch.zeros_like(rows, dtype=torch.bool)
    q = offset
    while len(rows):
        y = _solve(matrix, q, support)
        wrong = _wrong(y, torch.addmm(q, y, matrix), q, support)
        answer[rows] = y
        number = wrong.sum(1)
        if not number.any():
            break
        better = number < best
        patience = torch.where(better, PATIENCE, patience - 1)
        going = (number > 0) & (patience >= 0)
        stuck[rows] = (number > 0) & ~going
        best = torch.where(better, number, best)[going]
        support, patience, rows, q = (support ^ wrong)[going], patience[going], rows[going], q[going]
    if stuck.any():
        answer[stuck] = _downhill(matrix, offset[stuck], answer[stuck])
    return answer.clamp(min=0)


def _downhill(matrix: Tensor, offset: Tensor, start: Tensor) -> Tensor:
    """The same by an active-set method that keeps y >= 0 and always improves, from ``start`` [B, M]."""
    answer = torch.zeros_like(offset)
    rows = torch.arange(len(offset))
    at, q = start.clamp(min=0), offset
    support = at > 0
    for _ in range(30 * offset.shape[1]):
        y = _solve(matrix, q, support)
        negative = _wrong(y, y, q, support) & support
        blocked = negative.any(1)
        # As far towards the best point of this support as y >= 0 allows; an index that reaches 0 leaves it.
        way = torch.where(negative, at / (at - y), 1.0).clamp(0, 1)
        nearest = way.amin(1, keepdim=True)
        support = support & ~(negative & (way <= nearest))
        at = torch.where(support, torch.lerp(at, y, nearest), 0.0)
        # At the best point of its support, the index with the steepest way down joins.
        z = torch.where(support, 0.0, torch.addmm(q, at, matrix))
        joins = _wrong(z, z, torch.maximum(q.abs(), at), support) & ~support & ~blocked[:, None]
        steepest = z.argmin(1, keepdim=True)
        support = support.scatter(1, steepest, support.gather(1, steepest) | joins.gather(1, steepest))
        answer[rows] = at
        going = blocked | joins.any(1)
        if not going.any():
            break
        rows, at, q, support = rows[going], at[going], q[going], support[going]
    return answer


def _wrong(y: Tensor, z: Tensor, q: Tensor, support: Tensor) -> Tensor:
    """Where y, on the support, or z, off it, is negative, [B, M]."""
    largest = torch.maximum(y.abs().amax(1), q.abs().amax(1))[:, None]
    return torch.where(support, y, z) < -TOLERANCE * largest


def _solve(matrix: Tensor, offset: Tensor, support: Tensor) -> Tensor:
    """y [B, M] with ``matrix y + offset = 0`` on the support of each row, and y = 0 off it."""
    rows, size = support.shape
    widest = size if rows * size <= 256 else int(support.sum(1).amax())
    if widest == size:
        both = support[:, :, None] & support[:, None, :]
        factor = torch.linalg.cholesky_ex(torch.where(both, matrix, torch.eye(size, dtype=matrix.dtype))).L
        return torch.cholesky_solve(torch.where(support, -offset, 0.0)[:, :, None], factor)[:, :, 0]
    # Many rows: each one's support first and the rest cut off makes small systems.
    valid, index = support.to(torch.uint8).sort(dim=1, descending=True, stable=True)
    valid, index = valid[:, :widest].bool(), index[:, :widest]
    part = matrix.take(index[:, :, None] * size + index[:, None, :])
    both = valid[:, :, None] & valid[:, None, :]
    factor = torch.linalg.cholesky_ex(torch.where(both, part, torch.eye(widest, dtype=matrix.dtype))).L
    right = torch.where(valid, -offset.gather(1, index), 0.0)
    found = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
    return torch.zeros_like(offset).scatter_(1, index, found)
