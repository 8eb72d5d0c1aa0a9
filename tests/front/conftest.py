"""The catalogues of plugins that are written for a test, as the tests of planning use them."""

from __future__ import annotations

from tests.plan.conftest import fakes, site

__all__ = ["fakes", "site"]
