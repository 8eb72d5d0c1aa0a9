"""CelebA's official layout is a folder of images, and list files that have a row for each of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.dataset import PARTITIONS
from harness.errors import DatasetError
from harness_faces.decoding import file_sizes
from harness_faces.list_file import Numbers, Table, read_table

ALIGNED, WILD = "img_align_celeba", "img_celeba"
"""The folders of the aligned images, and of the original ones."""
ATTRIBUTES = "list_attr_celeba.txt"
IDENTITIES = "identity_CelebA.txt"
EVAL_PARTITIONS = "list_eval_partition.txt"
LANDMARKS = {ALIGNED: "list_landmarks_align_celeba.txt", WILD: "list_landmarks_celeba.txt"}
BOXES = "list_bbox_celeba.txt"
LANDMARK_NAMES = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
"""The names in the landmark file; left means left in the image."""

_COLUMNS = {
    name: tuple(f"{point}_{axis}" for point in LANDMARK_NAMES for axis in "xy") for name in LANDMARKS.values()
}
_COLUMNS[BOXES] = ("image_id", "x_1", "y_1", "width", "height")
"""The second rows of the files that have one."""


def locate(root: str, images: str = ALIGNED, name: str = "celeba") -> Path:
    """Return the folder that ``root`` names, after a check that it holds the images and the attribute file.

    Raises:
        DatasetError: it does not hold them; if a folder nearby does, the message names it.
    """
    layout = f"expected a folder that holds {images}/ and {ATTRIBUTES}"
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise DatasetError(f"{name}: root = {root!r} is not a path; {layout}")
    folder = Path(os.path.expanduser(root))  # os.path returns the path, or False, where pathlib would raise
    if not os.path.exists(folder):
        raise DatasetError(f"{folder}: does not exist; {layout}")
    if _is_root(folder, images):
        return folder
    below = sorted(folder.glob("*/"))
    for nearby in (*folder.absolute().parents[:2], *below):
        if _is_root(nearby, images):
            raise DatasetError(f'{folder}: is not the data set\'s folder; did you mean root = "{nearby}"?')
    if not os.path.isdir(folder):
        raise DatasetError(f"{folder}: is not a folder; {layout}")
    there = {images: os.path.isdir(folder / images), ATTRIBUTES: os.path.isfile(folder / ATTRIBUTES)}
    missing = [name for name in there if not there[name]]
    # The published archive has the parts in the folders Img, Anno and Eval.
    apart = [str(path / name) for name in missing for path in below if os.path.exists(path / name)]
    remedy = f"move {' and '.join(apart)} there" if apart else layout
    raise DatasetError(f"{folder}: has no {' and no '.join(missing)}; {remedy}")


def _is_root(folder: Path, images: str) -> bool:
    return os.path.isdir(folder / images) and os.path.isfile(folder / ATTRIBUTES)


def image_sizes(folder: Path, listed: Table) -> npt.NDArray[np.int64]:
    """Return the size in bytes (N,) of each listed image file."""
    found = file_sizes(folder, listed.ids)
    missing = [row for row, sample_id in enumerate(listed.ids) if sample_id not in found]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        nested = folder / folder.name  # some archives unpack to this folder
        remedy = f"move the images up from {nested}" if nested.is_dir() else "restore it, or remove the row"
        listed.fail(missing[0], f"is not in {folder}{others}; {remedy}")
    return np.array([found[sample_id] for sample_id in listed.ids], dtype=np.int64)


def annotation(path: Path, listed: Table, *, width: int) -> Numbers | None:
    """Return values (N, width) of an optional list file in the order of ``listed``, or None without it."""
    if not path.exists():
        return None
    expected = _COLUMNS.get(path.name, ())
    table = read_table(path, counted=bool(expected), width=width)
    if table.names != expected:
        raise DatasetError(f"{path}: row 2 must name the columns {' '.join(expected)}; restore the file")
    if path.name == EVAL_PARTITIONS:
        codes = ", ".join(f"{code} ({name})" for code, name in enumerate(PARTITIONS))
        for row in np.flatnonzero((table.values[:, 0] < 0) | (table.values[:, 0] >= len(PARTITIONS))):
            table.fail(row, f"is in partition {table.values[row, 0]}; it must be one of {codes}")
    if table.ids == listed.ids:
        return table.values
    row_of = {sample_id: row for row, sample_id in enumerate(table.ids)}
    rows = np.array([row_of.get(sample_id, -1) for sample_id in listed.ids])
    for row in np.flatnonzero(rows < 0):
        raise DatasetError(
            f"{path}: has no row for {listed.ids[row]}, listed in row {listed.first + row} of {listed.path}; "
            f"add it, or remove {path.name} to go without it"
        )
    ordered: Numbers = table.values[rows]
    return ordered


def listed_attributes(folder: Path) -> Table:
    """Return the attribute file, whose images are those of the data set.

    Raises:
        DatasetError: it is missing or malformed.
    """
    listed = read_table(folder / ATTRIBUTES, counted=True)
    for row, column in np.argwhere(np.abs(listed.values) != 1):
        listed.fail(row, f"has {listed.names[column]} = {listed.values[row, column]}; it must be 1 or -1")
    return listed


def digest_of(
    words: Iterable[str],
    listed: Table,
    columns: Iterable[npt.NDArray[np.int32] | npt.NDArray[np.int64] | None],
) -> str:
    """Return a digest of some words, of the listed names, and of arrays with a row for each image."""
    digest = hashlib.sha256()
    for part in (words, listed.names, listed.ids):
        digest.update("\n".join(part).encode() + b"\0")
    for values in columns:
        # Little-endian int64 is the same on every machine; the shape separates the columns.
        digest.update(b"none\0" if values is None else f"{values.shape}\0".encode())
        digest.update(b"" if values is None else values.astype("<i8").tobytes())
    return digest.hexdigest()
