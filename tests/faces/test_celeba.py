"""CelebA's official layout: what is read from it, and the one line that each fault in it gives."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from harness.dataset import Dataset
from harness.errors import DatasetError
from harness_faces import celeba, list_file

IDS = ("000002.jpg", "000058.jpg", "000086.jpg", "000132.jpg")
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
LAYOUT = "expected a folder that holds img_align_celeba/ and list_attr_celeba.txt"

ATTRIBUTES = """4
Bald Male Young\x20
000002.jpg -1  1 -1
000058.jpg  1  1 -1
000086.jpg -1 -1  1
000132.jpg -1 -1 -1
"""
IDENTITIES = "000002.jpg 2937\n000058.jpg 2879\n000086.jpg 6145\n000132.jpg 2937\n"
PARTITIONS = "000002.jpg 0\n000058.jpg 1\n000086.jpg 2\n000132.jpg 0\n"
LANDMARKS = f"4\n{' '.join(f'{point}_x {point}_y' for point in POINTS)}\n" + "".join(
    f"{name} 69  109  106  113   77  142   73  152  108  154 \n" for name in IDS
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images of one grey each, and all five parts of the layout."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for grey, name in enumerate(IDS):
        write_image(folder, name, np.full((218, 178, 3), 60 * grey, np.uint8))
    (folder / "list_attr_celeba.txt").write_text(ATTRIBUTES)
    (folder / "identity_CelebA.txt").write_text(IDENTITIES)
    (folder / "list_eval_partition.txt").write_text(PARTITIONS)
    (folder / "list_landmarks_align_celeba.txt").write_text(LANDMARKS)
    return folder


def write_image(folder: Path, name: str, rgb: np.ndarray[Any, Any]) -> None:
    assert cv2.imwrite(str(folder / "img_align_celeba" / name), rgb[..., ::-1])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def fault(folder: Path, **parameters: Any) -> str:
    """The message of the error that loading gives, checked to be one line."""
    with pytest.raises(DatasetError) as caught:
        celeba.load(root=str(folder), **parameters)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_everything_in_the_layout_is_read(root: Path) -> None:
    dataset = celeba.load(root=str(root))
    assert tuple(dataset.ids) == IDS
    assert dataset.shape == (3, 218, 178)
    assert dataset.attribute_names == ("Bald", "Male", "Young")
    assert dataset.attributes is not None
    assert dataset.attributes.dtype == np.bool_
    assert dataset.attributes.astype(int).tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert dataset.identities is not None
    assert dataset.identities.dtype == np.int64
    assert dataset.identities.tolist() == [2937, 2879, 6145, 2937]
    assert dataset.partitions is not None
    assert dataset.partitions.tolist() == ["train", "validation", "test", "train"]
    assert dataset.rows("train").tolist() == [0, 3]
    assert dataset.landmarks is not None
    assert dataset.landmarks.dtype == np.float32
    assert dataset.landmarks[3].tolist() == [[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]]
    assert dataset.landmark_names == ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    images = dataset.images(np.array([3, 0, 2]))
    assert images.mean(axis=(1, 2, 3)).tolist() == [180, 0, 120]


def test_colours_come_out_in_rgb_order(root: Path) -> None:
    write_image(root, IDS[0], np.broadcast_to(np.array([250, 120, 10], np.uint8), (218, 178, 3)))
    image = celeba.load(root=str(root)).images(np.array([0]))[0]
    assert np.abs(image.mean(axis=(1, 2)) - [250, 120, 10]).max() < 3


@pytest.mark.parametrize(
    "name", ["list_attr_celeba.txt", "identity_CelebA.txt", "list_landmarks_align_celeba.txt"]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.rstrip(b" \n"),
        lambda data: data + b"\n\n",
        lambda data: data.replace(b"jpg ", b"jpg \t   "),
    ],
    ids=["crlf", "byte order mark", "no last line end", "blank last rows", "padded"],
)
def test_line_ends_and_padding_do_not_matter(root: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    before = celeba.load(root=str(root)).fingerprint
    (root / name).write_bytes(change((root / name).read_bytes()))
    assert celeba.load(root=str(root)).fingerprint == before


def test_optional_files_may_be_absent(root: Path) -> None:
    for name in ("identity_CelebA.txt", "list_eval_partition.txt", "list_landmarks_align_celeba.txt"):
        (root / name).unlink()
    dataset = celeba.load(root=str(root))
    assert (dataset.identities, dataset.partitions, dataset.landmarks) == (None, None, None)
    assert dataset.landmark_names == ()


def test_other_files_may_list_more_images_in_another_order(root: Path) -> None:
    rows = PARTITIONS.splitlines()[::-1]
    (root / "list_eval_partition.txt").write_text("\n".join(["999999.jpg 1", *rows]))
    partitions = celeba.load(root=str(root)).partitions
    assert partitions is not None
    assert partitions.tolist() == ["train", "validation", "test", "train"]


def test_png_images_are_read_as_listed(root: Path) -> None:
    for name in ("list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"):
        edit(root / name, "000058.jpg", "000058.png")
    edit(root / "list_landmarks_align_celeba.txt", "000058.jpg", "000058.png")
    noise = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    write_image(root, "000058.png", noise)
    assert np.array_equal(celeba.load(root=str(root)).images(np.array([1]))[0], noise.transpose(2, 0, 1))


def test_size_may_be_a_list_as_in_a_manifest(root: Path) -> None:
    dataset = celeba.load(root=str(root), size=[88, 72])  # type: ignore[arg-type]
    assert dataset.shape == (3, 88, 72)
    assert dataset.images(np.arange(4)).shape == (4, 3, 88, 72)
    assert dataset.fingerprint == celeba.load(root=str(root), size=(88, 72)).fingerprint


@pytest.mark.parametrize("size", [(109, 89), (88, 72), (300, 200)])
def test_landmarks_stay_on_what_they_mark(root: Path, size: tuple[int, int]) -> None:
    x, y = 69, 109  # of the left eye in LANDMARKS
    image = np.zeros((218, 178, 3), np.uint8)
    image[y - 4 : y + 5, x - 4 : x + 5] = 255  # its centre of mass is the middle of pixel x, y
    for name in ("list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"):
        edit(root / name, IDS[0], "000002.png")  # JPEG would blur it
    edit(root / "list_landmarks_align_celeba.txt", IDS[0], "000002.png")
    write_image(root, "000002.png", image)
    dataset = celeba.load(root=str(root), size=size)
    mass = dataset.images(np.array([0]))[0, 0].astype(float)  # (H, W)
    rows, columns = np.indices(mass.shape)
    centre = ((mass * columns).sum() / mass.sum(), (mass * rows).sum() / mass.sum())
    assert dataset.landmarks is not None
    # Its rim falls between pixels: 0.04. With pixel corners at whole numbers it would be 0.25 and more.
    assert np.abs(dataset.landmarks[0, 0] - centre).max() < 0.05


def test_fingerprint_does_not_depend_on_the_place(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "elsewhere")
    first, second = celeba.load(root=str(root)), celeba.load(root=str(tmp_path / "elsewhere"), cache_bytes=0)
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("list_attr_celeba.txt", "000086.jpg -1", "000086.jpg  1"),
        ("list_attr_celeba.txt", "Bald", "Bold"),
        ("identity_CelebA.txt", "6145", "6146"),
        ("list_eval_partition.txt", "000086.jpg 2", "000086.jpg 1"),
        ("list_landmarks_align_celeba.txt", "154", "155"),
    ],
)
def test_fingerprint_depends_on_every_annotation(root: Path, name: str, old: str, new: str) -> None:
    before = celeba.load(root=str(root)).fingerprint
    edit(root / name, old, new)
    assert celeba.load(root=str(root)).fingerprint != before


def test_fingerprint_depends_on_size_images_and_present_files(root: Path) -> None:
    seen = {celeba.load(root=str(root)).fingerprint, celeba.load(root=str(root), size=(88, 72)).fingerprint}
    image = root / "img_align_celeba" / IDS[1]
    image.write_bytes(image.read_bytes() + b"\0")
    seen.add(celeba.load(root=str(root)).fingerprint)
    (root / "identity_CelebA.txt").unlink()
    seen.add(celeba.load(root=str(root)).fingerprint)
    assert len(seen) == 4


@pytest.mark.parametrize(
    "size", [(88,), (88, 72, 3), (0, 72), (88.0, 72), (True, 72), "88x72", 88, None, {88: 72, 72: 88}]
)
def test_size_must_be_a_height_and_a_width(root: Path, size: Any) -> None:
    message = fault(root, size=size)
    assert message.startswith(f"celeba: size = {size!r} is not a height and a width")


@pytest.mark.parametrize("cache_bytes", [-1, 1.5, True, "1 GB"])
def test_cache_bytes_must_be_a_number_of_bytes(root: Path, cache_bytes: Any) -> None:
    assert f"cache_bytes = {cache_bytes!r}" in fault(root, cache_bytes=cache_bytes)


def test_root_that_does_not_exist(root: Path) -> None:
    assert fault(root / "nowhere") == f"{root}/nowhere: does not exist; {LAYOUT}"


@pytest.mark.parametrize("root", ["", " ", 5, None])
def test_root_that_is_no_path(root: Any) -> None:
    with pytest.raises(DatasetError) as caught:
        celeba.load(root=root)
    assert str(caught.value) == f"celeba: root = {root!r} is not a path; {LAYOUT}"


@pytest.mark.parametrize("root", ["~nobody-of-this-name/celeba", "a\0b", "x" * 5000])
def test_root_that_cannot_exist(root: str) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        celeba.load(root=root)


@pytest.mark.parametrize(
    "nearby", ["..", "img_align_celeba", "list_attr_celeba.txt", "img_align_celeba/000002.jpg"]
)
def test_root_one_level_off_names_the_right_one(root: Path, nearby: str) -> None:
    message = fault((root / nearby).resolve())
    assert message.endswith(f'is not the data set\'s folder; did you mean root = "{root}"?')


def test_root_that_is_a_file(tmp_path: Path) -> None:
    archive = tmp_path / "celeba.zip"
    archive.touch()
    assert fault(archive).startswith(f"{archive}: is not a folder; {LAYOUT}")


def test_root_without_images(root: Path) -> None:
    shutil.rmtree(root / "img_align_celeba")
    assert fault(root).startswith(f"{root}: has no img_align_celeba; {LAYOUT}")


def test_root_with_the_parts_in_folders_of_their_own(root: Path) -> None:
    (root / "Anno").mkdir()
    (root / "list_attr_celeba.txt").rename(root / "Anno" / "list_attr_celeba.txt")
    assert fault(root) == f"{root}: has no list_attr_celeba.txt; move {root}/Anno/list_attr_celeba.txt there"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("4\n", "5\n", "row 1 says 5 images, but 4 are listed; write 4 there, or restore the file"),
        ("4\n", "", 'row 1 is "Bald Male Young"; it must be the number of images'),
        ("Male", "Bald", "row 2 names Bald twice; it must name each column once"),
        ("Bald Male Young ", " ", "row 2 is empty; it must name each column once"),
        (" 1 -1\n000086", " 1\n000086", "row 4 has 3 columns; it must have 4: the file name and 3 values"),
        ("-1 -1 -1\n", "-1 -1 -1 -1\n", "row 6 has 5 columns; it must have 4: the file name and 3 values"),
        ("000086", "\n000086", "row 5 has 0 columns; it must have 4: the file name and 3 values"),
        ("58.jpg  1", "58.jpg  0", "row 4: 000058.jpg has Bald = 0; it must be 1 or -1"),
        ("58.jpg  1", "58.jpg -7", "row 4: 000058.jpg has Bald = -7; it must be 1 or -1"),
        ("58.jpg  1", "58.jpg  x", 'row 4: column 2 is "x"; it must be a whole number of at most 9 digits'),
        (
            "86.jpg -1 -1",
            "86.jpg -1  -",
            'row 5: column 3 is "-"; it must be a whole number of at most 9 digits',
        ),
        (
            "58.jpg  1",
            "58.jpg 1.0",
            'row 4: column 2 is "1.0"; it must be a whole number of at most 9 digits',
        ),
        (
            "58.jpg  1",
            "58.jpg 4294967297",
            'row 4: column 2 is "4294967297"; it must be a whole number of at',
        ),
        ("000132", "000058", "row 6: 000058.jpg is listed in row 4 already; remove one of the two"),
    ],
)
def test_malformed_attribute_file(root: Path, old: str, new: str, expected: str) -> None:
    path = root / "list_attr_celeba.txt"
    edit(path, old, new)
    assert fault(root).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"), [("", 'row 1 is ""'), ("4\n", "row 2 is empty"), ("0\nBald\n", "lists no images")]
)
def test_attribute_file_cut_short(root: Path, text: str, expected: str) -> None:
    path = root / "list_attr_celeba.txt"
    path.write_text(text)
    assert fault(root).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("damaged", [3, 8194, 8195, 20_000])
def test_rows_of_long_files_are_counted_right(tmp_path: Path, damaged: int) -> None:
    rows = [f"{number:06d}.jpg  1 -1" for number in range(3, 20_001)]
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text("\n".join([str(len(rows)), "Bald Male", *rows]))
    table = list_file.read_table(path, counted=True)
    assert table.values.tolist() == [[1, -1]] * len(rows)
    assert table.ids[damaged - table.first] == f"{damaged:06d}.jpg"
    rows[damaged - 3] = rows[damaged - 3].replace("-1", "?")
    path.write_text("\n".join([str(len(rows)), "Bald Male", *rows]))
    with pytest.raises(DatasetError, match=rf'row {damaged}: column 3 is "\?"'):
        list_file.read_table(path, counted=True)


def test_numbers_of_all_lengths(tmp_path: Path) -> None:
    path = tmp_path / "identity_CelebA.txt"
    numbers = [0, 7, -3, 10177, 999_999_999, -999_999_999, 12]
    path.write_text("\n".join(f"{row}.jpg {number}" for row, number in enumerate(numbers)) + "\nlast.jpg +5")
    assert list_file.read_table(path, counted=False, width=1).values[:, 0].tolist() == [*numbers, 5]


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "list_eval_partition.txt",
            "000086.jpg 2",
            "000086.jpg 3",
            "row 3: 000086.jpg is in partition 3; it must be one of 0 (train), 1 (validation), 2 (test)",
        ),
        ("list_eval_partition.txt", "000086.jpg 2", "000086.jpg -1", "row 3: 000086.jpg is in partition -1;"),
        (
            "list_eval_partition.txt",
            "000086.jpg 2",
            "000086.jpg",
            "row 3 has 1 columns; it must have 2: the file",
        ),
        (
            "identity_CelebA.txt",
            "000086",
            "000087",
            "has no row for 000086.jpg, listed in row 5 of {root}/list_attr",
        ),
        ("identity_CelebA.txt", "6145", "Ann", 'row 3: column 2 is "Ann"; it must be a whole number'),
        ("identity_CelebA.txt", "000086", "000058", "row 3: 000058.jpg is listed in row 2 already;"),
        ("list_landmarks_align_celeba.txt", "4", "5", "row 1 says 5 images, but 4 are listed;"),
        (
            "list_landmarks_align_celeba.txt",
            "lefteye_x",
            "eye_x",
            "row 2 must name the columns lefteye_x lefteye_y",
        ),
        (
            "list_landmarks_align_celeba.txt",
            "69  109",
            "109",
            "row 3 has 10 columns; it must have 11: the file",
        ),
    ],
)
def test_malformed_optional_file(root: Path, name: str, old: str, new: str, expected: str) -> None:
    edit(root / name, old, new)
    assert fault(root).startswith(f"{root / name}: {expected.format(root=root)}")


def test_listed_images_must_be_on_disk(root: Path) -> None:
    folder = root / "img_align_celeba"
    (folder / IDS[2]).unlink()
    expected = f"{root}/list_attr_celeba.txt: row 5: 000086.jpg is not in {folder}"
    assert fault(root) == f"{expected}; restore it, or remove the row"
    (folder / IDS[3]).unlink()
    (folder / IDS[3]).mkdir()  # a folder of that name is no image
    assert fault(root) == f"{expected} (and 1 more); restore it, or remove the row"


def test_images_one_folder_too_deep(root: Path) -> None:
    (root / "img_align_celeba").rename(root / "inner")
    (root / "img_align_celeba").mkdir()
    (root / "inner").rename(root / "img_align_celeba" / "img_align_celeba")
    assert fault(root).endswith(
        f"(and 3 more); move the images up from {root}/img_align_celeba/img_align_celeba"
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[: len(data) // 2], "is a truncated JPEG; fetch or unpack it again"),
        (
            lambda data: b"<html>quota exceeded</html>",
            "is neither a JPEG nor a PNG; fetch or unpack it again",
        ),
        (lambda data: b"", "is empty; fetch or unpack it again"),
    ],
    ids=["truncated", "web page", "empty"],
)
def test_damaged_image_is_named_with_its_row(
    root: Path, damage: Callable[[bytes], bytes], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    image = root / "img_align_celeba" / IDS[1]
    image.write_bytes(damage(image.read_bytes()))
    dataset = celeba.load(root=str(root))
    with pytest.raises(DatasetError) as caught:
        dataset.images(np.arange(4))
    assert str(caught.value) == f"{image} (row 4 of {root}/list_attr_celeba.txt) {expected}"
    assert capfd.readouterr() == ("", "")
    assert dataset.images(np.array([0, 2])).shape == (2, 3, 218, 178)


def test_image_of_another_size_is_named_with_its_row(root: Path) -> None:
    write_image(root, IDS[3], np.zeros((178, 218, 3), np.uint8))
    with pytest.raises(DatasetError) as caught:
        celeba.load(root=str(root), size=(178, 218)).images(np.array([3]))
    assert str(caught.value) == (
        f"{root}/img_align_celeba/000132.jpg (row 6 of {root}/list_attr_celeba.txt) is 218 pixels wide and "
        "178 high, expected 178 x 218; replace it by the aligned image"
    )


def test_image_that_vanishes_after_loading(root: Path) -> None:
    dataset = celeba.load(root=str(root))
    (root / "img_align_celeba" / IDS[0]).unlink()
    with pytest.raises(
        DatasetError, match=re.escape("cannot be read: No such file or directory; restore it")
    ):
        dataset.images(np.array([0]))


@pytest.fixture(scope="module")
def real() -> Dataset:
    folder = os.environ.get("CELEBA_ROOT")
    if not folder:
        pytest.skip("CELEBA_ROOT is unset")
    return celeba.load(root=folder, size=(88, 72))


@pytest.mark.real_data
def test_real_annotations(real: Dataset) -> None:
    assert real.identities is not None
    assert real.partitions is not None
    assert len(real) == 6000
    assert len(real.attribute_names) == 40
    assert [len(real.rows(name)) for name in ("train", "validation", "test")] == [4560, 780, 660]
    assert len(np.unique(real.identities)) == 200
    # No person is in two partitions: as many pairs of person and partition as there are persons.
    assert len(set(zip(real.identities.tolist(), real.partitions.tolist(), strict=True))) == 200


@pytest.mark.real_data
def test_real_images(real: Dataset) -> None:
    rows = np.random.default_rng(0).permutation(len(real))[:64]
    images = real.images(rows)
    assert images.std(axis=(1, 2, 3)).min() > 10  # 8-bit levels: none is blank
    assert np.array_equal(real.images(rows[::-1]), images[::-1])  # now from the cache
