"""Parts of the GAN module."""
