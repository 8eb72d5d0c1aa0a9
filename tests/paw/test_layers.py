"""The architectures of Table 3, against its numbers of parameters and layers counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from harness.cli import main
from harness.errors import ModelError
from harness.training import Task
from harness_paw import PAPER
from harness_paw.layers import Design, Layer
from harness_paw.models import build_grid, build_part_only, build_paw, build_whole_only

PUBLISHED = Design(**{name: value for name, value in PAPER.items() if name in Design.__dataclass_fields__})
FORTY = Task((3, 224, 224), tuple(f"attribute {number}" for number in range(40)))
COUNTS = {"snet3": 266_920, "snet2": 2_231_080, "snet1": 7_473_960, "tnet": 20_626_536}
PAW = 10_947_040


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_subnets_have_the_parameters_of_table_3(name: Any) -> None:
    design = replace(PUBLISHED, subnet=name)
    with torch.device("meta"):
        assert count(build_whole_only(FORTY, design=design)) == COUNTS[name]


def test_cascades_have_those_of_their_subnets_and_layers() -> None:
    subnet = COUNTS["snet3"]
    with torch.device("meta"):
        assert count(build_paw(FORTY, design=PUBLISHED)) == PAW == 41 * subnet + 41 * 40 + 40 + 40 * 40 + 40
        assert count(build_paw(FORTY, design=PUBLISHED, switch="part-and-whole")) == PAW
        assert count(build_part_only(FORTY, design=PUBLISHED)) == 40 * subnet
        assert count(build_grid(FORTY, design=PUBLISHED)) == 17 * subnet + 17 * 40 + 40 + 40 * 40 + 40


@pytest.mark.parametrize(("model", "counts"), [("paw", {PAW}), ("paw-whole-only", {*COUNTS.values()})])
def test_the_card_counts_and_says_what_it_counts(
    capsys: pytest.CaptureFixture[str], model: str, counts: set[int]
) -> None:
    assert main(["info", "model", model, "--preset", "paper", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    shown = card["presets"]["paper"]
    assert card["parameters"] == shown["parameters"] == min(counts)
    if model == "paw":
        assert f"{COUNTS['tnet']:,}" in card["counting"]  # what the localisation would add
    else:
        assert {card["parameters"], *shown["variants"].values()} == counts
        assert all(f"{each:,}" in card["counting"] for each in counts)
        assert "6 M" in card["counting"]
        assert "19 M" in card["counting"]


def test_layers_are_those_of_table_3() -> None:
    def three(*widths: int, pooled: bool) -> list[Layer]:
        return [Layer(width, 3, pooled) for width in widths]

    assert list(PUBLISHED.subnet_layers(40)) == [*three(16, 32, 64, 128, pooled=True), Layer(1280, 1, False)]
    two = replace(PUBLISHED, subnet="snet2").subnet_layers(40)
    assert list(two) == [*three(32, 64, 128, 256, pooled=True), Layer(512, 3, False), Layer(1280, 1, False)]
    one = replace(PUBLISHED, subnet="snet1").subnet_layers(40)
    assert list(one) == [*two[:5], Layer(1280, 3, False)]
    teacher = PUBLISHED.localiser_layers(40)
    assert [layer.channels for layer in teacher] == [
        *(64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
        1280,
    ]
    assert [place for place, layer in enumerate(teacher) if layer.pooled] == [1, 3, 6, 9]


def test_the_published_maps_have_14_by_14_cells_and_crops_64_of_224_pixels() -> None:
    thin = replace(PUBLISHED, subnet_width=1, localiser_width=1, maps=1)
    module = build_part_only(Task((3, 96, 80), ("A", "B")), design=thin).eval()
    heatmaps, centres = module.localise(torch.rand(1, 3, 96, 80))
    assert heatmaps.shape == (1, 2, 14, 14)
    assert PUBLISHED.crop_side(224, 224) == 64
    assert module.part_images(torch.rand(1, 3, 224, 224)).shape == (1, 2, 3, 64, 64)
    # Centres are in pixels of the images that were given.
    assert (centres >= torch.tensor([96, 80]) * 32 / 224 - 1e-4).all()
    assert (centres <= torch.tensor([96, 80]) * 192 / 224 + 1e-4).all()


@pytest.mark.parametrize(
    ("size", "side"), [((88, 72), 24), ((72, 88), 24), ((24, 20), 8), ((218, 178), 56), ((6, 5), 5)]
)
def test_the_crop_of_other_sizes_is_the_same_share(size: tuple[int, int], side: int) -> None:
    assert Design().crop_side(*size) == side


def test_a_localisation_network_of_fewer_modules_begins_like_the_whole_one() -> None:
    short = replace(PUBLISHED, localiser_modules=4).localiser_layers(40)
    assert short == (*PUBLISHED.localiser_layers(40)[:10], PUBLISHED.localiser_layers(40)[-1])
    assert len(Design(localiser_modules=3, localiser_depth=2).localiser_layers(1)) == 7
    with pytest.raises(ModelError, match="localiser_poolings = 2, but localiser_modules = 1; each pooling"):
        Design(localiser_modules=1)
