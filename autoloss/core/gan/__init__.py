"""What two networks that train against each other are made of."""
