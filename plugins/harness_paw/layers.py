"""The networks of Table 3 as values: TNet, from which SNet1 to SNet3 learn, and which of them pools where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from harness.errors import ModelError

SubnetName = Literal["snet3", "snet2", "snet1", "tnet"]
STAGES = (1, 2, 4, 8, 16)
"""The channels of the modules of SNet1 to SNet3, relative to the first; SNet3 has but the first four."""
VGG_STAGES = (1, 2, 4, 8, 8)
"""Those of VGG-16's five modules, relative to the first."""
VGG_DEPTHS = (2, 2, 3, 3, 3)
"""The numbers of convolutions of VGG-16's five modules."""
PUBLISHED_WIDTHS: dict[SubnetName, int] = {"snet3": 16, "snet2": 32, "snet1": 32}
"""The channels of the first convolution in Table 3."""


@dataclass(frozen=True)
class Layer:
    """A Layer is a convolution with batch normalisation and ReLU, and maybe a pooling of 2x2 after it."""

    channels: int
    kernel: int
    pooled: bool


@dataclass(frozen=True, kw_only=True)
class Design:
    """A Design decides the architecture of the whole cascade; the defaults are those of the quick presets."""

    subnet: SubnetName = "snet3"
    """The architecture of the subnets g_0 to g_M."""
    subnet_width: Annotated[int, Ge(1)] | None = 8
    """The channels of a subnet's first convolution; None: those of Table 3. "tnet" has the localisation
    network's."""
    localiser_width: Annotated[int, Ge(1)] = 32
    """The channels of the first convolution of the localisation network; published: 64."""
    localiser_modules: Annotated[int, Ge(1), Le(5)] = 3
    """Its modules of convolutions, of VGG-16's five; published: 5. A cell of the heatmap sees a part of the
    image, which must not be much larger than what it is to find."""
    localiser_depth: Annotated[int, Ge(1)] | None = 1
    """Its convolutions between two poolings; None: the published 2, 2, 3, 3 and 3."""
    maps: Annotated[int, Ge(1)] = 8
    """The feature maps of each attribute in the last convolution of every network; published: N = 32."""
    poolings: Annotated[int, Ge(0), Le(4)] = 3
    """The number of a subnet's poolings, one after each of its first modules; published: 4."""
    localiser_poolings: Annotated[int, Ge(0), Le(4)] = 2
    """That of the localisation network; published: 4, so that a heatmap of 224 x 224 pixels has 14 x 14
    cells. With 2, one of 88 x 72 pixels has 22 x 18."""
    smoothing: Annotated[float, Ge(0)] = 2.0
    """The deviation, in cells, of the Gaussian that smooths a heatmap before its maximum is looked for, at
    half cells, too; published: 0, none."""
    image_size: tuple[int, int] | None = None
    """The height and width to which images are resized first; published: 224, 224. None: they are not."""
    crop_share: Annotated[float, Gt(0), Le(1)] = 1 / 3
    """The side of the square crop of an attribute, as a share of the image's shorter side, to the next
    multiple of what a subnet halves to one pixel; published: 64 of 224 pixels, 2/7."""

    def __post_init__(self) -> None:
        if self.localiser_poolings > self.localiser_modules:
            raise ModelError(
                f"localiser_poolings = {self.localiser_poolings}, but localiser_modules = "
                f"{self.localiser_modules}; each pooling ends a module: give fewer poolings, or more modules"
            )

    def subnet_layers(self, attributes: int) -> tuple[Layer, ...]:
        """Return the layers of a subnet for so many attributes; "tnet" is the localisation network."""
        if self.subnet == "tnet":
            return self.localiser_layers(attributes)
        width = PUBLISHED_WIDTHS[self.subnet] if self.subnet_width is None else self.subnet_width
        return layers_of(self.subnet, width, 1, self.maps * attributes, self.poolings)

    def localiser_layers(self, attributes: int) -> tuple[Layer, ...]:
        """Return the layers of the localisation network, which is TNet, for so many attributes."""
        layers = layers_of(
            "tnet",
            self.localiser_width,
            self.localiser_depth,
            self.maps * attributes,
            self.localiser_poolings,
        )
        kept = (
            sum(VGG_DEPTHS[: self.localiser_modules])
            if self.localiser_depth is None
            else (self.localiser_depth * self.localiser_modules)
        )
        return (*layers[:kept], layers[-1])

    def crop_side(self, height: int, width: int) -> int:
        """Return the side of a crop in pixels, for images of this size after ``image_size``."""
        step: int = 2**self.poolings
        side = max(step, round(self.crop_share * min(height, width) / step) * step)
        return min(side, height, width)


def layers_of(
    name: SubnetName, width: int, depth: int | None, features: int, poolings: int
) -> tuple[Layer, ...]:
    """Return the convolutions of a network of Table 3.

    Args:
        width: the channels of the first one.
        depth: the convolutions of each module; None: VGG-16's.
        features: the feature maps of the last one, of all attributes together.
        poolings: how many of the first modules end with a pooling.
    """
    stages = {"tnet": VGG_STAGES, "snet3": STAGES[:4]}.get(name, STAGES)
    depths = VGG_DEPTHS if depth is None else (depth,) * len(stages)
    layers = []
    for number, (stage, repeated) in enumerate(zip(stages, depths, strict=True)):
        for place in range(repeated):
            pooled = place == repeated - 1 and number < poolings
            layers.append(Layer(stage * width, 3, pooled))
    # Conv6 of TNet and SNet1 is 3x3, that of SNet2 is 1x1, and SNet3's only 1x1 convolution is its Conv5.
    layers.append(Layer(features, 3 if name in ("tnet", "snet1") else 1, False))
    return tuple(layers)
