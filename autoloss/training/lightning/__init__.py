"""Lightning modules and what they share."""
