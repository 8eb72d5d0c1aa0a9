"""Preprocessing is what a network expects of its images, as a value: crop, size, channel order and scale.

Images are float32 (B, C, H, W) in [0, 1] and RGB on the data set's own pixel grid; networks were trained on
other numbers. All steps are differentiable, so that attacks see the plain pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ModelError, nearest

Channels = Literal["RGB", "BGR"]
QUESTIONS = ("select", "logits", "components")
"""What a module may be asked with images beside its outputs: see ``harness.model.model``."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing is applied to images in this order: crop, size, channels, scale, mean and std.

    A network receives ``(scale * x - mean) / std``. It is a group of parameters where the ``build`` of a
    plugin takes it as a keyword: its fields are then keys of the manifest.
    """

    crop: tuple[int, int, int, int] | None = None
    """Top, left, height and width of the part that is used, in pixels; None: the whole image."""
    size: tuple[int, int] | None = None
    """The height and width to which it is resized, bilinearly and without a filter, as ``cv2.resize`` does;
    None: it is not."""
    mean: float | tuple[float, float, float] = 0.0
    """Subtracted after scaling; of each channel, in the order of ``channels``, or one for all."""
    std: float | tuple[float, float, float] = 1.0
    """Divided by; likewise."""
    channels: Channels = "RGB"
    """The order of the channels that the network expects."""
    scale: float = 1.0
    """What a white pixel is before mean and std: 1, or 255."""
    normalise_embedding: bool = False
    """Whether the network's embeddings are divided by their length."""

    def __post_init__(self) -> None:
        if self.channels not in get_args(Channels):
            raise _error("channels", self.channels, nearest(str(self.channels), get_args(Channels)))
        self._keep("crop", _whole(self.crop, "crop", (0, 0, 1, 1), "[50, 25, 128, 128]"))
        self._keep("size", _whole(self.size, "size", (1, 1), "[112, 112]"))
        for name in ("mean", "std"):
            self._keep(name, _numbers(name, getattr(self, name)))
        self._keep("scale", _numbers("scale", self.scale))
        stds = self.std if isinstance(self.std, tuple) else (self.std,)
        if not isinstance(self.scale, float) or self.scale <= 0:
            raise _error("scale", self.scale, "give what a white pixel is, 1 or 255")
        if min(stds) <= 0:
            raise _error("std", self.std, "give numbers above 0")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the images (B, C, h, w) as the network expects them, of images (B, C, H, W) in [0, 1].

        Raises:
            ModelError: the crop leaves the images, or they have not the channels that are to be ordered.
        """
        if self.crop is not None:
            top, left, height, width = self.crop
            if top + height > x.shape[2] or left + width > x.shape[3]:
                fits = f"images are {x.shape[2]} pixels high and {x.shape[3]} wide; take a part of them"
                raise _error("crop", list(self.crop), fits)
            x = x[:, :, top : top + height, left : left + width]
        if self.size is not None and self.size != tuple(x.shape[2:]):
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        by_channel = isinstance(self.mean, tuple) or isinstance(self.std, tuple) or self.channels == "BGR"
        if not by_channel:
            return self._scaled(x, self.mean, self.std)
        if x.shape[1] != 3:
            raise ModelError(
                f"preprocessing treats 3 channels apart, but the images have {x.shape[1]}; give one mean and "
                'one std, and channels = "RGB"'
            )
        means, stds = (one if isinstance(one, tuple) else (one,) * 3 for one in (self.mean, self.std))
        order = (0, 1, 2) if self.channels == "RGB" else (2, 1, 0)
        # Of plain numbers, since a tensor of them would be copied to the device in every pass.
        parts = [self._scaled(x[:, at], mean, std) for at, mean, std in zip(order, means, stds, strict=True)]
        return torch.stack(parts, 1)

    def wrap(self, network: nn.Module) -> Preprocessed:
        """Return a module that takes images in [0, 1], and gives the network what it expects."""
        return Preprocessed(network, self)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as cards keep them."""
        return asdict(self)

    def _scaled(self, x: Tensor, mean: Any, std: Any) -> Tensor:
        scaled: Tensor = (x * self.scale - mean) / std
        return scaled

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Preprocessed(nn.Module):
    """A Preprocessed module is a network behind its preprocessing.

    It has the names of the network's weights in its state dict, so that a file of the network's weights
    fits, and whatever else the network has: ``class_names``, ``threshold``, ``select`` and the like.
    """

    network: nn.Module

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs for images (B, C, H, W) in [0, 1]."""
        outputs: Tensor = self.network(self.preprocessing(x))
        return F.normalize(outputs, dim=1) if self.preprocessing.normalise_embedding else outputs

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the network's state dict."""
        return self.network.state_dict(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in [name for name in state_dict if name.startswith(prefix)]:
            state_dict[f"{prefix}network.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or name in ("network", "preprocessing"):  # a copy that is being made
                raise
        found = getattr(self.network, name)
        return partial(self._ask, found) if name in QUESTIONS and callable(found) else found

    def _ask(self, question: Callable[..., Any], x: Tensor, *more: Tensor) -> Any:
        return question(self.preprocessing(x), *more)


def _error(name: str, value: object, remedy: str) -> ModelError:
    return ModelError(f"preprocessing: {name} = {value!r}: {remedy}")


def _whole(value: Any, name: str, least: tuple[int, ...], example: str) -> tuple[int, ...] | None:
    """Return whole numbers as a tuple, each at least as large as given; None as it is."""
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, list | tuple) else ()
    whole = all(type(number) is int for number in numbers)
    if len(numbers) != len(least) or not whole or any(map(int.__lt__, numbers, least)):
        raise _error(name, value, f"give {len(least)} whole numbers, such as {example}")
    return numbers


def _numbers(name: str, value: Any) -> float | tuple[float, ...]:
    """Return a number, or one for each of three channels, as floats."""
    several = tuple(value) if isinstance(value, list | tuple) else (value,)
    numeric = all(isinstance(one, int | float) and not isinstance(one, bool) for one in several)
    if len(several) not in (1, 3) or not numeric:
        raise _error(name, value, "give a number, or three")
    floats = tuple(float(one) for one in several)
    return floats[0] if len(floats) == 1 else floats
