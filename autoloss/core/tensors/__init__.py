"""Tensors of a step: state, ranks, precision, constants, compilation, random draws."""
