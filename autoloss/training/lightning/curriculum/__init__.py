"""Parts of the curriculum module."""
