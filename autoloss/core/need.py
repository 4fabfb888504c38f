"""What a weighting asks to be measured."""

from __future__ import annotations

from enum import Flag, auto


class Need(Flag):
    """What must be measured before a weighting can answer; each member states its cost.

    ``VALUES``: the K loss values. Free.

    ``GRAM``: the [K, K] inner products of the losses' gradients at the anchor. K backward passes
    through the part of the graph between the anchor and the losses (the heads, for features).

    ``STATS``: [K] statistics of the same gradients that a Gram matrix cannot give (mean norm over
    items, largest and mean magnitude). The same K passes as ``GRAM``.

    ``KERNEL``: [K] traces of the losses' neural tangent kernels, at parameters. It is asked for with ``GRAM``, and K
    passes more.

    ``LOOKAHEAD``: the K losses of the same batch again, after the optimiser's step. One forward.

    ``ALIGNMENT``: how the weight of each loss in the optimiser's step changed a held-out objective: K
    hypergradients. One forward and backward of the held-out batch, and one forward-mode pass of the losses.

    ``HELD_OUT``: the K losses of a held-out batch after the optimiser's step. One forward.
    """

    VALUES = auto()
    GRAM = auto()
    STATS = auto()
    KERNEL = auto()
    LOOKAHEAD = auto()
    ALIGNMENT = auto()
    HELD_OUT = auto()


class SampleNeed(Flag):
    """What must be known of the samples before a sample weighting can answer; each member states its cost.

    ``LOSSES``: the loss of each sample. Free.

    ``INDEX``: the position of each sample in the training data, and how many samples there are. For rules that keep a
    number for each sample.

    ``LABELS``: the class of each sample. Free.

    ``SLOPES``: the derivative of each loss with respect to the temperature that its prediction was divided by. One
    pass through the loss alone.

    ``ALIGNMENT``: the inner product of each loss's gradient with that of a held-out objective, at the current
    parameters. One forward and backward of the held-out batch, and one forward-mode pass of the batch.
    """

    LOSSES = auto()
    INDEX = auto()
    LABELS = auto()
    SLOPES = auto()
    ALIGNMENT = auto()


# Needs that are measured on the gradients at the anchor, after the optimiser's step, and on held-out data.
GRADIENTS = Need.GRAM | Need.STATS
OUTCOME = Need.LOOKAHEAD | Need.ALIGNMENT | Need.HELD_OUT
HELD_OUT_DATA = Need.ALIGNMENT | Need.HELD_OUT


def members(needs: Flag) -> list[str]:
    """The names of what ``needs`` is made of; Python 3.10 cannot iterate over a flag.

    >>> members(Need.VALUES | Need.GRAM)
    ['VALUES', 'GRAM']
    """
    single = (one for one in type(needs) if one.value and not one.value & (one.value - 1))
    return [str(one.name) for one in single if one in needs]
