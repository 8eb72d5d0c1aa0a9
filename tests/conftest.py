"""Files whose tests take long come first, so that no process of a parallel run ends long after the others.

Tests that train share the fixture ``one_thread``.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Iterator

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file: those with slow tests first, then those with many tests."""
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, -tests[item.path]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let no collection of garbage look at libraries and tests again: a tenth of all seconds went there."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    """Let no test wait for a disk: ten thousand files are flushed, and none is to survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """A run in the background, or under nohup, is born with signals ignored; the tests of signals are not."""
    chosen = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in chosen.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
