"""The command line keeps freed memory, as the processes of attacks do."""

from __future__ import annotations

from harness.shards.memory import keep_freed_memory as keep_freed_memory
