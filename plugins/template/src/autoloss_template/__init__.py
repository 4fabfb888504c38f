"""A loss, a weighting and a problem for autoloss."""
