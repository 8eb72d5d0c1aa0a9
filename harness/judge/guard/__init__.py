"""Guards watch what an attack must leave as it is: models, code, the process, and what it is judged by."""

from __future__ import annotations

from harness.judge.guard.checksum import fingerprint as fingerprint
from harness.judge.guard.process import restored as restored
from harness.judge.guard.watch import Watch as Watch
