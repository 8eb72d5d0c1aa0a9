"""The catalogue holds what installed plugins provide, by name; an entry knows its parameters and its code."""

from __future__ import annotations

from harness.catalog.entries import (
    GROUP as GROUP,
    KINDS as KINDS,
    SINGULAR as SINGULAR,
    Catalog as Catalog,
    Choice as Choice,
    Entry as Entry,
    Plugin as Plugin,
    Section as Section,
    catalog as catalog,
    read_catalog as read_catalog,
)
