"""The training step, and everything that trains with it."""
