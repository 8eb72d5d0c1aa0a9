"""Workers are processes of this machine that run shards; each has one model and its share of the threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import torch

from harness.errors import AttackError
from harness.session.elsewhere.pool import LostError
from harness.session.elsewhere.task import Bench
from harness.shards.channel import Channel
from harness.shards.worker import serve

_LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB")


def main(requests: int, replies: int) -> None:
    """Run shards, one after the other, until the run that started this process ends.

    Args:
        requests, replies: the ends of two pipes, as file descriptors.
    """
    bench = Bench()
    serve(requests, replies, lambda head, arrays: (bench.run(head), ()))


class Process:
    """A process is the hand that runs shards in another process of this machine."""

    def __init__(self, threads: int, device: str) -> None:
        self._given = {"threads": threads, "device": device}
        limits = {f"{library}_NUM_THREADS": str(threads) for library in _LIBRARIES}
        self._channel = Channel(__name__, limits)
        self._stopped = False
        self._at_work = threading.Lock()

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Run a task; raise what ``Hand.run`` raises."""
        if self._stopped:
            raise LostError("was stopped")
        try:
            with self._at_work:
                told, _ = self._channel.ask({**task, **self._given})
        except AttackError as error:
            raise LostError(_how(str(error))) from None
        return told

    def stop(self) -> None:
        """End the process."""
        self._stopped = True
        self._channel.kill()

    def close(self) -> None:
        """End the process, and with it what it runs."""
        self.stop()
        with self._at_work:  # the thread that asks finds it gone, and lets go
            self._channel.close()


def processes(count: int, device: torch.device) -> list[Process]:
    """Return the workers of a machine: threads are shared out, and so are its GPUs."""
    threads = max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0))) // count)
    cards = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    return [Process(threads, f"cuda:{place % cards}" if cards else str(device)) for place in range(count)]


def _how(text: str) -> str:
    """Return how a process ended, of an error of its channel."""
    return text.removeprefix("the attack's process ").removesuffix("; it is started again")
