"""A network that was trained on one convention is offered in others: clean comparisons tell them apart."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import harness
from harness import Preprocessing, files, wrap_model
from harness.catalog import catalog
from harness.cli import main
from harness.dataset import Dataset
from harness.model import Model
from harness.plan.models import ModelChoice
from harness.testing import model_checks
from harness.testing.contract import Result, entry_of
from harness.zoo import conventions, obtain
from harness.zoo.conventions import better_convention, compared_rows, convention_on_card
from tests.installing import install

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
    """A network that was trained on BGR and pixels from -1 to 1, to tell a person's images from others."""
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


# --- on the card and in the contract kit ------------------------------------------------------------------


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


def wrong(task: Any) -> nn.Module:
    """Builds the network as if it had been trained on RGB."""
    return Preprocessing(channels="RGB", mean=0.5, std=0.5).wrap(trained())


def right(task: Any) -> nn.Module:
    """Builds the network in its own convention."""
    return GIVEN.wrap(trained())


SPEC = harness.ModelSpec(name="brought", summary="", head="embedding", build="tests:build")


def test_models_that_come_with_weights_are_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(files, "_said", set())
    cards = []
    for build in (right, wrong):
        entry = entry_of(SPEC, catalog().models, "build", build)
        choice = ModelChoice("mine", entry, {}, "suite: model", None)
        cards.append(dict(obtain(choice, dataset(), 0, torch.device("cpu")).card))
    assert cards[0] == {"preprocessing": GIVEN.as_dict()}
    assert cards[1]["preprocessing"]["channels"] == "RGB"
    assert cards[1]["better_convention"]["name"] == "channels in the order BGR"
    assert [record.getMessage() for record in caplog.records] == [
        f"mine on faces: {cards[1]['better_convention']['line']}"
    ]


def checked(build: Any, data: Dataset | None = None, **said: Any) -> Result:
    spec = harness.ModelSpec(name="brought", summary="", head="embedding", build="tests:build", **said)
    (check,) = model_checks(spec, function=build, only=["conventions"], data=data)
    return check.result()


def test_the_contract_kit_compares_persons() -> None:
    assert checked(right, dataset()).status == "passed"
    failed = checked(wrong, dataset())
    assert failed.status == "failed"
    assert "told apart better with channels in the order BGR" in failed.line
    assert checked(wrong, example="tests.zoo.test_conventions:dataset").line == failed.line
    needs = "it needs images of at least 5 persons: --data DATASET, or an example in its spec"
    for data in (None, dataset(4)):
        assert (checked(wrong, data).status, checked(wrong, data).line) == ("skipped", needs)
    drawn = checked(lambda task: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), dataset())
    assert (drawn.status, drawn.line) == (
        "skipped",
        "it has no weights yet, or is trained on images as they are",
    )


def test_harness_check_compares_persons_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (
        "import harness\n\n@harness.hookimpl\ndef harness_models():\n"
        '    return [harness.ModelSpec(name="brought", summary="", head="embedding", '
        'build="tests.zoo.test_conventions:wrong")]\n'
    )
    install(tmp_path / "site", "site-brought", "1.0", {"bringing": "site_brought"}, {"site_brought": source})
    monkeypatch.syspath_prepend(tmp_path / "site")
    catalog.cache_clear()
    people = dataset(10, 4)
    for row, pixels in enumerate(people.images(people.rows())):
        (tmp_path / f"faces/{row // 4}").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"faces/{row // 4}/{row}.png"), pixels[::-1].transpose(1, 2, 0))
    command = ["check", "bringing", "--only", "conventions", "--data", "image-folder"]
    try:
        status = main([*command, "--set", f"image-folder.root={tmp_path / 'faces'}"])
        told = capsys.readouterr()
        unknown = main([*command, "--set", "image-folder.rot=x"])
        fault = capsys.readouterr()
    finally:
        catalog.cache_clear()
        sys.modules.pop("site_brought", None)
    assert (status, told.err) == (1, "")
    assert "✗ conventions        embedding: clean comparisons of 10 persons are told apart better" in told.out
    assert (unknown, fault.err.count("\n")) == (2, 1)
    assert 'dataset "image-folder": "rot" is unknown; did you mean "root"?' in fault.err


def test_a_model_that_fails_is_reported_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    failing = wrap_model(nn.Sequential(nn.Flatten(), nn.Linear(7, 4)), "embedding")
    assert convention_on_card(failing, dataset(), {}) == {}
    assert not list(tmp_path.rglob("*.json"))
