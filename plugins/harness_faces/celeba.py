"""CelebA is read in its official layout: aligned faces with attributes, identities, partitions, landmarks."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from harness.dataset import PARTITIONS, Dataset, UInt8Images
from harness.errors import DatasetError
from harness_faces.decoding import decode, file_sizes
from harness_faces.frame import SOURCE_SIZE, WHOLE, Crop, checked_crop
from harness_faces.streaming import CACHE_BYTES, StreamedImages

FORMAT = "celeba 1"
"""A part of the fingerprint, to be increased when the same files give other pixels or annotations."""
IMAGES = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
IDENTITIES = "identity_CelebA.txt"
EVAL_PARTITIONS = "list_eval_partition.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"
LANDMARK_NAMES = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
"""The names in the landmark file; left means left in the image."""

_LAYOUT = f"expected a folder that holds {IMAGES}/ and {ATTRIBUTES}"
_ROWS_AT_ONCE = 8192  # of a list file: about 1 MB of attributes, so that its tokens stay in the CPU's cache
_MOST_DIGITS = 9  # of a number in a list file: fits int32

Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Table:
    """A Table is a list file: N rows of a file name and M whole numbers."""

    path: Path
    names: tuple[str, ...]  # the names of the M columns; empty if the file has no header
    ids: list[str]  # the file names, each of them once
    values: Numbers  # (N, M)
    first: int  # the number of the first row in a text editor: counted from 1, with the header

    def fail(self, row: int | np.intp, fault: str) -> NoReturn:
        """Raise DatasetError for the image in the given row, counted from 0 without the header."""
        raise DatasetError(f"{self.path}: row {self.first + row}: {self.ids[row]} {fault}")


def load(
    *,
    root: str,
    size: tuple[int, int] = SOURCE_SIZE,
    crop: tuple[int, int, int, int] | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open CelebA, or the part of it that ``list_attr_celeba.txt`` lists.

    Images are decoded when they are read. The first ones are kept in memory until they take ``cache_bytes``;
    the others are decoded each time.

    Landmarks are x, y in pixels of the resized images, with pixel centres at whole numbers: (0, 0) is the
    middle of the first pixel, not its corner.

    Args:
        root: a folder with ``img_align_celeba/`` and ``list_attr_celeba.txt``, and optionally with
            ``identity_CelebA.txt``, ``list_eval_partition.txt`` and ``list_landmarks_align_celeba.txt``.
            These may list more images, in any order.
        size: the height and width in pixels of the resized images, or of the resized crops.
        crop: top, left, height and width of the part to use, in pixels of the files.
        cache_bytes: the largest number of bytes that decoded images in memory may take.

    Raises:
        DatasetError: a file is missing, malformed, or contradicts another one; a parameter is wrong.
    """
    whole = isinstance(size, list | tuple) and all(type(edge) is int and edge > 0 for edge in size)
    if not whole or len(size) != 2:
        raise DatasetError(f"celeba: size = {size!r} is not a height and a width; give two, such as [88, 72]")
    if type(cache_bytes) is not int or cache_bytes < 0:
        raise DatasetError(f"celeba: cache_bytes = {cache_bytes!r} is not a number of bytes; give 0 or more")
    height, width = size
    part = checked_crop("celeba", crop)
    folder = locate(root)
    listed = read_table(folder / ATTRIBUTES, counted=True)
    for row, column in np.argwhere(np.abs(listed.values) != 1):
        listed.fail(row, f"has {listed.names[column]} = {listed.values[row, column]}; it must be 1 or -1")
    identities = _annotation(folder / IDENTITIES, listed, width=1)
    partitions = _annotation(folder / EVAL_PARTITIONS, listed, width=1)
    landmarks = _annotation(folder / LANDMARKS, listed, width=2 * len(LANDMARK_NAMES))
    sizes = _file_sizes(folder / IMAGES, listed)  # bytes

    def decode_row(row: int) -> UInt8Images:
        origin = f"row {listed.first + row} of {listed.path}"
        return decode(folder / IMAGES / listed.ids[row], origin, SOURCE_SIZE, (height, width), part)

    columns = (listed.values, identities, partitions, landmarks, sizes)
    return Dataset(
        name="celeba",
        ids=tuple(listed.ids),
        shape=(3, height, width),
        read=StreamedImages(decode_row, len(listed.ids), (3, height, width), cache_bytes).read,
        fingerprint=_fingerprint((height, width), part, listed, columns),
        attribute_names=listed.names,
        attributes=listed.values == 1,
        identities=None if identities is None else identities[:, 0].astype(np.int64),
        partitions=None if partitions is None else np.array(PARTITIONS)[partitions[:, 0]],
        landmarks=None if landmarks is None else _scaled(landmarks, part, (height, width)),
        landmark_names=() if landmarks is None else LANDMARK_NAMES,
    )


def _fingerprint(
    size: tuple[int, int],
    part: Crop,
    listed: Table,
    columns: tuple[npt.NDArray[np.int32] | npt.NDArray[np.int64] | None, ...],
) -> str:
    grid = f"{size[0]} {size[1]}"
    if part != WHOLE:  # without a crop, the fingerprint stays what it was before crops were supported
        grid += f" of {part.top} {part.left} {part.height} {part.width}"
    digest = hashlib.sha256()
    for words in ((FORMAT, grid), listed.names, listed.ids):
        digest.update("\n".join(words).encode() + b"\0")
    for values in columns:
        # Little-endian int64 is the same on every machine; the shape separates the columns.
        digest.update(b"none\0" if values is None else f"{values.shape}\0".encode())
        digest.update(b"" if values is None else values.astype("<i8").tobytes())
    return digest.hexdigest()


def locate(root: str) -> Path:
    """Return the folder that ``root`` names, after a check that it holds the images and the attribute file.

    Raises:
        DatasetError: it does not hold them; if a folder nearby does, the message names it.
    """
    if not isinstance(root, str | os.PathLike) or not str(root).strip():
        raise DatasetError(f"celeba: root = {root!r} is not a path; {_LAYOUT}")
    folder = Path(os.path.expanduser(root))  # os.path returns the path, or False, where pathlib would raise
    if not os.path.exists(folder):
        raise DatasetError(f"{folder}: does not exist; {_LAYOUT}")
    if _is_root(folder):
        return folder
    below = sorted(folder.glob("*/"))
    for nearby in (*folder.absolute().parents[:2], *below):
        if _is_root(nearby):
            raise DatasetError(f'{folder}: is not the data set\'s folder; did you mean root = "{nearby}"?')
    if not os.path.isdir(folder):
        raise DatasetError(f"{folder}: is not a folder; {_LAYOUT}")
    there = {IMAGES: os.path.isdir(folder / IMAGES), ATTRIBUTES: os.path.isfile(folder / ATTRIBUTES)}
    missing = [name for name in there if not there[name]]
    # The published archive has the parts in the folders Img, Anno and Eval.
    apart = [str(path / name) for name in missing for path in below if os.path.exists(path / name)]
    remedy = f"move {' and '.join(apart)} there" if apart else _LAYOUT
    raise DatasetError(f"{folder}: has no {' and no '.join(missing)}; {remedy}")


def _is_root(folder: Path) -> bool:
    return os.path.isdir(folder / IMAGES) and os.path.isfile(folder / ATTRIBUTES)


def _file_sizes(folder: Path, listed: Table) -> npt.NDArray[np.int64]:
    """Return the size in bytes (N,) of each listed image file."""
    found = file_sizes(folder, listed.ids)
    missing = [row for row, sample_id in enumerate(listed.ids) if sample_id not in found]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        nested = folder / IMAGES  # some archives unpack to this folder
        remedy = f"move the images up from {nested}" if nested.is_dir() else "restore it, or remove the row"
        listed.fail(missing[0], f"is not in {folder}{others}; {remedy}")
    return np.array([found[sample_id] for sample_id in listed.ids], dtype=np.int64)


def _annotation(path: Path, listed: Table, *, width: int) -> Numbers | None:
    """Return values (N, width) of an optional list file in the order of ``listed``, or None without it."""
    if not path.exists():
        return None
    table = read_table(path, counted=path.name == LANDMARKS, width=width)
    expected = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")
    if path.name == LANDMARKS and table.names != expected:
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


def _scaled(landmarks: Numbers, crop: Crop, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Convert landmarks (N, 5, 2), x and y, from pixels of the files to pixels of the resized images.

    Resizing maps corners to corners, and a pixel's corner lies half a pixel before its centre.
    """
    scale = np.array([size[1] / crop.width, size[0] / crop.height])
    points = landmarks.reshape(len(landmarks), -1, 2) - np.array([crop.left, crop.top])
    return np.asarray((points + 0.5) * scale - 0.5, dtype=np.float32)


def read_table(path: Path, *, counted: bool, width: int | None = None) -> Table:
    """Read a list file, with LF or CRLF and any number of blanks between columns.

    Args:
        path: the file.
        counted: whether its first row is the number of rows and its second row the names of the columns.
        width: the number M of columns after the file name; None means as many as there are names.

    Raises:
        DatasetError: the file cannot be read, or a row is malformed.
    """
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").rstrip()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}; restore the file") from error
    names: tuple[str, ...] = ()
    count = b""
    if counted:
        count, header, text = (*text.split(b"\n", 2), b"", b"")[:3]
        if not count.strip().isdigit():
            raise DatasetError(f'{path}: row 1 is "{_shown(count)}"; it must be the number of images')
        names = tuple(header.decode(errors="replace").split())
        for name in names:
            if names.count(name) > 1:
                raise DatasetError(f"{path}: row 2 names {name} twice; it must name each column once")
        if not names:
            raise DatasetError(f"{path}: row 2 is empty; it must name each column once")
    first = 3 if counted else 1
    table = Table(path, names, *_parse(text, len(names) if width is None else width, path, first), first)
    rows = len(table.ids)
    if counted and int(count) != rows:
        remedy = f"write {rows} there, or restore the file"
        raise DatasetError(f"{path}: row 1 says {int(count)} images, but {rows} are listed; {remedy}")
    if not rows:
        raise DatasetError(f"{path}: lists no images; restore the file")
    if len(set(table.ids)) < rows:
        seen: dict[str, int] = {}
        for row, sample_id in enumerate(table.ids):
            if seen.setdefault(sample_id, row) != row:
                table.fail(row, f"is listed in row {first + seen[sample_id]} already; remove one of the two")
    return table


def _parse(text: bytes, width: int, path: Path, first: int) -> tuple[list[str], Numbers]:
    """Return file names (N) and whole numbers (N, width) of the rows of ``text``, numbered from ``first``.

    It works on the positions of all tokens of many rows at once: the full attribute file has 8 million.
    """
    buffer = np.frombuffer(text + b"\n" if text else b"", dtype=np.uint8)
    ends_of_rows = np.flatnonzero(buffer == ord("\n"))
    ids: list[str] = []
    values = np.empty((len(ends_of_rows), width), dtype=np.int32)
    begin = 0
    for row in range(0, len(ends_of_rows), _ROWS_AT_ONCE):
        ends = ends_of_rows[row : row + _ROWS_AT_ONCE] - begin
        chunk = buffer[begin : begin + ends[-1] + 1]
        begin += len(chunk)
        ink = np.concatenate(([False], chunk > ord(" ")))  # False at a chunk's last byte, a line feed
        edges = np.flatnonzero(ink[1:] != ink[:-1])
        starts, stops = edges[0::2], edges[1::2]  # the bounds of each token
        tokens = np.diff(np.searchsorted(starts, ends), prepend=0)  # the number of tokens in each row
        for at in np.flatnonzero(tokens != width + 1):
            remedy = f"it must have {width + 1}: the file name and {width} value{'s' * (width != 1)}"
            raise DatasetError(f"{path}: row {first + row + at} has {tokens[at]} columns; {remedy}")
        starts, stops = starts.reshape(-1, width + 1), stops.reshape(-1, width + 1)
        numbers, malformed = _whole_numbers(chunk, starts[:, 1:], stops[:, 1:])
        for at, column in np.argwhere(malformed):
            token = _shown(chunk[starts[at, column + 1] : stops[at, column + 1]].tobytes())
            remedy = f"it must be a whole number of at most {_MOST_DIGITS} digits"
            raise DatasetError(f'{path}: row {first + row + at}: column {column + 2} is "{token}"; {remedy}')
        values[row : row + len(ends)] = numbers
        raw = chunk.tobytes()
        spans = zip(starts[:, 0].tolist(), stops[:, 0].tolist(), strict=True)
        ids += [raw[start:stop].decode(errors="replace") for start, stop in spans]
    return ids, values


def _whole_numbers(
    chunk: npt.NDArray[np.uint8], starts: npt.NDArray[np.intp], stops: npt.NDArray[np.intp]
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Parse the tokens between ``starts`` and ``stops``; return the numbers, and which are malformed."""
    negative = chunk[starts] == ord("-")
    at = starts + (negative | (chunk[starts] == ord("+")))
    digits = stops - at
    malformed = (digits < 1) | (digits > _MOST_DIGITS)
    numbers = np.zeros(starts.shape, dtype=np.int32)
    for place in range(min(_MOST_DIGITS, int(digits.max(initial=0)))):
        within = digits > place
        # uint8 wraps below "0", so that one comparison finds every character that is not a digit
        digit = chunk[np.minimum(at + place, len(chunk) - 1)] - np.uint8(ord("0"))
        malformed |= within & (digit > 9)
        numbers = np.where(within, numbers * 10 + digit, numbers)
    return np.where(negative, -numbers, numbers), malformed


def _shown(token: bytes) -> str:
    return token[:40].decode(errors="replace").strip()
