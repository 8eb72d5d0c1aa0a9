"""The options of a run choose the executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness.errors import ManifestError
from harness.options import Options
from harness.session.device import device_of
from harness.session.elsewhere.cluster import cluster
from harness.session.elsewhere.pool import pooled
from harness.session.elsewhere.processes import processes
from harness.session.executor import Executor
from harness.store import Store


@contextmanager
def chosen(options: Options, device: str) -> Iterator[Callable[[Store], Executor] | None]:
    """Yield what makes the executor that the options name, with its workers; None where this process is all.

    Args:
        device: the suite's, where the options name none.

    Raises:
        ManifestError: options contradict each other, or Ray is not installed.
    """
    if options.address is not None and options.executor != "ray":
        raise ManifestError("--address is that of a Ray cluster; give --executor ray as well")
    if options.executor == "machine" and (options.workers or 1) == 1:
        yield None
        return
    name = options.device or device
    if options.executor == "ray":
        with cluster(options, name) as remotes:
            yield partial(_pooled, remotes)
        return
    hands = processes(options.workers or 1, device_of(name))
    try:
        yield partial(_pooled, hands)
    finally:
        for hand in hands:
            hand.close()


def _pooled(hands: Sequence[Any], store: Store) -> Executor:
    return pooled(store, hands)
