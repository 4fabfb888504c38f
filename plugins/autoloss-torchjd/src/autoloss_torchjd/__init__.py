"""TorchJD's Gramian weightings for autoloss."""
