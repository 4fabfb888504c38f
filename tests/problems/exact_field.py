"""A known function in a network's place, with derivatives by nested autograd."""

import torch

from autoloss.problems._field import Jet


def jet_of(function, points):
    """The textbook form, for fields of one number or of several: nested ``autograd.grad``."""
    points = points.detach().clone().requires_grad_()
    value = function(points)
    columns = value.reshape(len(points), -1)
    firsts, seconds = [], []
    for c in range(columns.shape[1]):
        (first,) = torch.autograd.grad(columns[:, c].sum(), points, create_graph=True)
        second = [torch.autograd.grad(first[:, i].sum(), points, retain_graph=True)[0][:, i] for i in range(2)]
        firsts.append(first.T)
        seconds.append(torch.stack(second))
    first, second = torch.stack(firsts, -1), torch.stack(seconds, -1)
    one = value.dim() == 1
    return Jet(value, first.squeeze(-1) if one else first, second.squeeze(-1) if one else second)


class Exact:
    """A known function in a network's place."""

    def __init__(self, function):
        self.function = function

    def __call__(self, points):
        return self.function(points)

    def jet(self, points):
        return jet_of(self.function, points)

    def slopes(self, points):
        jet = self.jet(points)
        return jet.value, jet.first
