"""Surgery on the gradients that meet at a fork."""

import pytest
import torch

from autoloss import Balancer, Need
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.surgery import Surgery
from tests.training.step.forks import NAMES, batches, gradients_apart, losses_of, through_fork


def test_a_frozen_surgery_has_no_weights_to_use_again(net):
    balancer = Balancer(NAMES, "graddrop")
    with balancer.frozen():
        step = through_fork(net, balancer, batches(1)[0])
    with pytest.raises(SignalError, match="must have weights to use again, but 'graddrop' has none"):
        step.total.backward()


class Flipping(Surgery):
    """Takes the first gradient backwards, and asks for the Gram matrix."""

    needs = Need.VALUES | Need.GRAM
    seen = None

    def combine(self, gradients, signals):
        self.seen = (gradients.clone(), signals.gram.clone())
        return gradients[1:].sum(0) - gradients[0]


def test_a_surgery_gets_gradients_with_base_weights_and_without_the_scale(net):
    surgery = Flipping()
    balancer = Balancer(NAMES, surgery, base={"b": 0.5})
    data = batches(1)[0]
    step = through_fork(net, balancer, data)
    (3 * step.total).backward()
    gradients, gram = surgery.seen
    apart = gradients_apart(net, data)
    torch.testing.assert_close(gradients, torch.stack([apart["a"], 0.5 * apart["b"], apart["c"]]))
    rows = torch.stack([apart[n].flatten() for n in NAMES])
    torch.testing.assert_close(gram, rows @ rows.T)
    torch.testing.assert_close(step.features.grad, 3 * (0.5 * apart["b"] + apart["c"] - apart["a"]))
    assert balancer.weights == {"a": 1.0, "b": 0.5, "c": 1.0}


def test_a_surgery_without_a_fork_is_an_error(net):
    features = net["trunk"](batches(1)[0])
    losses = losses_of(net, dict.fromkeys(NAMES, features))
    for anchor in (None, features):
        with pytest.raises(SignalError, match="'graddrop' needs a fork, .* fork = balancer.fork\\(features\\)"):
            Balancer(NAMES, "graddrop")(losses, anchor=anchor)


def test_a_surgery_cannot_be_wrapped():
    with pytest.raises(ConfigError, match="'ema' is around 'graddrop', which has none"):
        Balancer(NAMES, {"name": "graddrop", "wrap": "ema"})
