"""A network that was trained on one convention is offered in others: clean comparisons tell them apart."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from harness import Preprocessing, wrap_model
from harness.dataset import Dataset
from harness.model import Model
from harness.zoo import conventions
from harness.zoo.conventions import better_convention, compared_rows, convention_on_card

SIZE = 12
GIVEN = Preprocessing(channels="BGR", mean=0.5, std=0.5)
"""What the network is trained on."""


def faces(persons: int, each: int, seed: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Images (B, 3, 12, 12): red, in the upper half, shows who it is; all else differs between images."""
    random = torch.Generator().manual_seed(seed)
    x = torch.rand(persons * each, 3, 4, 4, generator=random)
    who = torch.rand(persons, 2, 4, generator=random).repeat_interleave(each, 0)
    x[:, 0, :2] = 0.7 * who + 0.3 * x[:, 0, :2]
    return nn.functional.interpolate(x, size=(SIZE, SIZE)), np.repeat(np.arange(persons), each)


class Network(nn.Module):
    """Its first layer saturates where pixels are too large."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


@cache
def trained() -> Network:
    """A network that was trained on BGR and pixels from -1 to 1, to tell two images of a person from others."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        for step in range(200):
            a, b = network(GIVEN(faces(48, 2, seed=100 + step)[0])).view(48, 2, -1).unbind(1)
            optimiser.zero_grad()
            nn.functional.cross_entropy(-torch.cdist(a, b), torch.arange(48)).backward()
            optimiser.step()
    return network.eval()


class Inside(nn.Module):
    """A module that scales its images itself, and does not tell how."""

    def __init__(self, own: Preprocessing) -> None:
        super().__init__()
        self.own, self.network = own, trained()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.own(x))  # type: ignore[no-any-return]


OTHERS = faces(20, 4, seed=2)
"""Persons who were not trained on."""


def told(module: nn.Module) -> conventions.BetterConvention | None:
    return better_convention(wrap_model(module, "embedding"), *OTHERS)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Preprocessing(channels="RGB", mean=0.5, std=0.5), "channels in the order BGR"),
        (Preprocessing(channels="BGR", scale=255), "pixels from -1 to 1"),
        (Preprocessing(channels="RGB", scale=255), "channels in the order BGR, pixels from -1 to 1"),
    ],
)
def test_another_convention_is_found(given: Preprocessing, name: str) -> None:
    found = told(given.wrap(trained()))
    assert found is not None
    assert found.name == name
    assert found.auc_roc > 0.9
    assert 0 < found.low < found.auc_roc - found.given
    assert found.line.startswith(
        f"clean comparisons of 20 persons are told apart better with {name}: AU-ROC 0.9"
    )


@pytest.mark.parametrize("given", [GIVEN, Preprocessing(channels="BGR", scale=255, mean=127.5, std=128)])
def test_the_right_convention_is_not_doubted(given: Preprocessing) -> None:
    assert told(given.wrap(trained())) is None
    assert told(Inside(given)) is None


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (Preprocessing(channels="RGB", mean=0.5, std=0.5), "channels in the other order"),
        (Preprocessing(channels="BGR", scale=255), "pixels from -1 to 1 in place of 0 to 255"),
        (
            Preprocessing(channels="RGB", scale=255),
            "channels in the other order, pixels from -1 to 1 in place of 0 to 255",
        ),
    ],
)
def test_modules_that_scale_themselves_are_examined_too(own: Preprocessing, name: str) -> None:
    found = told(Inside(own))
    assert found is not None
    assert found.name == name


def test_images_that_lie_upside_down_are_found() -> None:
    found = better_convention(wrap_model(GIVEN.wrap(trained()), "embedding"), OTHERS[0].flip(2), OTHERS[1])
    assert found is not None
    assert found.name == "images upside down"


def test_noise_and_few_persons_decide_nothing() -> None:
    wrong = wrap_model(Preprocessing(scale=255).wrap(trained()), "embedding")
    x, who = OTHERS
    assert better_convention(wrong, x[:16], who[:16]) is None  # 4 persons
    assert better_convention(wrong, x[::4], who[::4]) is None  # no genuine pair
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(3))
    for module in (GIVEN.wrap(trained()), Inside(GIVEN), Preprocessing(scale=255).wrap(trained())):
        assert better_convention(wrap_model(module, "embedding"), noise, who) is None
    assert better_convention(wrap_model(nn.Flatten(), "classes"), x, who) is None


def test_alternatives_that_a_model_refuses_are_left_out() -> None:
    class Careful(Inside):
        def forward(self, x: Tensor) -> Tensor:
            if x.min() < 0 or x.max() > 1:
                raise ValueError("pixels are from 0 to 1")
            return super().forward(x)

    found = told(Careful(Preprocessing(channels="RGB", mean=0.5, std=0.5)))
    assert found is not None
    assert found.name == "channels in the other order"


# --- on the card ------------------------------------------------------------------------------------------


def dataset(persons: int = 20, each: int = 6, **more: Any) -> Dataset:
    x, who = faces(persons, each, seed=4)
    levels = torch.round(x * 255).to(torch.uint8).numpy()
    ids = [str(row) for row in range(len(x))]
    return Dataset("faces", ids, (3, SIZE, SIZE), lambda rows: levels[rows], "x", identities=who, **more)


def test_some_images_of_some_persons_are_compared() -> None:
    rows = compared_rows(dataset(40))
    assert rows is not None
    assert rows.tolist() == [6 * person + image for person in range(24) for image in range(4)]
    parts = np.array(["train", "test"])[np.arange(120) // 6 % 2]
    within = compared_rows(dataset(partitions=parts))
    assert within is not None
    assert set(parts[within]) == {"test"}
    assert compared_rows(dataset(4)) is None
    assert compared_rows(dataset(20, 1)) is None
    assert (
        compared_rows(Dataset("x", ["a"], (3, 1, 1), lambda rows: np.zeros((1, 3, 1, 1), np.uint8), "x"))
        is None
    )


def test_the_card_keeps_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    wrong = wrap_model(Preprocessing(channels="RGB", mean=0.5, std=0.5).wrap(trained()), "embedding")
    card = convention_on_card(wrong, dataset(), {"weights": "a"})
    assert card["better_convention"]["name"] == "channels in the order BGR"
    assert "told apart better with channels in the order BGR" in card["better_convention"]["line"]
    assert json.loads(json.dumps(card)) == card
    monkeypatch.setattr(Model, "scores", None)  # nothing is computed again
    assert convention_on_card(wrong, dataset(), {"weights": "a"}) == card
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    right = wrap_model(GIVEN.wrap(trained()), "embedding")
    assert convention_on_card(right, dataset(), {"weights": "b"}) == {}
    assert convention_on_card(wrap_model(nn.Flatten(), "classes"), dataset(), {}) == {}
