"""The list files of CUB-200-2011 have rows of an image's number and of what they say of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from harness.errors import DatasetError
from harness_faces.decoding import read_pixels

_LABEL_COLUMNS = 5  # image, attribute, present, certainty, seconds
_MOST_COLUMNS = 8  # published rows have up to seven


@dataclass(frozen=True, eq=False)
class Bird:
    """A Bird is one image, and what the files say of it."""

    path: Path
    place: str
    place_of_box: str
    box: npt.NDArray[np.float64]  # (4,): left, top, width, height
    parts: npt.NDArray[np.float64]  # (P, 2)

    def size(self) -> tuple[int, int]:
        """Return height and width, from the beginning of the file.

        Raises:
            DatasetError: it cannot be read.
        """
        try:
            with (
                warnings.catch_warnings(action="ignore"),
                Image.open(self.path, formats=("JPEG", "PNG")) as image,
            ):
                return image.height, image.width
        except (OSError, SyntaxError, ValueError) as error:
            read_pixels(self.path, self.place)  # says what is wrong with it
            raise DatasetError(f"{self.place} has no size that can be read; fetch it again") from error


@dataclass(frozen=True, eq=False)
class Birds:
    """Birds are N images, and what the files say of them."""

    folder: Path
    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]  # (N,) from 0
    class_names: tuple[str, ...]
    training: npt.NDArray[np.bool_]  # (N,)
    boxes: npt.NDArray[np.float64]  # (N, 4): left, top, width, height in pixels
    part_names: tuple[str, ...]
    parts: npt.NDArray[np.float64]  # (N, P, 2), NaN where hidden
    attribute_names: tuple[str, ...]
    attributes: npt.NDArray[np.bool_]  # (N, M)
    odd_rows: int
    file_bytes: npt.NDArray[np.int64]  # (N,)
    box_rows: npt.NDArray[np.int64]  # (N,): the row of each image in the file of boxes, from 1

    def bird(self, row: int) -> Bird:
        """Return one image."""
        path = self.folder / "images" / self.ids[row]
        listed = self.folder / "bounding_boxes.txt"
        return Bird(
            path,
            f"{path} (row {row + 1} of {self.folder / 'images.txt'})",
            f"{listed}: row {self.box_rows[row]}",
            self.boxes[row],
            self.parts[row],
        )


def read_birds(folder: Path) -> Birds:
    """Read all list files of a folder.

    Raises:
        DatasetError: one is missing, malformed, or contradicts another.
    """
    names = _named(folder / "images.txt")
    number = np.array([each for each, _ in names])
    ids = tuple(name for _, name in names)
    count = len(ids)
    for row in np.flatnonzero(number != np.arange(1, count + 1)):
        fault = f"has the number {number[row]}; images are numbered from 1, in order"
        _fail(folder / "images.txt", row, fault)
    labels = _column(folder / "image_class_labels.txt", count, 1)[0][:, 0].astype(np.int64)
    class_names = _class_names(folder, ids, labels)
    training, _ = _column(folder / "train_test_split.txt", count, 1)
    for row in np.flatnonzero(~np.isin(training[:, 0], (0, 1))):
        _fail(
            folder / "train_test_split.txt",
            row,
            f"says {training[row, 0]:g}; it must be 1 (train) or 0 (test)",
        )
    boxes, rows = _column(folder / "bounding_boxes.txt", count, 4)
    for row in np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1)):
        width, height = boxes[row, 2:]
        fault = f"is a box of {width:g} x {height:g} pixels; it must have an area"
        _fail(folder / "bounding_boxes.txt", rows[row] - 1, fault)
    part_names = tuple(name for _, name in _named(folder / "parts" / "parts.txt"))
    parts = _parts(folder / "parts" / "part_locs.txt", count, len(part_names))
    attribute_names = tuple(name for _, name in _named(_attribute_file(folder)))
    attributes, odd = _attributes(
        folder / "attributes" / "image_attribute_labels.txt", count, len(attribute_names)
    )
    return Birds(
        folder,
        ids,
        labels - 1,
        class_names,
        training[:, 0] == 1,
        boxes,
        part_names,
        parts,
        attribute_names,
        attributes,
        odd,
        _file_bytes(folder, ids),
        rows,
    )


def _fail(path: Path, row: int | np.intp, fault: str) -> NoReturn:
    raise DatasetError(f"{path}: row {row + 1} {fault}")


def _lines(path: Path) -> list[list[str]]:
    """Return the words of each row; blank rows at the end are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
    rows = [line.split() for line in text.rstrip().splitlines()]
    if not rows:
        raise DatasetError(f"{path}: is empty; restore the file")
    return rows


def _named(path: Path) -> list[tuple[int, str]]:
    """Return the rows of a file of numbers and names, which may hold blanks."""
    found: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for row, words in enumerate(_lines(path)):
        if len(words) < 2 or not words[0].isascii() or not words[0].isdigit():
            _fail(path, row, f'is "{" ".join(words)[:60]}"; it must be a number and a name')
        name = " ".join(words[1:])
        if seen.setdefault(name, row) != row:
            _fail(path, row, f"names {name}, as row {seen[name] + 1} does; remove one of the two")
        found.append((int(words[0]), name))
    return found


def _numbers(path: Path, width: int) -> npt.NDArray[np.float64]:
    """Return the numbers (R, width) of a file that has as many in each row."""
    rows = _lines(path)
    for at, words in enumerate(rows):
        if len(words) != width:
            _fail(path, at, f"has {len(words)} columns; it must have {width}")
    try:
        found = np.array(rows, dtype=np.float64)
    except ValueError:
        for at, words in enumerate(rows):
            for word in words:
                if not _is_number(word):
                    _fail(path, at, f'has "{word[:40]}" where a number must be')
        raise
    for row in np.flatnonzero(~np.isfinite(found).all(axis=1)):
        _fail(path, row, "has a number that is not finite")
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _column(path: Path, count: int, width: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return what a file says of each image (N, width), and the row that says it (N,), from 1."""
    table = _numbers(path, 1 + width)
    where = np.zeros(count, np.int64)
    for row, number in enumerate(table[:, 0]):
        if number not in range(1, count + 1):
            _fail(path, row, f"speaks of image {number:g}; images.txt numbers them from 1 to {count}")
        if where[int(number) - 1]:
            _fail(path, row, f"speaks of image {number:g}, as row {where[int(number) - 1]} does; remove one")
        where[int(number) - 1] = row + 1
    for missing in np.flatnonzero(where == 0):
        raise DatasetError(f"{path}: has no row for image {missing + 1}; restore the file")
    return table[where - 1, 1:], where


def _class_names(folder: Path, ids: Sequence[str], labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the names of the classes: the folders of their images."""
    path = folder / "image_class_labels.txt"
    names: dict[int, str] = {}
    for row, (sample_id, label) in enumerate(zip(ids, labels.tolist(), strict=True)):
        own = sample_id.rpartition("/")[0] or str(label)
        if label < 1 or names.setdefault(label, own) != own:
            fault = f"is in class {label}, with images of the folder {names.get(label)}"
            raise DatasetError(f"{path}: image {row + 1}, {sample_id}, {fault}; restore the file")
    return tuple(names.get(label, str(label)) for label in range(1, int(labels.max()) + 1))


def _parts(path: Path, count: int, parts: int) -> npt.NDArray[np.float64]:
    """Return x and y (N, P, 2) of each part, NaN where it is hidden."""
    table = _numbers(path, 5)
    image, part, visible = table[:, 0], table[:, 1], table[:, 4]
    odd = ~np.isin(image, np.arange(1, count + 1)) | ~np.isin(part, np.arange(1, parts + 1))
    for row in np.flatnonzero(odd):
        _fail(
            path, row, f"speaks of image {image[row]:g} and part {part[row]:g}; there are {count} and {parts}"
        )
    for row in np.flatnonzero(~np.isin(visible, (0, 1))):
        _fail(path, row, f"says visible = {visible[row]:g}; it must be 1 or 0")
    found = np.full((count, parts, 2), np.nan)
    shown = visible == 1
    found[image[shown].astype(int) - 1, part[shown].astype(int) - 1] = table[shown, 2:4]
    return found


def _attribute_file(folder: Path) -> Path:
    """Return the file of the attributes' names, which lies beside the folder in the published archive."""
    for path in (folder / "attributes", folder, folder.parent):
        if os.path.isfile(path / "attributes.txt"):
            return path / "attributes.txt"
    raise DatasetError(
        f"{folder}: has no attributes/attributes.txt, and none lies beside it; in the published "
        "archive it is next to the folder CUB_200_2011"
    )


def _attributes(path: Path, count: int, width: int) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which attributes are present (N, M), and the number of rows with more columns than five."""
    columns, odd = _label_rows(path)
    image, attribute, present = columns
    wrong = (image < 1) | (image > count) | (attribute < 1) | (attribute > width)
    for row in np.flatnonzero(wrong):
        fault = f"speaks of image {image[row]} and attribute {attribute[row]}; there are {count} and {width}"
        _fail(path, row, fault)
    for row in np.flatnonzero((present != 0) & (present != 1)):
        _fail(path, row, f"says {present[row]}; it must be 1 (present) or 0")
    found = np.zeros((count, width), np.int8) - 1
    found[image - 1, attribute - 1] = present
    for first, second in np.argwhere(found < 0):
        raise DatasetError(
            f"{path}: has no row for image {first + 1} and attribute {second + 1}; restore the file"
        )
    return found == 1, odd


def _label_rows(path: Path) -> tuple[npt.NDArray[np.int64], int]:
    """Return the first three columns (3, R) of the file, and the number of rows with more than five.

    The published file has 3.7 million rows, which pandas reads; only faults are looked for row by row.
    """
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=range(_MOST_COLUMNS), skip_blank_lines=False)
        whole = all(pd.api.types.is_integer_dtype(table[column]) for column in range(3))
        if whole and table[_LABEL_COLUMNS - 1].notna().all():
            return table[[0, 1, 2]].to_numpy(np.int64).T, int(table[_LABEL_COLUMNS].notna().sum())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
    except (ValueError, UnicodeDecodeError):  # pandas' parser errors are ValueErrors
        pass
    rows = _lines(path)
    for row, words in enumerate(rows):
        if not _LABEL_COLUMNS <= len(words) <= _MOST_COLUMNS:
            _fail(path, row, f"has {len(words)} columns; it must have {_LABEL_COLUMNS}")
        if not all(word.isascii() and word.isdigit() for word in words[:3]):
            shown = " ".join(words)[:60]
            _fail(path, row, f'is "{shown}"; it must begin with three whole numbers')
    first = np.array([words[:3] for words in rows], np.int64).T
    return first, sum(len(words) > _LABEL_COLUMNS for words in rows)


def _file_bytes(folder: Path, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    found = np.empty(len(ids), np.int64)
    for row, sample_id in enumerate(ids):
        path = folder / "images" / sample_id
        try:
            found[row] = os.stat(path).st_size
        except OSError as error:
            _fail(
                folder / "images.txt",
                row,
                f"names {path}, which cannot be read: {error.strerror}; restore it",
            )
    return found
