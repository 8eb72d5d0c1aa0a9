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
COLOUR = np.array([40, 200, 60])


def main() -> None:
    """Write patches.jpg beside this file: three regions across, two sizes down."""
    entry = harness.catalog().datasets["synthetic-faces"]
    rows = []
    for size in ((218, 178), (88, 72)):
        faces = entry.load(entry.spec.load)(size=size, count=40).read(np.array(FACES)).transpose(0, 2, 3, 1)
        masks = (eyeglasses(*size), squares(*size).float().mean(0), eye_patch(*size))
        panels = [tinted(face, mask.float().numpy()) for face, mask in zip(faces, masks, strict=True)]
        rows.append(np.concatenate([enlarged(panel) for panel in panels], axis=1))
    cv2.imwrite(str(OUT), np.concatenate(rows)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def tinted(face: npt.NDArray[np.uint8], share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A face (H, W, 3) with colour where the region is; of places, the more the more of them overlap."""
    strength = (share / share.max())[:, :, None]
    return (face * (1 - strength) + COLOUR * strength).astype(np.uint8)


def enlarged(panel: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The panel at 218x178 pixels, each of its own pixels still to be seen."""
    return np.asarray(cv2.resize(panel, (178, 218), interpolation=cv2.INTER_NEAREST), np.uint8)


if __name__ == "__main__":
    main()
