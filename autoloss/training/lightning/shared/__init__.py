"""What several Lightning modules share."""
