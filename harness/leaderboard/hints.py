"""Where a flag says that gradients may be masked, a board names the attacks that would tell.

Attacks say so themselves, in their specs; the board knows none of them.
"""

from __future__ import annotations

from collections.abc import Collection

from harness.catalog import catalog


def hint(flag: str, tried: Collection[str] = ()) -> str:
    """Return which attacks of the catalogue would tell, such as "run square-attack"; empty where none would.

    Args:
        tried: attacks that the board has already; they are not named again, unless they need parameters.
    """
    named = []
    for name, entry in catalog().attacks.items():
        needed = entry.spec.tells.get(flag)
        if needed is None or (not needed and name in tried):
            continue
        named.append(f"{name} with {needed}" if needed else name)
    return f"to tell, run {' or '.join(named)}" if named else ""
