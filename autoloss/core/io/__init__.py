"""Atomic writes, file locks, and tables of text."""
