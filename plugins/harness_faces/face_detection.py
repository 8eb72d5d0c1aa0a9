"""A detector finds faces in a picture, and of those that it finds the one that is meant is chosen.

PaW ("Dataset") takes the box that the detector finds. Where it finds none, the box around the landmarks is
taken, twice as wide and high; where it finds several, the one that overlaps this box most.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.dataset import UInt8Images
from harness.errors import DatasetError, nearest
from harness.training import Context, StateDict
from harness_faces.affine import Rectangles, overlaps, rectangles
from harness_faces.decoding import resized

Detector = Callable[[UInt8Images], Any]
"""A function of a picture (H, W, 3), 8-bit RGB, that returns boxes (K, 4) of the K faces in it: left, top,
width and height in pixels, as in list_bbox_celeba.txt."""

DETECTORS = {"cascade": "harness_faces.face_detection:cascade"}
"""The detectors that have a name; any other is "package.module:function"."""

KINDS = ("one", "several", "none", "elsewhere", "no-box", "given")
"""How the box of an image came about. "one": the detector found one face; "several": of those that it found,
the one that overlaps the landmarks' box most; "none": it found none, "elsewhere": none that overlaps the
landmarks' box, "no-box": the file of boxes gives none inside the image: the landmarks' box is taken. "given":
no detector was asked."""

_AT_ONCE = 256  # images whose boxes are kept together: so many are found again after a kill, at most
_SMALLEST = 24  # pixels: the window of the cascade
_SIDE = 240  # pixels: faces that are smaller than an eighth of it are not the ones that are meant


@cache
def _trained() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]


def cascade(picture: UInt8Images) -> npt.NDArray[np.float64]:
    """Find frontal faces with the cascade of local binary patterns that scikit-image ships.

    A window counts as a face if at least two others overlap it: what is found beside the face is sorted out
    afterwards. Pictures are shrunk until their shorter side has 240 pixels, and faces of less than an eighth
    of it are not looked for: a picture then takes about a tenth of a second.
    """
    scale = max(1.0, min(picture.shape[:2]) / _SIDE)
    height, width = (round(edge / scale) for edge in picture.shape[:2])
    picture = resized(picture, (height, width))
    smallest = max(_SMALLEST, min(height, width) // 8)
    found = _trained().detect_multi_scale(
        img=np.ascontiguousarray(picture),
        scale_factor=1.2,
        step_ratio=1.0,
        min_size=(smallest, smallest),
        max_size=(height, width),
        min_neighbor_number=2,
    )
    boxes = sorted((one["c"], one["r"], one["width"], one["height"]) for one in found)
    return np.asarray(np.array(boxes, np.float64).reshape(-1, 4) * scale)


def detector_of(place: str, name: str) -> Detector:
    """Return the detector of a name, or of "package.module:function".

    Raises:
        DatasetError: there is no such function; the message begins with ``place``.
    """
    target = DETECTORS.get(name, name)
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise DatasetError(
            f'{place} = "{name}" is unknown; {nearest(name, DETECTORS)}, or a function of your own as '
            '"package.module:function"'
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise DatasetError(
            f'{place} = "{name}" cannot be loaded: {type(error).__name__}: {error}; name a function of an '
            'installed package as "package.module:function"'
        ) from error
    if not callable(found):
        raise DatasetError(f'{place} = "{name}" is no function; name one as "package.module:function"')
    detector: Detector = found
    return detector


def found_in(detector: Detector, picture: UInt8Images, place: str) -> Rectangles:
    """Return the faces (K, 4) that a detector finds: left, top, right and bottom, as in ``affine``.

    Raises:
        DatasetError: it fails, or returns something else than boxes; the message begins with ``place``.
    """
    try:
        boxes = np.asarray(detector(picture), np.float64)
    except Exception as error:
        raise DatasetError(f"{place}: the detector failed: {type(error).__name__}: {error}") from error
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise DatasetError(
            f"{place}: the detector returned {boxes.shape}, not finite boxes (K, 4); return left, top, width "
            "and height of each face"
        )
    return rectangles(boxes[(boxes[:, 2:] > 0).all(axis=1)])


def chosen(found: Rectangles, known: Rectangles) -> tuple[Rectangles, str]:
    """Return the box (4,) of the face that is meant, and how it came about, a word of ``KINDS``.

    Args:
        found: (K, 4) what the detector found.
        known: (4,) the landmarks' box.
    """
    if not len(found):
        return known, "none"
    shared = overlaps(found, known)
    if not shared.max() > 0:
        return known, "elsewhere"
    return found[shared.argmax()], "one" if len(found) == 1 else "several"


def find(
    detector: Detector,
    picture_of: Callable[[int], tuple[UInt8Images, str]],
    known: Rectangles,
    about: str,
    context: Context,
) -> StateDict:
    """Return the box of the face in each picture: "boxes" (N, 4), "kinds" (N,), and "sizes" (N, 2).

    They are found once and kept, 256 at a time.

    Args:
        detector: finds the faces.
        picture_of: returns a picture (H, W, 3) in RGB and the place of its file, by row.
        known: (N, 4) the box around the landmarks in each picture.
        about: a digest of the pictures.
        context: reports and keeps the boxes.

    Raises:
        DatasetError: a picture cannot be read, or the detector fails.
    """
    parts = []
    for start in range(0, len(known), _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, len(known)))

        def part(rows: range = rows) -> StateDict:
            boxes, kinds, sizes = [], [], []
            for row in rows:
                picture, place = picture_of(row)
                box, kind = chosen(found_in(detector, picture, place), known[row])
                boxes.append(box)
                kinds.append(KINDS.index(kind))
                sizes.append(picture.shape[:2])
                context.report((row + 1) / len(known), f"faces in {row + 1} of {len(known)} images")
            return boxes_found(np.array(boxes), np.array(kinds), np.array(sizes))

        parts.append(context.unit({"pictures": about, "rows": [rows.start, rows.stop]}, part))
    return {name: torch.cat([part[name] for part in parts]) for name in ("boxes", "kinds", "sizes")}


def boxes_found(
    boxes: Rectangles, kinds: npt.NDArray[np.integer[Any]], sizes: npt.NDArray[np.integer[Any]]
) -> StateDict:
    """Return boxes (N, 4), their kinds (N,), and heights and widths (N, 2) of the pictures as tensors."""
    return {
        "boxes": torch.from_numpy(np.ascontiguousarray(boxes, np.float64)),
        "kinds": torch.from_numpy(np.ascontiguousarray(kinds, np.int64)),
        "sizes": torch.from_numpy(np.ascontiguousarray(sizes, np.int64)),
    }
