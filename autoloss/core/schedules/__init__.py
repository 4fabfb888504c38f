"""Numbers that change over training."""
