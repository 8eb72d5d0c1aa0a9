"""Speed of reading CelebA: images decoded anew, images kept in memory, and the attribute file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness_faces import celeba

IMAGES = 64
"""Images in one call, as a batch of a run."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up faces that compress to about 10 kB each, as CelebA's do."""
    folder = tmp_path_factory.mktemp("celeba")
    (folder / "img_align_celeba").mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (178, 218), interpolation=cv2.INTER_CUBIC)
        image = cv2.add(image, rng.integers(0, 12, image.shape, dtype=np.uint8))
        path = folder / "img_align_celeba" / f"{number:06d}.jpg"
        assert cv2.imwrite(str(path), image, (cv2.IMWRITE_JPEG_QUALITY, 90))
    _write_attributes(folder / "list_attr_celeba.txt", IMAGES)
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
def test_read_a_batch(benchmark: BenchmarkFixture, root: Path, size: tuple[int, int], kept: bool) -> None:
    dataset = celeba.load(root=str(root), size=size, cache_bytes=1 << 30 if kept else 0)
    rows = np.arange(IMAGES)
    dataset.images(rows)  # fills the cache, and the operating system's
    images = benchmark(dataset.images, rows)
    assert images.shape == (IMAGES, 3, *size)


def test_parse_the_full_attribute_file(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    _write_attributes(path, 202_599)
    table = benchmark.pedantic(celeba.read_table, (path,), {"counted": True}, rounds=3)
    assert table.values.shape == (202_599, 40)
