"""A batch is processed in chunks that fit into memory and, on a CPU, into its caches."""

from __future__ import annotations

from torch import Tensor

# An image of 178 x 218 pixels has 38,804; timings: tests/benchmarks/test_pass_speed.py.
_PIXELS = {"cpu": 320_000}
_PIXELS_ELSEWHERE = 4_000_000  # up to 40 planes of them at once, 640 MB


def chunks(images: Tensor, times: int = 1, multiple: int = 1) -> list[slice]:
    """Return successive parts of a batch (B, …, H, W): at least one image, at most 320,000 pixels on a CPU.

    Args:
        times: a factor by which the parts are larger.
        multiple: all parts but the last have a multiple of so many images, even if that is more.
    """
    pixels = _PIXELS.get(images.device.type, _PIXELS_ELSEWHERE) * times
    size = pixels // (images.shape[-2] * images.shape[-1])
    size = max(multiple, size // multiple * multiple)
    return [slice(start, start + size) for start in range(0, len(images), size)]
