"""A Ray cluster runs shards as stateless tasks: a few words go there, and a few words come back.

Records do not pass through Ray: each task reads the resolved suite from the results folder, weights from the
cache, and writes its shard, so that both folders must be on storage that all nodes share. Ray tries nothing
again by itself: the pool counts how often a shard was lost.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import ManifestError
from harness.options import Options
from harness.session.elsewhere.pool import LostError
from harness.session.elsewhere.task import Bench
from harness.shards.worker import told_error

_PASSED = ("HARNESS_CACHE",)


class Remote:
    """A remote is the hand that runs shards as tasks of a cluster, one at a time."""

    def __init__(self, ray: Any, run: Any, given: Mapping[str, Any]) -> None:
        self._ray, self._run, self._given = ray, run, given
        self._pending: Any = None

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Run a task; raise what ``Hand.run`` raises."""
        self._pending = self._run.remote({**task, **self._given})
        try:
            told: dict[str, Any] = self._ray.get(self._pending)
        except self._ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise LostError(f"was lost: {type(error).__name__}: {lines[0] if lines else ''}") from None
        return told

    def stop(self) -> None:
        """End the task that runs."""
        if self._pending is not None:
            with suppress(Exception):
                self._ray.cancel(self._pending, force=True)


@contextmanager
def cluster(options: Options, device: str) -> Iterator[list[Remote]]:
    """Join a Ray cluster, or start one on this machine; yield a hand per shard that is run at the same time.

    Each task is given the same number of processors, and its share of the GPUs where the device is one.

    Raises:
        ManifestError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise ManifestError(
            '--executor ray needs Ray: install "face-robustness-harness[ray]", or use --workers N'
        ) from None
    variables = {name: str(Path(os.environ[name]).resolve()) for name in _PASSED if os.environ.get(name)}
    if options.address is None:  # its processes have this one's packages; elsewhere, those of the node
        variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=options.address or "local",
            include_dashboard=None if options.address else False,
            configure_logging=False,
            log_to_driver=False,
            runtime_env={"env_vars": variables},
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"the Ray cluster {options.address or 'here'} cannot be used: {reason}") from None
    finally:
        with suppress(ValueError):  # Ray has one of its own, and this one may be in no main thread
            signal.signal(signal.SIGTERM, before)
    try:
        count, cpus, gpus = shares(options.workers, device, [node["Resources"] for node in ray.nodes()])
        task = ray.remote(run_task).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)
        yield [Remote(ray, task, {"threads": cpus, "device": device}) for _ in range(count)]
    finally:
        ray.shutdown()


def shares(workers: int | None, device: str, nodes: list[Mapping[str, float]]) -> tuple[int, int, float]:
    """Return how many tasks run at the same time, and the processors and GPUs of each.

    Args:
        workers: how many are asked for; None means one per GPU, or one per processor where none is used.
        nodes: the resources of the nodes.
    """
    processors = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    cards = sum(node.get("GPU", 0) for node in nodes) if device == "auto" or "cuda" in device else 0
    count = workers or int(cards) or sum(processors) or 1
    # no more than the smallest node has: a task that fits nowhere would wait for ever
    cpus = max(1, min(sum(processors) // count, *processors)) if processors else 1
    return count, cpus, min(1.0, cards / count)


@cache
def _bench() -> Bench:
    """Return the bench of this process, which Ray gives one task after the other."""
    return Bench()


def run_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a shard in a process of the cluster; return what was written, or the error."""
    try:
        return _bench().run(task)
    except BaseException as error:
        return told_error(error)
