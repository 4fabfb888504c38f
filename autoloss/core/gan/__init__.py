"""The losses and the problem of a GAN: two networks that train against each other."""
