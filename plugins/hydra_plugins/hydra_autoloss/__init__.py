"""Hydra plugins of autoloss. Hydra 1.3 looks for sweepers only in this namespace."""
