"""Speed of reading CelebA: images decoded anew, images kept in memory, and the attribute file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest

from harness_faces import celeba, list_file


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    images: int  # in one call, as a batch of a run
    rows: int  # of the attribute file


FULL = Sizes(images=64, rows=202_599)
TINY = Sizes(images=2, rows=5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, sizes: Sizes) -> Path:
    """A folder of made-up faces that compress to about 10 kB each, as CelebA's do."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_align_celeba").mkdir()
    rng = np.random.default_rng(0)
    for number in range(sizes.images):
        coarse = rng.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (178, 218), interpolation=cv2.INTER_CUBIC)
        image = cv2.add(image, rng.integers(0, 12, image.shape, dtype=np.uint8))
        path = folder / "img_align_celeba" / f"{number:06d}.jpg"
        assert cv2.imwrite(str(path), image, (cv2.IMWRITE_JPEG_QUALITY, 90))
    _write_attributes(folder / "list_attr_celeba.txt", sizes.images)
    return folder


def _write_attributes(path: Path, count: int) -> None:
    values = np.random.default_rng(0).integers(0, 2, (count, 40))
    rows = (
        f"{number:06d}.jpg {' '.join((('-1', ' 1')[v]) for v in row)}" for number, row in enumerate(values)
    )
    names = " ".join(f"Attribute_{column}" for column in range(40))
    path.write_text("\r\n".join([str(count), f"{names} ", *rows, ""]), newline="")


@pytest.mark.parametrize("kept", [False, True], ids=["decoded", "kept"])
@pytest.mark.parametrize("size", [(218, 178), (88, 72)], ids=["218x178", "88x72"])
def test_read_a_batch(
    timed: Any, report: Any, sizes: Sizes, root: Path, size: tuple[int, int], kept: bool
) -> None:
    dataset = celeba.load(root=str(root), size=size, cache_bytes=1 << 30 if kept else 0)
    rows = np.arange(sizes.images)
    dataset.images(rows)  # fills the cache, and the operating system's
    images, seconds = timed(dataset.images, args=(rows,), rounds=20)
    assert images.shape == (sizes.images, 3, *size)
    name = f"CelebA of {size[0]} x {size[1]}, {'kept' if kept else 'decoded'}"
    report(name, median(seconds) / sizes.images * 1e3, "ms an image")


def test_parse_the_full_attribute_file(timed: Any, report: Any, sizes: Sizes, tmp_path: Path) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    _write_attributes(path, sizes.rows)
    table, seconds = timed(list_file.read_table, args=(path,), kwargs={"counted": True}, rounds=3)
    assert table.values.shape == (sizes.rows, 40)
    report("CelebA's attribute file", median(seconds), "s")
