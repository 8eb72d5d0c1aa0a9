"""The tiny plugin and its suite, as the tests of the command line use them."""

from __future__ import annotations

from tests.cli.conftest import _installed, cache, site, suite

__all__ = ["_installed", "cache", "site", "suite"]
