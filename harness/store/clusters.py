"""Clusters are cases that are no independent evidence: those of one person, or of one image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from harness.store.parquet import read_parquet

IDENTITY = "identity"
"""The annotation that says which person an image shows."""


def read_people(folder: Path) -> dict[str, dict[str, int]]:
    """Return the person that each attacked image shows, by data set and sample id.

    Data sets without identities are missing, and so are all of a folder that was written before
    identities were stored.
    """
    file = folder / "annotations.parquet"
    if not file.is_file():
        return {}
    table = read_parquet(file)
    table = table.filter(pc.equal(table.column("name"), IDENTITY))
    found: dict[str, dict[str, int]] = {}
    columns = (table.column(name).to_pylist() for name in ("dataset", "sample_id", "value"))
    for dataset, sample, value in zip(*columns, strict=True):
        found.setdefault(dataset, {})[sample] = int(value)
    return found


def cluster_of(sample: str, people: Mapping[str, int]) -> str:
    """Return the cluster of an image: its person where that is known, else the image itself."""
    return f"person {people[sample]}" if sample in people else sample


def cluster_column(samples: pa.ChunkedArray, people: Mapping[str, int]) -> pa.Array:
    """Return the cluster of each case from its sample id."""
    ids = samples.cast(pa.string()).combine_chunks().dictionary_encode()
    labels = [cluster_of(sample, people) for sample in ids.dictionary.to_pylist()]
    return pc.take(pa.array(labels, pa.string()), ids.indices)
