"""Numbers that compare runs."""
