"""A tree of image files is a data set: with a folder for each person, as in LFW, or persons in file names."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.dataset import PARTITIONS, Dataset, UInt8Images
from harness.errors import DatasetError
from harness.files import say
from harness.randomness import derived_seed
from harness_faces.checked_values import checked_bytes, checked_size
from harness_faces.decoding import planes, read_pixels, resized
from harness_faces.frame import Crop
from harness_faces.streaming import CACHE_BYTES, StreamedImages

FORMAT = "image-folder 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or annotations."""
SUFFIXES = (".jpg", ".jpeg", ".png")

_LAYOUT = "expected a folder that holds person/image.jpg"
_OF_NAME = re.compile(r"(?P<person>.+)_(?P<number>\d+)", re.ASCII)
_ENDING = re.compile(r"\d+$", re.ASCII)


@dataclass(frozen=True)
class File:
    """A File is an image of the tree: its sample id, its size in bytes, and the person that it shows."""

    id: str
    bytes: int
    person: str

    @property
    def folder(self) -> str:
        """Return the folder, relative to the root."""
        return self.id.rpartition("/")[0]

    @property
    def stem(self) -> str:
        """Return the file name without its ending."""
        return self.id.rpartition("/")[2].rpartition(".")[0]


def load(
    *,
    root: str,
    size: tuple[int, int] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    person: Literal["folder", "name"] = "folder",
    classes: bool = False,
    partitions: tuple[float, float, float] | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open a tree of JPEG and PNG files; sample ids are their paths below the root, with slashes.

    Images are decoded when they are read, and the first ones kept in memory until they take ``cache_bytes``.
    Files with other endings are left out, which is said; hidden files are left out.

    Args:
        root: a folder with a folder for each person, at any depth; links to folders are followed.
        size: the height and width in pixels of the results: each image, or its crop, is cut around its centre
            to this ratio of height and width, and then resized. Without it, all must have one size.
        crop: top, left, height and width of the part to use, in pixels of the files.
        person: "folder": the folder of an image is the person that it shows. "name": the file name says it,
            up to the number at its end (``Name_0001.jpg``), wherever the file lies, as in CALFW; files
            without such a number are left out, which is said.
        classes: whether the folders are also the classes of the images.
        partitions: the shares of the persons for training, validation and test, such as [0.8, 0.1, 0.1]; a
            digest of the name decides where a person is. By default there are no partitions.
        cache_bytes: the largest number of bytes that decoded images in memory may take.

    Raises:
        DatasetError: there is no such folder, it holds no images, images differ in size, or a parameter is
            wrong. An image that is damaged is an error when it is read.
    """
    target = None if size is None else checked_size("image-folder", size)
    part = _checked_crop(crop)
    checked_bytes("image-folder", cache_bytes)
    files = _files(folder := _locate(root), by_name=person == "name")
    shape = target or (part.size if part else _common_size(folder, files))
    names = tuple(sorted({file.person for file in files}))
    number = {name: at for at, name in enumerate(names)}
    identities = np.array([number[file.person] for file in files], np.int64)
    split = None if partitions is None else _partitions(names, partitions)
    folders = tuple(sorted({file.folder for file in files})) if classes else ()

    def decode_row(row: int) -> UInt8Images:
        place = f"{folder / files[row].id}"
        return planes(resized(_framed(read_pixels(Path(place), place), place, part, shape), shape))

    words = [FORMAT, f"{shape} of {part}", person, str(folders), str(partitions)]
    return Dataset(
        name="image-folder",
        ids=tuple(file.id for file in files),
        shape=(3, *shape),
        read=StreamedImages(decode_row, len(files), (3, *shape), cache_bytes).read,
        fingerprint=_fingerprint(words, files),
        labels=np.array([folders.index(file.folder) for file in files], np.int64) if classes else None,
        class_names=folders,
        identities=identities,
        identity_names=names,
        partitions=None if split is None else split[identities],
        numbered=_numbered(files),
    )


def _checked_crop(crop: Sequence[int] | None) -> Crop | None:
    if crop is None:
        return None
    whole = isinstance(crop, list | tuple) and all(type(number) is int for number in crop)
    if not whole or len(crop) != 4 or min(crop[:2]) < 0 or min(crop[2:]) < 1:
        raise DatasetError(
            f"image-folder: crop = {crop!r} is not top, left, height and width; give four, such as "
            "[69, 69, 112, 112]"
        )
    return Crop(*crop)


def _locate(root: str) -> Path:
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise DatasetError(f"image-folder: root = {root!r} is not a path; {_LAYOUT}")
    folder = Path(os.path.expanduser(root))
    if not os.path.isdir(folder):  # os.path returns False where pathlib would raise
        fault = "is not a folder" if os.path.exists(folder) else "does not exist"
        raise DatasetError(f"{folder}: {fault}; {_LAYOUT}")
    return folder


def _files(root: Path, *, by_name: bool) -> list[File]:
    """Return the images below a folder, sorted by their ids."""
    found: list[File] = []
    others: list[str] = []
    nameless: list[str] = []
    for path, size in _walk(root):
        if not path.lower().endswith(SUFFIXES):
            others.append(path)
            continue
        file = File(path, size, "")
        shown = _OF_NAME.fullmatch(file.stem)
        if by_name and shown is None:
            nameless.append(path)
        elif by_name and shown is not None:
            found.append(File(path, size, shown["person"]))
        elif not file.folder:
            raise DatasetError(f'{root / path}: lies in no folder of a person; {_LAYOUT}, or person = "name"')
        else:
            found.append(File(path, size, file.folder))
    _say_left_out(root, others, "is neither a .jpg, .jpeg nor .png file")
    _say_left_out(root, nameless, "has no number after the name of a person, as Name_0001.jpg has")
    if not found:
        raise DatasetError(f"{root}: holds no image; {_LAYOUT}")
    return sorted(found, key=lambda file: file.id)


def _walk(root: Path) -> list[tuple[str, int]]:
    """Return path and size in bytes of all files below a folder that are not hidden."""

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename}: cannot be read: {error.strerror}; restore it") from error

    found, seen = [], set()
    for place, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in sorted(folders)
            # a link may lead back to where the walk came from
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in seen
        ]
        for name in names:
            path = os.path.join(place, name)
            if name.startswith(".") or not os.path.isfile(path):
                continue
            relative = Path(os.path.relpath(path, root)).as_posix()
            try:
                relative.encode()
            except UnicodeEncodeError:
                raise DatasetError(f"{path}: its name is not UTF-8; rename it") from None
            found.append((relative, os.path.getsize(path)))
    return found


def _say_left_out(root: Path, names: Sequence[str], fault: str) -> None:
    if names:
        others = f" (and {len(names) - 1} more likewise)" if len(names) > 1 else ""
        say(f"{root}: {min(names)} {fault}, and is left out{others}")


def _common_size(root: Path, files: Sequence[File]) -> tuple[int, int]:
    """Return the height and width in pixels that all images have, from the beginnings of the files."""
    first: tuple[int, int] | None = None
    for file in files:
        path = root / file.id
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("JPEG", "PNG")) as image:
                size = image.height, image.width
        except (OSError, SyntaxError, ValueError) as error:
            read_pixels(path, str(path))  # says what is wrong with it
            raise DatasetError(f"{path} has no size that can be read; fetch or unpack it again") from error
        first = first or size
        if size != first:
            raise DatasetError(
                f"{path} is {size[1]} pixels wide and {size[0]} high, and {files[0].id} {first[1]} and "
                f"{first[0]}; give one size for all, such as size = "
                f"[{min(size[0], first[0])}, {min(size[1], first[1])}]"
            )
    assert first is not None  # there is an image
    return first


def _framed(image: UInt8Images, place: str, crop: Crop | None, size: tuple[int, int]) -> UInt8Images:
    """Return the part of an image (H, W, 3) that is resized: the crop, cut to the ratio of the size."""
    if crop is not None:
        height, width = image.shape[:2]
        if crop.top + crop.height > height or crop.left + crop.width > width:
            raise DatasetError(
                f"{place} is {width} pixels wide and {height} high, too small for crop = "
                f"{[crop.top, crop.left, crop.height, crop.width]}; take a smaller crop, or none"
            )
        image = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    height, width = image.shape[:2]
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]


def _partitions(names: Sequence[str], shares: Sequence[float]) -> npt.NDArray[np.str_]:
    """Return the partition of each person: persons are ordered by a digest, and cut at the shares."""
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise DatasetError(
            f"image-folder: partitions = {list(shares)} are not three shares with the sum 1; give those for "
            "training, validation and test, such as [0.8, 0.1, 0.1]"
        )
    order = np.argsort([derived_seed("person", name) for name in names], kind="stable")
    ends = np.round(np.cumsum(shares)[:2] * len(names)).astype(int)
    found = np.empty(len(names), dtype="<U10")
    for partition, own in zip(PARTITIONS, np.split(order, ends), strict=True):
        found[own] = partition
    return found


def _numbered(files: Sequence[File]) -> Callable[[str, int], str | None]:
    """Return a function that finds the image of a person by the number at the end of its file name.

    A person may be named by the last folder alone where no two have it. Where several files of a person end
    in one number, ``Name_0004.jpg`` is meant, with the name of the person.
    """

    @cache
    def by_number() -> dict[tuple[str, int], str]:
        persons: dict[str, set[str]] = {}
        for file in files:
            persons.setdefault(file.person.rpartition("/")[2], set()).add(file.person)
        candidates: dict[tuple[str, int], list[File]] = {}
        for file in files:
            ending = _ENDING.search(file.stem)
            if ending is not None:
                candidates.setdefault((file.person, int(ending[0])), []).append(file)
        found = {}
        for (person, number), own in candidates.items():
            short = person.rpartition("/")[2]
            if len(own) > 1:
                own = [file for file in own if _ENDING.sub("", file.stem) == f"{short}_"]
            if len(own) == 1:
                found[person, number] = own[0].id
                if len(persons[short]) == 1:
                    found[short, number] = own[0].id
        return found

    return lambda person, number: by_number().get((person, number))


def _fingerprint(words: Sequence[str], files: Sequence[File]) -> str:
    digest = hashlib.sha256("\n".join(words).encode() + b"\0")
    for file in files:
        digest.update(f"{file.id}\n{file.person}\n{file.bytes}\0".encode())
    return digest.hexdigest()
