"""pytorch-metric-learning's losses for autoloss."""
