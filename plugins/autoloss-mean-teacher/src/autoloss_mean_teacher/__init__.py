"""Trains a student that agrees with the average of its own past."""
