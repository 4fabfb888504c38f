"""One training step in plain PyTorch."""
