"""`harness slurm SUITE --array N` prints a job script for Slurm: N processes that share a suite's shards."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import Any

from harness.cli.arguments import add_device, add_suite, options_of
from harness.errors import ManifestError

_DIRECTIVES = ("time", "partition", "account", "mem", "gres")
"""Flags that are handed on to Slurm as they are."""

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array={array}
#SBATCH --output=slurm-%x-%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --cpus-per-task={cpus}
{more}
# Each task of the array runs its share of the shards of {suite} and writes them to {out},
# which all nodes must see, as they must see the cache of trained weights. A task that is ended and queued
# again goes on where it was, in any order; so does one that is submitted again, such as
#     sbatch --array=3 THIS-FILE
# Models are trained by the first task that needs them, while the others wait. To train them before:
#     {train}
# How far it has come, on any node:        harness status {out}
# Once all is there, board and analyses:   harness show {out}

cd {here} || exit 2
{environment}export OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-{cpus}}}

{command} --shard "$SLURM_ARRAY_TASK_ID/{count}" &
running=$!
# Two minutes before the time is up, and when Slurm ends the task: stop, which keeps what is finished.
# A signal ends wait with its own number; another wait tells the status of what has ended since.
again= told=yes
trap 'again=yes told=yes; kill -TERM "$running"' USR1
trap 'told=yes; kill -TERM "$running"' TERM
while [ -n "$told" ]; do told=; wait "$running"; status=$?; done
if [ -n "$again" ] && [ "$status" -ge 128 ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
"""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "slurm",
        help="print a job script for Slurm, whose array shares the shards of a suite",
        description="Print a script for sbatch: an array of tasks that each run their share of the shards "
        "of a suite. The suite is planned, and nothing is run.",
    )
    add_suite(parser)
    add_device(parser)
    parser.add_argument("--array", metavar="N", required=True, help="how many tasks share the shards")
    parser.add_argument("--at-once", metavar="M", help="the most tasks that Slurm may run at the same time")
    parser.add_argument("--cpus", metavar="N", help="processors per task (4)")
    for name in _DIRECTIVES:
        parser.add_argument(f"--{name}", metavar="VALUE", help=f"#SBATCH --{name}=VALUE")
    parser.add_argument(
        "--judge", metavar="here|apart", help="as of harness run: whether attacks run apart from the judge"
    )
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Plan the suite, so that what is wrong with it is said now, and print the script."""
    from harness.session.session import make_plan, refuse_empty, results_folder

    count = _number(given.array, "--array")
    chosen = options_of(given)
    planned = make_plan(given.suite, chosen)
    refuse_empty(planned)
    out = results_folder(planned, chosen)
    print(script(given, planned.suite.name, out, count), end="")
    return 0


def script(given: argparse.Namespace, name: str, out: Path, count: int) -> str:
    """Return the script of some arguments.

    Args:
        out: the results folder.
        count: how many tasks share the shards. It stands in the script as a number: a task that is submitted
            again alone must find the same share.
    """
    at_once = "" if given.at_once is None else f"%{_number(given.at_once, '--at-once')}"
    cpus = 4 if given.cpus is None else _number(given.cpus, "--cpus")
    settings = [("--set", text) for text in given.overrides]
    settings += [(f"--{flag}", getattr(given, flag)) for flag in ("limit", "device", "judge")]
    shared = [text for flag, value in settings if value is not None for text in (flag, str(value))]
    training = [text for flag, value in settings if flag in ("--set", "--limit") and value is not None
                for text in (flag, str(value))]  # fmt: skip
    directives = [f"#SBATCH --{flag}={_plain(value, flag)}\n" for flag in _DIRECTIVES
                  if (value := getattr(given, flag)) is not None]  # fmt: skip
    cache = os.environ.get("HARNESS_CACHE")
    return SCRIPT.format(
        name=_plain(f"harness-{name}".replace(" ", "-"), "job-name"),
        array=f"1-{count}{at_once}",
        count=count,
        cpus=cpus,
        suite=given.suite,
        out=shlex.quote(str(out)),
        more="".join(directives),
        train=shlex.join(["harness", "train", given.suite, *training]),
        here=shlex.quote(str(Path.cwd())),
        environment="" if not cache else f"export HARNESS_CACHE={shlex.quote(str(Path(cache).resolve()))}\n",
        command=shlex.join(["harness", "run", given.suite, "--out", str(out), *shared]),
    )


def _number(text: str, flag: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise ManifestError(f"{flag} {text} must be a whole number of at least 1")
    return int(text)


def _plain(text: str, flag: str) -> str:
    """Return a text that Slurm reads as one word."""
    if not re.fullmatch(r"[^\s#'\"]+", text):
        raise ManifestError(f'--{flag} "{text}" must be one word, as Slurm reads it')
    return text
