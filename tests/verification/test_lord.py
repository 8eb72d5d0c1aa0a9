"""LORD: its shapes and sizes, its modulation against ``F.instance_norm``, and its two stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training.persons import split_persons
from harness_verification import PUBLISHED
from harness_verification.face_crop import crops_of
from harness_verification.lord import CLASS, CONTENT, Design, Encoder, Generator, Lord, modulated
from harness_verification.lord_training import trained_lord

from .conftest import DESIGN, GENERATOR, Surroundings

FIELDS = ("generator_width", "generator_hidden", "generator_slope", "generator_edge")
PAPER = Design(**{name: PUBLISHED[name] for name in FIELDS})


def test_modulation_is_adaptive_instance_normalisation() -> None:
    torch.manual_seed(0)
    x, styles = 3 * torch.randn(2, 5, 8, 8) + 1, torch.randn(2, 2, 5)
    found = modulated(x, styles)
    for place in range(2):
        expected = F.instance_norm(x[place : place + 1], weight=styles[place, 1] + 1, bias=styles[place, 0])
        assert torch.allclose(found[place : place + 1], expected, atol=1e-5)


def test_the_published_generator_has_the_tabulated_layers() -> None:
    with torch.device("meta"):
        generator, encoder = Generator(PAPER), Encoder(CONTENT, PAPER)
    linear = [
        (part.in_features, part.out_features) for part in generator.content if hasattr(part, "in_features")
    ]
    assert linear == [(128, 512), (512, 1024), (1024, 4096)]
    assert [(part.in_features, part.out_features) for part in generator.modulation] == [(256, 512)] * 4
    convolutions = [*generator.layers, generator.last[0], generator.last[2]]
    assert [(part.out_channels, part.kernel_size[0]) for part in convolutions] == [
        *[(256, 3)] * 4,
        (64, 5),
        (3, 7),
    ]
    found = [(part.out_channels, part.kernel_size[0], part.stride[0]) for part in encoder.features[::2]]
    assert found == [(64, 7, 1), (128, 4, 2), (256, 4, 2), (256, 4, 2), (256, 4, 2)]
    assert [part.out_features for part in encoder.code[::2]] == [256, 256, CONTENT]


@pytest.mark.parametrize("edge", [32, 64])
def test_codes_become_images_and_images_codes(edge: int) -> None:
    torch.manual_seed(0)
    lord = Lord(3, replace(DESIGN, generator_edge=edge))
    images = lord.generator(torch.randn(2, CONTENT), torch.randn(2, CLASS))
    assert images.shape == (2, 3, 64, 64)
    assert lord.generator.draw(torch.randn(2, CONTENT), torch.randn(2, CLASS)).shape == (2, 3, edge, edge)
    assert 0 <= images.min() <= images.max() <= 1
    assert lord.content(images).shape == (2, CONTENT)
    assert lord.person(images).shape == (2, CLASS)
    assert lord(images).shape == (2, 3, 64, 64)


def test_both_stages_learn(dataset: Dataset, surroundings: Surroundings) -> None:
    persons, unseen = split_persons(dataset, crops_of, held_out=2, people=None, seed=0)
    recipe = replace(GENERATOR, generator_epochs=8, encoder_epochs=8, content_noise=0.0)
    lord = trained_lord(
        persons, DESIGN, recipe, surroundings.context(), "float32", {"held_out": 2}, (0.0, 1.0)
    )
    losses = {
        stage: [float(word.split("loss ")[1].split(",")[0]) for word in surroundings.words if stage in word]
        for stage in ("codes ", "encoders ")
    }
    for values in losses.values():
        assert sum(values[-3:]) < 0.95 * sum(values[:3])
    x = persons.images(persons.rows_of[0][:2], torch.device("cpu"))
    codes = lord.persons[persons.who[persons.rows_of[0][:2]]]
    drawn, swapped = lord.swapped(x, codes), lord.swapped(x, lord.persons[[1, 1]])
    assert (drawn - x).abs().mean() < (drawn - unseen.images(unseen.rows_of[0][:2], x.device)).abs().mean()
    assert not torch.allclose(drawn, swapped)
    assert surroundings.made == ["codes", "generator"]


def test_a_generator_that_diverges_says_so(dataset: Dataset, surroundings: Surroundings) -> None:
    persons, _ = split_persons(dataset, crops_of, held_out=2, people=None, seed=0)
    recipe = replace(GENERATOR, generator_epochs=30, generator_rate=1e30, code_factor=1e8)
    with pytest.raises(ModelError, match=r"diverged: the loss is .*give a lower generator_rate"):
        trained_lord(persons, DESIGN, recipe, surroundings.context(), "float32", {}, (0.0, 1.0))
