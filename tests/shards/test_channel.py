"""Channels: whatever the process at the other end does, the asker gets an answer or one error."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from harness.errors import AttackError
from harness.shards import channel as channels
from harness.shards.channel import Channel

ECHO = """
import json, os, sys, time
sys.path[:] = json.loads(sys.argv[3])
requests, replies = int(sys.argv[1]), int(sys.argv[2])
from harness.shards.wire import packed, unpacked
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(requests, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return bytearray(data)
def send(head, arrays):
    for piece in packed(head, arrays):
        while piece:
            piece = piece[os.write(replies, piece):]
while True:
    head, arrays = unpacked(read)
    exec(head.get("first", ""))
    send(head, arrays)
"""


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    """A channel to a process that does what it is told, and sends back what it gets."""
    monkeypatch.setattr(channels, "_BOOT", ECHO)
    monkeypatch.setattr(channels, "_LOOK", 50)
    monkeypatch.setattr(channels, "_GRACE", 0.5)
    made = Channel()
    yield made
    made.close()


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGINT interrupts, although shells start what runs in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_arrays_come_back_as_they_were_sent(channel: Channel) -> None:
    sent = [
        np.array([[0.1, np.nan], [np.inf, -0.0]], np.float32),
        np.arange(300_000),
        np.zeros((0, 3), np.float32),
        np.array([1, 0], np.uint8),
    ]
    told, found = channel.ask({"word": "ü"}, sent, 3_000_000)
    assert told == {"word": "ü"}
    for one, other in zip(sent, found, strict=True):
        assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())
    found[1][0] = 7  # it may be written to


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("os._exit(3)", "ended with exit status 3"),
        ("sys.exit(0)", "ended with exit status 0"),
        ("1 / 0", "ended with exit status 1"),
        ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV"),
        (f"os.kill(os.getpid(), {int(signal.SIGKILL)})", "was ended by SIGKILL"),
        ("os.closerange(3, 64); time.sleep(60)", "closed its pipe"),
        ("os.fork() == 0 and time.sleep(60); os._exit(4)", "ended with exit status 4"),
        ("os.write(replies, b'x' * 1000); time.sleep(60)", "it is no message"),
        ("send({'number': head['number'] - 1}, ())", "it belongs to another request"),
        ("send(head, [*arrays] * 2); time.sleep(60)", "larger one than was asked for"),
        ("os.write(replies, b'\\x93hrn' + bytes([255] * 12)); time.sleep(60)", "larger one than"),
        (
            "os.write(replies, b'\\x93hrn' + bytes([4, 0, 0, 0] + [0] * 8) + b'[[[['); time.sleep(60)",
            "its head cannot be read",
        ),
    ],
)
def test_a_lost_process_is_one_error(channel: Channel, first: str, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        channel.ask({"first": first}, [np.ones(4, np.float32)], 16)
    assert channel.fresh
    assert channel._process is None


def test_the_next_request_starts_another_process(channel: Channel) -> None:
    few = [np.ones(4, np.float32)]
    for _ in range(2):
        with pytest.raises(AttackError, match="exit status 3"):
            channel.ask({"first": "os._exit(3)"}, few, 16)
    channel.fresh = False
    assert channel.ask({}, few, 16)[1][0].tolist() == [1, 1, 1, 1]
    assert channel.fresh


def test_endless_output_ends_with_the_first_answer(channel: Channel) -> None:
    flood = "while True: os.write(replies, b'x' * 65536)"
    with pytest.raises(AttackError, match="cannot be read"):
        channel.ask({"first": flood})
    channel.ask({"first": "send(head, arrays); os.write(replies, b'x' * 100)"})
    with pytest.raises(AttackError, match="is no message"):  # what follows a good answer
        channel.ask({})
    assert channel.ask({})[0] == {}


@pytest.mark.usefixtures("heard")
def test_an_interrupt_ends_the_process_too(channel: Channel) -> None:
    channel.ask({})
    process = channel._process
    assert process is not None
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        channel.ask({"first": "time.sleep(60)"})
    assert process.poll() is not None


def test_the_process_ends_with_its_pipe(channel: Channel) -> None:
    channel.ask({})
    process, end = channel._process, channel._to
    assert process is not None
    channels.os.close(end)
    channel._to = channels.os.dup(channel._from)
    for _ in range(100):
        if process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() == 0
