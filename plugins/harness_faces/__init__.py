"""Face data sets: CelebA, and the embedded stand-in that the project draws itself."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import DatasetSpec


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    """The data sets of this plugin."""
    return [
        DatasetSpec(
            name="celeba",
            summary="aligned CelebA faces, 178x218, 40 attributes, identities, partitions",
            source="Liu et al. 2015",
            load="harness_faces.celeba:load",
        ),
        DatasetSpec(
            name="synthetic-faces",
            summary="drawn faces with CelebA's attributes, rates and partitions; needs no files",
            source="this project",
            load="harness_faces.synthetic:load",
        ),
    ]
