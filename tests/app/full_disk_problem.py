"""Digits that are trained while no file may grow: from the sixth batch until the last epoch, or to the end."""

import os
import resource
import signal

from autoloss.problems.two_digits import TwoDigits


class FullDisk(TwoDigits):
    seen = 0

    def outputs(self, network, batch):
        if network.training:
            FullDisk.seen += 1
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            full = 5 < FullDisk.seen < int(os.environ["FULL_UNTIL"])
            resource.setrlimit(resource.RLIMIT_FSIZE, (100 if full else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return super().outputs(network, batch)
