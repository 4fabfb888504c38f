"""Weightings around a weighting; the file's name is the name that finds it."""
