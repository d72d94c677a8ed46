"""Plugins that harm others: what each does, and where; written as files or offered by a distribution."""

from __future__ import annotations

from pathlib import Path

HEAD = """
import gc, locale, logging, os, random, signal, sys, threading, time, warnings
import numpy as np
import torch
from torch import nn
from fusionbench import FusionStrategy, Provenance, hookimpl


class Own(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise SystemExit(0)
"""
BODY = '''

class Evil(FusionStrategy):
    """A linear head."""

    provenance = Provenance(paper="none")

    def __init__(self, spec):
        super().__init__(spec)
        self.head = nn.Linear(spec.width, spec.num_outputs)
        {constructor}

    def forward(self, batch):
        x = torch.stack([batch.completed(n) for n in batch.names]).amax(dim=0)
        {forward}
        return self.head(x)

    @classmethod
    def search_space(cls, trial):
        {search}
        return {{}}


@hookimpl
def register_fusion_strategies(register):
    {hook}
    register("evil", Evil)
'''
ENDS = {
    "exit 0": "sys.exit(0)",
    "exit text": "sys.exit('bye')",
    "quit": "quit()",
    "leave": "os._exit(0)",
    "own": "raise Own('base')",
    "generator": "raise GeneratorExit",
    "interrupt": "raise KeyboardInterrupt",
    "mute": "raise Mute",
    "long": "raise ValueError('m' * 10_000_000)",
    "canary": "raise ValueError('row 17 of patient CANARY')",
    "canary of the house": "import fusionbench.errors; raise fusionbench.errors.DataError('row 17 of patient CANARY')",
    "memory": "raise MemoryError('much')",
    "recursion": "(lambda f: f(f))(lambda f: f(f))",
    "stop": "raise StopIteration",
}
"""What fails the cells of a plugin."""
SETS = {
    "folder": "os.chdir('/')",
    "device": "torch.set_default_device('meta')",
    "type": "torch.set_default_dtype(torch.float64)",
    "recursion limit": "sys.setrecursionlimit(200)",
    "signals": "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "alarm": "signal.alarm(3600)",
    "mask": "os.umask(0o777)",
    "environment": "os.environ.clear()",
    "warnings": "warnings.simplefilter('error')",
    "logs": "logging.disable(50); logging.getLogger().setLevel(1)",
    "locale": "locale.setlocale(locale.LC_ALL, 'C')",
    "path": "sys.path[:] = []",
    "output": "sys.stdout = None; sys.stderr = None",
    "closed output": "sys.stdout.close()",
    "random": "random.seed(0); np.random.seed(0); torch.manual_seed(0)",
    "gradients": "torch.set_grad_enabled(False)",
    "inference": "torch.inference_mode().__enter__()",
    "determinism": "torch.use_deterministic_algorithms(True)",
    "anomaly": "torch.autograd.set_detect_anomaly(True)",
    "autocast": "torch.set_autocast_enabled('cpu', True)",
    "denormal": "torch.set_flush_denormal(True)",
    "threads": "torch.set_num_threads(1)",
    "hook of all modules": "nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2)",
    "numpy errors": "np.seterr(all='raise')",
    "built-in": "import builtins; builtins.sorted = None",
    "rubbish": "gc.disable()",
    "digits": "sys.set_int_max_str_digits(640)",
    "prints": "print('x' * 1_000_000)",
}
"""What a plugin changes for everybody; its own cells may fail or not."""
PLACES = ("module", "hook", "constructor", "forward", "search")


def source(place: str, what: str) -> str:
    """Return the source of a plugin that does something at a place."""
    filled = dict.fromkeys(("constructor", "forward", "search", "hook"), "pass")
    return (
        HEAD
        + (what if place == "module" else "")
        + BODY.format(**(filled | {place: what} if place != "module" else filled))
    )


def write(folder: Path, name: str, place: str, what: str) -> Path:
    """Write a plugin file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(source(place, what), encoding="utf-8")
    return path
