"""Rules that weigh the samples of a batch: one file each."""
