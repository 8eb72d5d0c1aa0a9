"""The command line has one file per verb, and imports nothing heavy before the verb is known."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness.cli import (
    analyze,
    check,
    doctor,
    export,
    info,
    ls,
    pairs,
    plan,
    run,
    show,
    slurm,
    status,
    train,
    verify,
)
from harness.cli.process import Stopped, signals, streams
from harness.errors import HarnessError, printable

VERBS = (run, plan, train, status, slurm, show, export, analyze, verify, pairs, ls, info, check, doctor)

EPILOG = """exit status: 0 all cells done, 1 some failed, 2 the request was wrong, 130 interrupted, 143
stopped by SIGTERM (128 and its number); what is finished is kept.
The variables HARNESS_OUT, HARNESS_LIMIT, HARNESS_DEVICE, HARNESS_JUDGE, HARNESS_SHARD, HARNESS_OVERWRITE,
HARNESS_WORKERS, HARNESS_EXECUTOR and HARNESS_ADDRESS replace flags that are not given; HARNESS_CACHE names
the folder of trained weights."""


class Parser(argparse.ArgumentParser):
    """The parser says in one line what is wrong, and prints the usage only on request."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        self.exit(2, f"harness: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = Parser(
        prog="harness",
        description="How robust is this face model, and how good is this attack?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        verb.add(verbs)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    with streams() as out:
        try:
            with signals():
                status = _run(arguments)
        except Stopped as stopped:  # before the verb began, or after it was done
            return 128 + stopped.number
        out.flush()
        if out.fault:
            print(f"harness: standard output cannot be written: {out.fault}", file=sys.stderr)
            return status or 2
    return status


def _run(arguments: Sequence[str] | None) -> int:
    top = parser()
    given = top.parse_args(arguments)
    if given.version:
        from harness import __version__

        print(f"harness {__version__}")
        return 0
    if given.verb is None:
        top.print_help()
        return 2
    parts = {"run": "shards", "train": "parts"}.get(given.verb)
    kept = f"; finished {parts} are kept, run it again to continue" if parts else ""
    try:
        status: int = given.handle(given)
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"harness: interrupted{kept}", file=sys.stderr)
        return 130
    except Stopped as stopped:
        print(f"harness: stopped by {signal.Signals(stopped.number).name}{kept}", file=sys.stderr)
        return 128 + stopped.number
    except OSError as error:  # no permission, no space, a file where a folder should be
        place = f"{error.filename}: " if error.filename else ""
        print(f"harness: {place}{error.strerror or error}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:  # a path that this system's encoding of names cannot hold
        print(f"harness: {printable(str(error))}; set PYTHONUTF8=1", file=sys.stderr)
        return 2
    return status
