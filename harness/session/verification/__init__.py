"""Verification judges a results folder again, from its files alone: nothing is attacked or trained."""

from __future__ import annotations

from harness.session.verification.folder import verify as verify
from harness.session.verification.report import Report as Report
