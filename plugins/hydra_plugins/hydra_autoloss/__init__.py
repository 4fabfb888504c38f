"""What autoloss gives to Hydra. Hydra 1.3 looks for sweepers in this namespace, and nowhere else."""
