"""Which optimiser makes the step, where libraries have wrapped it."""

import torch

from autoloss.probe.optimizer_step import unwrapped


def wrapper(library):
    return type(
        "Wrapped",
        (),
        {"__module__": f"{library}.optimizer", "__init__": lambda self, o: vars(self).update(optimizer=o)},
    )


def test_wrappers_of_known_libraries_are_looked_through_also_several_of_them():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    outer, inner = wrapper("accelerate"), wrapper("lightning")
    assert unwrapped(optimizer) is optimizer
    assert unwrapped(inner(optimizer)) is optimizer
    assert unwrapped(outer(inner(optimizer))) is optimizer
    strange = wrapper("somebody")(optimizer)  # it may change the step
    assert unwrapped(outer(strange)) is strange
