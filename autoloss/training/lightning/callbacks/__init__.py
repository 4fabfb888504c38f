"""Lightning callbacks: record, progress bar, checkpoints, samples of a GAN."""
