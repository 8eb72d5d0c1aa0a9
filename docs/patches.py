"""Draws the regions of the patch attacks on drawn faces: `python docs/patches.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import harness
from harness_attacks.masks import eye_patch, eyeglasses, squares

OUT = Path(__file__).parent / "patches.jpg"
FACES = (3, 11, 20)
SIZES = ((218, 178), (112, 112), (64, 64))
COLOUR = np.array([40, 200, 60])


def main() -> None:
    """Write patches.jpg beside this file: three regions across, three sizes down."""
    entry = harness.catalog().datasets["synthetic-faces"]
    faces = entry.load(entry.spec.load)(size=(218, 178), count=40).read(np.array(FACES))
    cv2.imwrite(str(OUT), panel(faces.transpose(0, 2, 3, 1))[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def panel(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The regions on three faces (3, 218, 178, 3): on whole frames, and on their crops at two sizes."""
    rows = []
    for size in SIZES:
        masks = (eyeglasses(*size), squares(*size).float().mean(0), eye_patch(*size))
        shown = [
            tinted(sized(face, size), mask.float().numpy()) for face, mask in zip(faces, masks, strict=True)
        ]
        rows.append(np.concatenate([enlarged(each) for each in shown], axis=1))
    return np.concatenate(rows)


def sized(face: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A frame (218, 178, 3) as it is; for square sizes its middle 128x128, resized."""
    if size[0] != size[1]:
        return face
    crop = np.ascontiguousarray(face[45:173, 25:153])
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)


def tinted(face: npt.NDArray[np.uint8], share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A face (H, W, 3) with colour where the region is; of places, the more the more of them overlap."""
    strength = (share / share.max())[:, :, None]
    return (face * (1 - strength) + COLOUR * strength).astype(np.uint8)


def enlarged(shown: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The face 178 pixels wide, each of its own pixels still to be seen."""
    height = round(178 * shown.shape[0] / shown.shape[1])
    return np.asarray(cv2.resize(shown, (178, height), interpolation=cv2.INTER_NEAREST), np.uint8)


if __name__ == "__main__":
    main()
