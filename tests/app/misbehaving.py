"""A problem that does something bad when a file in the working directory asks for it.

The file ``armed`` holds the name of a fault and the process that it befalls: ``main``, ``worker`` (the main process waits
for it), ``late worker`` (it does not), ``any``, or ``second`` (any, after equal weights). The first such process that comes
to its fifth training step removes the file, and does it. With ``poison=1``, ``fault`` befalls every process that trains so.
``reached`` then holds the number of the process.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from autoloss import Outputs, Problem, Term


class Misbehaving(Problem):
    """Two regressions."""

    terms = {"a": "mse", "b": "mse"}
    metrics = {"a_error": "min", "b_error": "min"}
    recipe = {"optimizer": {"lr": 0.01}, "batch_size": 16}

    def __init__(self, poison: int = 0, fault: str = ""):
        super().__init__()
        self.poison, self.fault, self.steps = poison, fault, 0

    def datasets(self, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(96, 4, generator=generator)
        y = torch.cat([x.sum(1, keepdim=True), 10 * x[:, :1] * x[:, 1:2]], 1)
        parts = {"train": slice(0, 64), "val": slice(64, 80), "test": slice(80, 96)}
        return {name: TensorDataset(x[part], y[part]) for name, part in parts.items()}

    def network(self):
        return nn.ModuleDict({"trunk": nn.Linear(4, 16), "a": nn.Linear(16, 1), "b": nn.Linear(16, 1)})

    def outputs(self, network, batch):
        self.steps += network.training
        if network.training and self.steps == 5 and (fault := self.fault if self.poison == 1 else armed()):
            Path("reached").write_text(str(os.getpid()))
            globals()[fault]()
        if network.training and not self.steps % 4:
            let_workers_come()
        x, y = batch
        features = network["trunk"](x).tanh()
        copies, anchor = self.branch(features)
        terms = {"a": Term(network["a"](copies["a"]), y[:, :1]), "b": Term(network["b"](copies["b"]), y[:, 1:])}
        return Outputs(terms, anchor=anchor)

    def measure(self, outputs):
        return {f"{n}_error": (outputs.term(n).prediction - outputs.term(n).target).abs().mean(1) for n in "ab"}


def asked():
    """The fault and whom it befalls, as long as it has befallen nobody."""
    try:
        return Path("armed").read_text().split(maxsplit=1)
    except FileNotFoundError:
        return "", "nobody"


def armed():
    fault, whom = asked()
    if whom == "second":  # training of a search, after equal weights
        whom = "any" if Path("out/trials/0000-equal/summary.json").exists() else "nobody"
    if whom not in ("any", *(("worker", "late worker") if os.environ.get("AUTOLOSS_WORKER") else ("main",))):
        return None
    try:
        Path("armed").unlink()
    except FileNotFoundError:  # another process was faster
        return None
    return fault


def let_workers_come():
    """The main process of a search, which begins first, leaves trials to the worker that is to be hit."""
    until = time.monotonic() + 90
    while asked()[1] == "worker" and time.monotonic() < until:
        if os.environ.get("AUTOLOSS_WORKER") or not Path("out/trials/0000-equal/summary.json").exists():
            return
        time.sleep(0.05)


def slow():
    time.sleep(5)


def hang():
    time.sleep(10_000)


def deadlock():
    """Waits in foreign code, which no signal interrupts: a mutex that is locked already."""
    mutex, libc = ctypes.create_string_buffer(256), ctypes.CDLL(None)
    for _ in range(2):
        libc.pthread_mutex_lock(mutex)


def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)


def killed():
    """As the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory():
    torch.empty(1 << 50)


def bytes_():
    bytearray(1 << 60)


def exits():
    sys.exit(7)
