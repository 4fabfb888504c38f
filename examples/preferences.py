"""Learns from preferences (DPO) and keeps the answers likely (SFT): two losses of one policy.

- Balance `preference` and `likelihood`. The first is bounded below by 0 and starts at log 2; the second is a
  sum over tokens, and grows with their number: divide it by the number of tokens (`items=` where windows are
  accumulated), or its size decides.
- Leave alone: what holds the policy near its reference. In DPO it is inside the loss (`beta`), so it has no
  weight of its own.
- Safe: weights that cannot vanish (`fixed`, `auto`). With conflict-free methods a preference that contradicts
  the likelihood is not learned at all.

    python examples/preferences.py
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

import autoloss

PROMPTS, TOKENS, LENGTH, BETA = 5, 8, 4, 0.5


class Policy(nn.Module):
    """Logits of an answer's tokens [B, length, tokens], given the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Embedding(PROMPTS, 32), nn.Linear(32, LENGTH * TOKENS)

    def forward(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(prompts).tanh()
        return self.head(features).view(-1, LENGTH, TOKENS), features


def likelihood(logits: Tensor, answers: Tensor) -> Tensor:
    """The logarithm of the probability of each answer, [B]."""
    return -functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none").view(-1, LENGTH).sum(1)


def train(steps: int = 200, seed: int = 0) -> dict[str, float]:
    """How often the better answer is the likelier one, its mean loss for each token, and the weights."""
    torch.manual_seed(seed)
    policy = Policy()
    reference = copy.deepcopy(policy).requires_grad_(False)
    better, worse = torch.randint(TOKENS, (2, PROMPTS, LENGTH))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    balancer = autoloss.Balancer(["preference", "likelihood"], "auto", total_steps=steps)
    won, nll = torch.zeros(1), torch.zeros(1)
    for _ in range(steps):
        prompts = torch.randint(PROMPTS, (32,))
        logits, features = policy(prompts)
        before = reference(prompts)[0]
        chosen, rejected = (likelihood(logits, of[prompts]) for of in (better, worse))
        base = likelihood(before, better[prompts]) - likelihood(before, worse[prompts])
        won, nll = chosen > rejected, -chosen / LENGTH
        losses = {"preference": -functional.logsigmoid(BETA * (chosen - rejected - base)), "likelihood": nll}
        optimizer.zero_grad()
        balancer(losses, anchor=features).backward()
        optimizer.step()
    return {"won": float(won.float().mean()), "loss of a token": float(nll.detach().mean()), **balancer.weights}


if __name__ == "__main__":
    print(train())
