"""MNIST's files: what is read from them, the one line that each fault gives, and the stand-in for them."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from harness.errors import DatasetError
from harness.testing import dataset_checks
from harness_faces import mnist, sklearn_digits

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
PIXELS = np.random.default_rng(0).integers(0, 256, (9, 4, 5), dtype=np.uint8)
LABELS = np.array([5, 0, 9, 3, 3, 1, 2, 7, 4], np.uint8)


def write_idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    """An IDX file as its specification has it; compressed where its name says so."""
    data = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    data += values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six training and three test images of 4 x 5 pixels."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    write_idx(folder / f"{TRAIN_IMAGES}.gz", PIXELS[:6])
    write_idx(folder / f"{TRAIN_LABELS}.gz", LABELS[:6])
    write_idx(folder / f"{TEST_IMAGES}.gz", PIXELS[6:])
    write_idx(folder / f"{TEST_LABELS}.gz", LABELS[6:])
    return folder


def fault(folder: Path) -> str:
    """The message of the error that loading gives, checked to be one line."""
    with pytest.raises(DatasetError) as caught:
        mnist.load(root=str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_labels_and_partitions_are_read(root: Path) -> None:
    dataset = mnist.load(root=str(root))
    assert dataset.shape == (1, 4, 5)
    assert list(dataset.ids) == [
        *("train-00000", "train-00001", "train-00002", "train-00003", "train-00004", "train-00005"),
        *("test-00000", "test-00001", "test-00002"),
    ]
    assert np.array_equal(dataset.images(np.array([8, 0])), PIXELS[[8, 0]][:, None])
    assert dataset.labels is not None
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.class_names == tuple("0123456789")
    assert dataset.rows("train").tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.rows("test").tolist() == [6, 7, 8]


def as_plain_files(root: Path) -> None:
    for path in root.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def with_dots(root: Path) -> None:
    for path in root.iterdir():
        path.rename(root / path.name.replace("-idx", ".idx"))


def as_another_test_set(root: Path) -> None:
    for path in root.glob("t10k*"):
        path.rename(root / path.name.replace("t10k", "t3k"))


def named_as_if_compressed(root: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(gzip.decompress(path.read_bytes()))


def beside_others(root: Path) -> None:
    (root / "README").touch()
    (root / "train-images-idx3-ubyte.gz.part").write_bytes(b"half")
    (root / "train-images-idx1-ubyte").write_bytes(b"no such part")


@pytest.mark.parametrize(
    "change",
    [as_plain_files, with_dots, as_another_test_set, named_as_if_compressed, beside_others],
    ids=lambda change: str(change.__name__),
)
def test_all_spellings_hold_the_same(root: Path, change: Callable[[Path], None]) -> None:
    before = mnist.load(root=str(root))
    change(root)
    after = mnist.load(root=str(root))
    assert after.fingerprint == before.fingerprint
    assert list(after.ids) == list(before.ids)
    assert np.array_equal(after.images(np.arange(9)), PIXELS[:, None])


def test_fingerprint_is_of_the_content_and_not_of_the_place(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "elsewhere")
    seen = {mnist.load(root=str(root)).fingerprint, mnist.load(root=str(tmp_path / "elsewhere")).fingerprint}
    assert len(seen) == 1
    other = PIXELS[:6].copy()
    other[5, 3, 4] ^= 1
    write_idx(root / f"{TRAIN_IMAGES}.gz", other)
    seen.add(mnist.load(root=str(root)).fingerprint)
    write_idx(root / f"{TEST_LABELS}.gz", np.array([2, 7, 5], np.uint8))
    seen.add(mnist.load(root=str(root)).fingerprint)
    assert len(seen) == 3


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / f"{name}.gz"
        path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / f"{name}.gz").unlink()


def write(name: str, values: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    return lambda root: write_idx(root / f"{name}.gz", values)


def second_test_set(root: Path) -> None:
    shutil.copy(root / f"{TEST_IMAGES}.gz", root / "t3k-images-idx3-ubyte.gz")


def cut(root: Path) -> None:
    path = root / f"{TRAIN_LABELS}.gz"
    path.write_bytes(path.read_bytes()[:-9])


def flipped(root: Path) -> None:
    path = root / f"{TRAIN_IMAGES}.gz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "place", "expected"),
    [
        (
            rewrite(TRAIN_IMAGES, lambda data: data[:-1]),
            TRAIN_IMAGES,
            "is truncated: 6 x 4 x 5 makes 136 bytes",
        ),
        (rewrite(TRAIN_IMAGES, lambda data: data + b"\0"), TRAIN_IMAGES, "is too long: 6 x 4 x 5"),
        (rewrite(TEST_LABELS, lambda data: data[:-1]), TEST_LABELS, "is truncated: 3 makes 11 bytes"),
        (rewrite(TRAIN_IMAGES, lambda data: data[:10]), TRAIN_IMAGES, "is truncated in its first 16 bytes"),
        (rewrite(TRAIN_IMAGES, lambda data: data[:3]), TRAIN_IMAGES, "is truncated in its first 16 bytes"),
        (
            rewrite(TEST_IMAGES, lambda data: b"<htm" + data),
            TEST_IMAGES,
            "begins with 0x3c68746d, expected 0x00000803",
        ),
        (rewrite(TEST_LABELS, lambda data: b"\0\0\x0d\1" + data[4:]), TEST_LABELS, "expected 0x00000801"),
        (write(TRAIN_IMAGES, LABELS), TRAIN_IMAGES, "begins with 0x00000801, expected 0x00000803"),
        (
            rewrite(TRAIN_IMAGES, lambda data: data[:4] + b"\xff" * 12),
            TRAIN_IMAGES,
            "is truncated: 4294967295 x",
        ),
        (cut, TRAIN_LABELS, "is a damaged gzip file"),
        (flipped, TRAIN_IMAGES, "is a damaged gzip file"),
        (write(TRAIN_LABELS, LABELS[:5]), TRAIN_LABELS, "has 5 labels for the 6 images of train-images-idx3"),
        (write(TEST_LABELS, np.array([1, 10, 2], np.uint8)), TEST_LABELS, "label 1, counted from 0, is 10"),
        (write(TRAIN_IMAGES, PIXELS[:0]), TRAIN_LABELS, "has 6 labels for the 0 images"),
        (write(TEST_IMAGES, PIXELS[6:, :3]), "", "are 4 x 5 pixels, test images 3 x 5"),
        (write(TEST_IMAGES, PIXELS[6:, :0]), TEST_IMAGES, "has no pixels"),
        (
            remove(TEST_LABELS),
            "",
            "has no t10k-labels-idx1-ubyte, compressed or not, beside t10k-images-idx3",
        ),
        (remove(TRAIN_IMAGES), "", "has no train-images-idx3-ubyte, compressed or not, beside train-labels"),
        (second_test_set, "", "has 2 test sets, t10k and t3k; leave one there"),
    ],
)
def test_a_fault_names_the_file_and_the_remedy(
    root: Path, damage: Callable[[Path], None], place: str, expected: str
) -> None:
    damage(root)
    message = fault(root)
    assert message.startswith(f"{root}/{place}.gz: " if place else f"{root}: ")
    assert expected in message
    assert ";" in message or "must be" in message


@pytest.mark.parametrize(("prefix", "missing"), [("train", "training set"), ("t10k", "test set")])
def test_a_set_that_is_not_there(root: Path, prefix: str, missing: str) -> None:
    for path in root.glob(f"{prefix}*"):
        path.unlink()
    assert fault(root).startswith(f"{root}: has no {missing}; expected a folder that holds train-images-idx3")


@pytest.mark.parametrize("nearby", ["..", "../..", f"{TRAIN_IMAGES}.gz", "raw"])
def test_root_one_level_off_names_the_right_one(root: Path, nearby: str) -> None:
    (root / "raw").mkdir()
    message = fault((root / nearby).resolve())
    assert message.endswith(f'has no IDX files; did you mean root = "{root}"?')


@pytest.mark.parametrize(
    ("name", "expected"),
    [("nowhere", "does not exist"), ("~nobody-of-this-name", "does not exist"), ("a\0b", "does not exist")],
)
def test_root_that_does_not_exist(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in fault(tmp_path / name)


def test_root_without_files(tmp_path: Path) -> None:
    lonely = tmp_path / "a" / "b" / "c"
    lonely.mkdir(parents=True)
    assert fault(lonely).startswith(f"{lonely}: has no IDX files; expected a folder")
    (lonely / "archive").touch()
    assert fault(lonely / "archive").startswith(f"{lonely}/archive: is not a folder; expected a folder")


@pytest.mark.parametrize("root", ["", " ", 5, None])
def test_root_that_is_no_path(root: Any) -> None:
    with pytest.raises(DatasetError, match="is not a path; expected a folder"):
        mnist.load(root=root)


@pytest.mark.parametrize("check", dataset_checks("sklearn-digits"))
def test_stand_in_keeps_the_contract(check: Callable[[], None]) -> None:
    check()


def test_contract_of_files(root: Path) -> None:
    for check in dataset_checks("mnist", params={"root": str(root)}):
        check()


def test_stand_in_is_the_librarys_digits() -> None:
    dataset, digits = sklearn_digits.load(), load_digits()
    assert dataset.shape == (1, 8, 8)
    images = dataset.images(np.arange(len(dataset)))[:, 0]
    assert (
        np.abs(images * (16 / 255) - digits.images).max() < 16 / 255
    )  # half a grey level, and it is full range
    assert (images.min(), images.max()) == (0, 255)
    assert dataset.labels is not None
    assert np.array_equal(dataset.labels, digits.target)


def test_stand_in_has_every_digit_in_both_partitions() -> None:
    dataset = sklearn_digits.load()
    assert dataset.labels is not None
    train, test = dataset.rows("train"), dataset.rows("test")
    assert len(train) + len(test) == len(dataset)
    assert np.bincount(dataset.labels[test]).min() >= 15
    assert np.bincount(dataset.labels[train]).min() >= 140


@pytest.mark.real_data
def test_real_files() -> None:
    folder = os.environ.get("MNIST_ROOT")
    if not folder:
        pytest.skip("MNIST_ROOT is unset")
    dataset = mnist.load(root=folder)
    assert dataset.shape == (1, 28, 28)
    assert len(dataset.rows("train")) == 60_000
    assert dataset.labels is not None
    # LeCun et al.'s counts of the training set
    counts = np.bincount(dataset.labels[dataset.rows("train")]).tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert dataset.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    images = dataset.images(dataset.rows("train"))
    assert images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # widely published
    assert images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
