"""Trains where no file may grow beyond a limit for a while: a real error of the system, as on a full disk."""

import resource
import signal
import sys
import warnings

import torch

import autoloss

place, until = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
warnings.simplefilter("always")


def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


balancer = autoloss.Balancer(["a", "b"], "uncertainty", log_dir=place, record_every=1)
for step in range(1000):
    if step in (200, until):
        limit(12_000 if step == 200 else resource.RLIM_INFINITY)
    balancer({"a": torch.tensor(float(step + 1), requires_grad=True), "b": torch.ones(())})
    if step % 100 == 99:
        balancer.measured({"error": 1 / step}, {"error": "min"})
sys.stdout.write(f"trained {step + 1}\n")
balancer.close()
sys.stdout.write("closed\n")
