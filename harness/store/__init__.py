"""The store is the results folder on disk: its schemas, its Parquet files and its images."""

from __future__ import annotations

from harness.store.folder import Store as Store
