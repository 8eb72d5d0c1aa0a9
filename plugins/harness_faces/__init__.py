"""This plugin brings CelebA, MNIST, a substitute for each that needs no files, and trees of images."""

from __future__ import annotations

from harness.hookspecs import hookimpl
from harness.specs import DatasetSpec


@hookimpl
def harness_datasets() -> list[DatasetSpec]:
    """Return the data sets of this plugin."""
    return [
        DatasetSpec(
            name="celeba",
            summary="aligned CelebA faces, 178x218, 40 attributes, identities, partitions",
            source="Liu et al. 2015",
            load="harness_faces.celeba:load",
        ),
        DatasetSpec(
            name="celeba-unaligned",
            summary="CelebA's original images: the face is found by a detector and cut out",
            source="Liu et al. 2015, as in Ding et al. 2018 (PaW)",
            load="harness_faces.celeba_unaligned:load",
            fit="harness_faces.celeba_unaligned:fit",
        ),
        DatasetSpec(
            name="unaligned-faces",
            summary="aligned faces of another data set in wider frames, turned, scaled and moved",
            source="this project",
            load="harness_faces.unaligned_faces:load",
            fit="harness_faces.unaligned_faces:fit",
            derived=True,
        ),
        DatasetSpec(
            name="cub-200",
            summary="birds of 200 kinds, with boxes, 15 parts and 312 attributes",
            source="Wah et al. 2011",
            load="harness_faces.cub:load",
        ),
        DatasetSpec(
            name="synthetic-faces",
            summary="drawn faces with CelebA's attributes, rates and partitions; needs no files",
            source="this project",
            load="harness_faces.synthetic:load",
        ),
        DatasetSpec(
            name="image-folder",
            summary="image files of your own, or LFW's: a folder per person, one size for all",
            source="this project",
            load="harness_faces.image_folder:load",
        ),
        DatasetSpec(
            name="mnist",
            summary="handwritten digits, 28x28, with classes and partitions",
            source="LeCun et al. 1998",
            load="harness_faces.mnist:load",
        ),
        DatasetSpec(
            name="sklearn-digits",
            summary="handwritten digits, 8x8, that come with scikit-learn; needs no files",
            source="Alpaydin & Kaynak 1998, as in scikit-learn",
            load="harness_faces.sklearn_digits:load",
        ),
    ]
