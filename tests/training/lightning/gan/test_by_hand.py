"""What the module does, beside the same updates written by hand."""

from copy import deepcopy
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.functional import softplus

from autoloss.losses.r1 import R1
from autoloss.losses.relativistic import Relativistic
from autoloss.training.lightning.loaders import loader

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


class Hand:
    """Two players as a textbook has them."""

    def __init__(self, module, shared, clip=None, every=1, relativistic=False):
        self.g, self.d = deepcopy(module.network), deepcopy(module.discriminator)
        self.og, self.od = SGD(self.g.parameters()), SGD(self.d.parameters())
        self.shared, self.clip, self.every, self.steps, self.relativistic = shared, clip, every, 0, relativistic

    def discriminator(self, batches, keep=False):
        self.od.zero_grad()
        for x in batches:
            fake = self.g(torch.randn(len(x), 2))
            self.kept = fake if keep else None
            real_logits, fake_logits = self.d(x), self.d(fake.detach())
            if self.relativistic:
                loss = softplus(fake_logits - real_logits).mean()
            else:
                loss = (softplus(-real_logits) + softplus(fake_logits)).mean()
            if self.steps % self.every == 0:
                at = x.clone().requires_grad_()
                (slope,) = torch.autograd.grad(self.d(at).sum(), at, create_graph=True)
                loss = loss + self.every * 0.25 * slope.square().sum(1).mean()
            (loss / len(batches)).backward()
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.d.parameters(), self.clip)
        self.od.step()
        self.steps += 1

    def generator(self, batches):
        self.og.zero_grad()
        for x in batches:
            fake = self.g(torch.randn(len(x), 2)) if self.kept is None else self.kept
            said = self.d(fake)
            adv = softplus(self.d(x) - said).mean() if self.relativistic else softplus(-said).mean()
            ((adv + (fake - x).square().mean()) / len(batches)).backward()
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.g.parameters(), self.clip)
        self.og.step()


# By name: options of the generator and of the discriminator, and how the turn of a hand-written loop goes.
TURNS = {
    "one each": ({}, {}, 1),
    "two of the discriminator": ({}, {"steps": 2}, 2),
    "two of the generator": ({"steps": 2}, {}, 2),
    "accumulated": ({"accumulate": 3}, {"accumulate": 3}, 3),
    "both": ({"accumulate": 2}, {"steps": 2, "accumulate": 2}, 4),
}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("extra", ["plain", "clipped", "lazy", "relativistic"])
def test_a_turn_is_what_a_person_would_write(play, name, extra):
    mine, its, size = TURNS[name]
    clip, every = (0.01 if extra == "clipped" else None), (2 if extra == "lazy" else 1)
    games = {"game": Relativistic()} if extra == "relativistic" else {}
    penalty = {"penalty": R1(gamma=0.5, every=every)}
    module = play.module(
        generator=play.options("generator", optimizer=SGD, clip=clip, **mine, **games),
        discriminator=play.options("discriminator", optimizer=SGD, clip=clip, losses=penalty, **its, **games),
    )
    g, d = module.generator_player.options, module.discriminator_player.options
    hand = Hand(module, shared=True, clip=clip, every=every, relativistic=extra == "relativistic")
    pl.seed_everything(1, verbose=False)
    state = torch.get_rng_state()
    batches = []
    for epoch in range(2):
        data = loader(module.problem.datasets(0)["train"], 8, 0, True)
        data.sampler.set_epoch(epoch)
        batches.append([batch["x"] for batch in data])
    for epoch in batches:
        for first in range(0, len(epoch), size):
            turn = epoch[first : first + size]
            mine, its = turn[-g.batches :], turn[-d.batches :]
            parts = [its[i : i + d.accumulate] for i in range(0, len(its), d.accumulate)]
            for part in parts:
                hand.discriminator(part, keep=len(mine) == 1 and part is parts[-1])
            for i in range(0, len(mine), g.accumulate):
                hand.generator(mine[i : i + g.accumulate])
    torch.set_rng_state(state)
    play.fit(module, epochs=2)
    for ours, theirs in ((module.network, hand.g), (module.discriminator, hand.d)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert module.batches == 12
    assert module.discriminator_player.steps_done == hand.steps
