"""The four recipes on made-up persons: what they share, what they pair, and that they learn it twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.parameters import jsonable
from harness.testing import model_checks
from harness.training import unfinished
from harness.training.persons import Persons, split_persons
from harness_verification.face_crop import crops_of
from harness_verification.lord import Lord
from harness_verification.network import Verifier
from harness_verification.pairs import PairMaker
from harness_verification.recipe import Recipe

from .conftest import DESIGN, TINY, Surroundings, trained

RECIPES = ("proposed", "weak", "doa", "none")


def weights(module: Verifier) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in module.state_dict().items() if "generator" not in name}


def same(one: Verifier, other: Verifier) -> bool:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_recipes_share_generator_and_start_and_differ_in_the_rest(
    dataset: Dataset, surroundings: Surroundings
) -> None:
    modules = [trained(dataset, surroundings, recipe) for recipe in RECIPES]
    assert surroundings.made == ["codes", "generator", "start", *["verifier"] * 4]
    for place, module in enumerate(modules):
        assert not module.training
        assert not any(same(module, other) for other in modules[:place])
        assert (module.generator is not None) == (RECIPES[place] in ("proposed", "none"))
    assert not same(
        trained(dataset, surroundings, "doa", places=2), trained(dataset, surroundings, "doa", places=9)
    )


@pytest.mark.parametrize("recipe", ["proposed", "doa"])
def test_the_same_seed_gives_the_same_weights(
    dataset: Dataset, surroundings: Surroundings, tmp_path: Path, recipe: str
) -> None:
    first = trained(dataset, surroundings, recipe)
    (tmp_path / "again").mkdir()
    second = trained(dataset, Surroundings(tmp_path / "again"), recipe)
    assert same(first, second)
    assert first.training_notes == second.training_notes
    assert not same(first, trained(dataset, surroundings, recipe, seed=1))


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Verifier]:
    """A verifier whose training nothing disturbed; it is trained once."""
    return cache(lambda: trained(dataset, Surroundings(tmp_path_factory.mktemp("whole")), "proposed"))


class KilledError(Exception):
    """What ends a training in the middle."""


def stop_at(word: str) -> Callable[[str], None]:
    def told(there: str) -> None:
        if there.startswith(word):
            raise KilledError

    return told


@pytest.mark.parametrize("word", ["codes 3/", "encoders 2/", "start 2/", "proposed 3/"])
def test_a_killed_training_goes_on_to_the_same_weights(
    dataset: Dataset,
    undisturbed: Callable[[], Verifier],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
) -> None:
    monkeypatch.setattr(unfinished, "KEEP_SECONDS", 0.0)
    killed = Surroundings(tmp_path, told=stop_at(word))
    with pytest.raises(KilledError):
        trained(dataset, killed, "proposed")
    assert len(list(tmp_path.iterdir())) == 1
    done = int(word.split()[1].rstrip("/")) - 1
    killed.told = lambda word: None
    killed.words.clear()
    resumed = trained(dataset, killed, "proposed")
    assert killed.words[0] == f"continues after step {done}"
    assert same(undisturbed(), resumed)
    assert undisturbed().training_notes == resumed.training_notes
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_told_and_not_used(
    dataset: Dataset, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "KEEP_SECONDS", 0.0)
    surroundings.told = stop_at("weak 3/")
    with pytest.raises(KilledError):
        trained(dataset, surroundings, "weak")
    (state,) = surroundings.folder.iterdir()
    state.write_bytes(state.read_bytes()[:-100])
    surroundings.told = lambda word: None
    surroundings.words.clear()
    trained(dataset, surroundings, "weak")
    assert surroundings.words[0].startswith(f"starts again, because {state} cannot be used")


def test_curves_have_a_row_per_validation(dataset: Dataset, surroundings: Surroundings) -> None:
    module = trained(dataset, surroundings, "weak", steps=5, validate_every=2)
    curves = module.training_notes["curves"]
    assert curves["step"] == [0, 2, 4, 5]
    assert curves["training_loss"][0] is None
    assert all(value > 0 for value in curves["training_loss"][1:])
    assert all(0 <= value <= 1 for value in curves["validation_auc"])


def test_the_best_loss_is_kept_though_later_ones_are_worse(
    dataset: Dataset, surroundings: Surroundings
) -> None:
    more: dict[str, Any] = {"steps": 6, "schedule": "constant", "learning_rate": 0.3}
    curves = trained(dataset, surroundings, "weak", keep="loss", **more).training_notes["curves"]
    best = int(np.argmin(curves["validation_loss"][1:])) + 1
    assert best < 6  # such a rate overshoots
    kept = trained(dataset, surroundings, "weak", keep="loss", **more)
    upto = trained(dataset, surroundings, "weak", keep="last", **{**more, "steps": best})
    assert same(kept, upto)


def test_notes_fit_into_a_card(dataset: Dataset, surroundings: Surroundings) -> None:
    proposed = trained(dataset, surroundings, "proposed").training_notes
    doa = trained(dataset, surroundings, "doa", generated_pairs=True).training_notes
    assert json.loads(json.dumps(jsonable(proposed), allow_nan=False)) == proposed
    assert set(proposed["pictures"]) == {"quadruplets", "unseen"}
    for picture in proposed["pictures"].values():
        assert base64.b64decode(picture)[:2] == b"\xff\xd8"
    assert set(doa["pairs"]) == {"real", "generated"}
    assert len(doa["pairs"]["real"]) == len(doa["pairs"]["generated"]) == 400
    assert "pictures" not in doa


@pytest.fixture(scope="module")
def persons(dataset: Dataset) -> Persons:
    return split_persons(dataset, crops_of, held_out=2, people=None, seed=0)[0]


def embed(x: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(x, 16).flatten(1)


@pytest.fixture(scope="module")
def lord() -> Lord:
    torch.manual_seed(0)
    drawn = Lord(6, DESIGN)
    drawn.persons.copy_(torch.randn(6, 256))
    return drawn.eval().requires_grad_(False)


def maker(persons: Persons, lord: Lord | None, recipe: str, **more: Any) -> PairMaker:
    chosen = Recipe(**{"recipe": recipe, **TINY, "attack_steps": 0, **more})
    return PairMaker(persons, chosen, embed, torch.device("cpu"), lord)


def test_generated_pairs_have_the_content_of_one_and_the_class_of_the_other(
    persons: Persons, lord: Lord
) -> None:
    made = maker(persons, lord, "proposed", candidates=1).make(np.random.default_rng(0))
    rows = persons.draw(np.random.default_rng(0), 4)
    codes = lord.persons[persons.who[rows]]
    assert torch.allclose(made.y, lord.swapped(made.x, codes), atol=1e-6)
    assert torch.allclose(made.u, lord.swapped(made.t, codes), atol=1e-6)


def test_real_pairs_share_their_anchor(persons: Persons) -> None:
    for recipe in ("weak", "doa"):
        made = maker(persons, None, recipe, shift=0, erased_share=0.0).make(np.random.default_rng(0))
        assert made.u is made.y
        colours = [images.flatten(2).median(2).values for images in (made.x, made.y, made.t)]
        same = (colours[0] - colours[1]).abs().max(1).values
        assert (same < (colours[2] - colours[1]).abs().max(1).values).all()


def test_the_nearer_of_two_candidates_is_taken(persons: Persons) -> None:
    one = [
        maker(persons, None, "weak", candidates=count, batch_size=32).make(np.random.default_rng(4))
        for count in (1, 4)
    ]
    apart = [torch.linalg.norm(embed(made.t) - embed(made.y), dim=1).mean() for made in one]
    assert apart[1] < 0.8 * apart[0]


@pytest.mark.parametrize("recipe", ["proposed", "weak", "doa"])
def test_attacks_are_made_as_the_recipe_says(persons: Persons, lord: Lord, recipe: str) -> None:
    plain, attacked = (
        maker(persons, lord, recipe, attack_steps=steps, erased_share=1.0).make(np.random.default_rng(2))
        for steps in (0, 4)
    )
    assert torch.equal(plain.y, attacked.y)
    assert torch.equal(plain.u, attacked.u)
    for images, more, anchor, sign in (
        (plain.x, attacked.x, plain.y, 1),
        (plain.t, attacked.t, plain.u, -1),
    ):
        change = torch.linalg.norm(embed(more) - embed(anchor), dim=1)
        change = sign * (change - torch.linalg.norm(embed(images) - embed(anchor), dim=1))
        assert (change > 0).all()
        assert 0 < (more != images).any(1).float().mean() < 0.25
    none = maker(persons, lord, "none", attack_steps=4).recipe.attack
    assert none.steps == 0


def test_too_few_persons_are_a_clear_error(dataset: Dataset, surroundings: Surroundings) -> None:
    with pytest.raises(ModelError, match="colours has no identities"):
        trained(replace(dataset, identities=None), surroundings, "weak")
    with pytest.raises(ModelError, match="0 persons have two training images or more"):
        trained(replace(dataset, identities=np.arange(60)), surroundings, "weak")


def test_the_contract_is_kept_without_a_generator() -> None:
    names = ("steps", "batch_size", "start_steps", "attack_steps", "held_out")
    small = {name: TINY[name] for name in names} | {"width": 4, "recipe": "doa"}
    results = [case.result() for case in model_checks("verifier", params=small)]
    assert [(result.check, result.line) for result in results if result.status == "failed"] == []
