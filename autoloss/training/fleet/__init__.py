"""Many trainings of one structure as one: stacked parameters, one forward, one backward, one optimiser step."""
