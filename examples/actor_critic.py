"""An actor and a critic on one trunk: two losses are balanced, and the entropy bonus keeps its base weight.

- Balance `policy` and `value`: their sizes have nothing in common, and change with the rewards.
- Leave `entropy` alone (`unbalanced`): it is a bonus, so its loss is negative and is to stay large. A weighting
  that goes by sizes would read it as a loss that is nearly 0.
- Safe: what compares gradients (`auto`, `gradnorm` with alpha 0, `imtl_g`). Not safe: what goes by values
  (`uncertainty`, `dwa`, `geometric`), since the value of a policy's loss says nothing about its progress and
  may be negative.

    python examples/actor_critic.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import autoloss

STATES, ACTIONS = 4, 3


class ActorCritic(nn.Module):
    """Logits [B, actions] and values [B] from features that both share."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(STATES, 32), nn.Tanh())
        self.actor, self.critic = nn.Linear(32, ACTIONS), nn.Linear(32, 1)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.trunk(states)
        return self.actor(features), self.critic(features)[:, 0], features


def train(steps: int = 300, seed: int = 0) -> dict[str, float]:
    """The mean reward at the end (1 is the best), and the weights."""
    torch.manual_seed(seed)
    network = ActorCritic()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    balancer = autoloss.Balancer(
        ["policy", "value", "entropy"], "auto", base={"entropy": 0.01}, unbalanced=["entropy"], total_steps=steps
    )
    rewards = torch.zeros(1)
    for _ in range(steps):
        state = torch.randint(STATES, (64,))
        logits, values, features = network(nn.functional.one_hot(state, STATES).float())
        policy = Categorical(logits=logits)
        action = policy.sample()
        rewards = (action == state % ACTIONS).float()
        advantage = (rewards - values).detach()
        losses = {
            "policy": -policy.log_prob(action) * advantage,
            "value": (values - rewards).square(),
            "entropy": -policy.entropy(),
        }
        optimizer.zero_grad()
        balancer(losses, anchor=features).backward()
        optimizer.step()
    return {"reward": float(rewards.mean()), **balancer.weights}


if __name__ == "__main__":
    print(train())
