"""Weightings by their names, and three losses for them."""

from autoloss.core.need import OUTCOME
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery

REQUIRED = {"vqgan": {"adversarial": "b"}, "ol_aux": {"main": "b"}, "gradient_cosine": {"main": "b"}}


def built(name):
    return registry.build("weighting", name, **REQUIRED.get(name, {}))


PLAIN = [n for n in registry.names("weighting") if not built(n).needs & OUTCOME and not isinstance(built(n), Surgery)]


def losses_of(net, x):
    out = net(x)
    return {"a": out[:, 0].square() + 0.1, "b": 10 * out[:, 1].square() + 0.1, "c": 0.1 * out[:, 2].square() + 0.1}
