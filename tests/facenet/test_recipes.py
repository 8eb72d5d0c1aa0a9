"""The recipes: what they share, what they depend on, and that a killed one goes on to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import unfinished
from harness.training.epochs import Stage
from harness.training.persons import split_persons
from harness_facenet.measuring import COLUMNS
from harness_facenet.network import FaceNet
from harness_facenet.norms import with_two_norms
from harness_facenet.recipe import Recipe
from harness_facenet.stages import UNKNOWN, Stages
from harness_facenet.triplets import epoch_rows, triplets_of
from harness_facenet.views import ViewRecipe

from .conftest import DESIGN, TINY, Surroundings, trained

RECIPES = ("standard", "adversarial", "contrastive", "scratch")


def same(one: FaceNet, other: FaceNet) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def done(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, FaceNet], Surroundings]:
    """A model of each recipe, and the surroundings that have their parts."""
    torch.set_num_threads(1)
    surroundings = Surroundings(tmp_path_factory.mktemp("done"))
    return {name: trained(dataset, surroundings, name) for name in RECIPES}, surroundings


def test_recipes_share_the_stages_that_they_have_in_common(
    done: tuple[dict[str, FaceNet], Surroundings],
) -> None:
    modules, surroundings = done
    assert surroundings.made == ["standard", "tuning", "contrastive", "tuning", "tuning"]
    for place, module in enumerate(modules.values()):
        assert not module.training
        assert not any(same(module, other) for other in list(modules.values())[:place])
        assert sum(parameter.numel() for parameter in module.parameters()) == sum(
            parameter.numel() for parameter in FaceNet(DESIGN).parameters()
        )


@pytest.mark.parametrize(
    ("recipe", "change", "expected"),
    [
        ("standard", {"margin": 0.3}, ["standard"]),
        ("standard", {"tuning_rate": 0.1}, []),
        ("adversarial", {"eps": 0.1}, ["tuning"]),
        ("adversarial", {"standard_rate": 0.1}, ["standard", "tuning"]),
        ("contrastive", {"tuning_epochs": 1}, ["tuning"]),
        ("contrastive", {"temperature": 0.1}, ["contrastive", "tuning"]),
        ("contrastive", {"labels": 0.5}, ["contrastive", "tuning"]),
        ("contrastive", {"second_view": "other"}, ["contrastive", "tuning"]),
        ("contrastive", {"views": ViewRecipe(flip=False)}, ["contrastive", "tuning"]),
        ("scratch", {"temperature": 0.1}, []),
    ],
)
def test_a_parameter_changes_its_stage_and_the_later_ones(
    dataset: Dataset,
    done: tuple[dict[str, FaceNet], Surroundings],
    recipe: str,
    change: dict[str, Any],
    expected: list[str],
) -> None:
    _, surroundings = done
    before = len(surroundings.made)
    trained(dataset, surroundings, recipe, **change)
    assert surroundings.made[before:] == expected


def test_which_set_judges_is_a_parameter_of_the_same_training(
    dataset: Dataset, done: tuple[dict[str, FaceNet], Surroundings]
) -> None:
    modules, surroundings = done
    clean = trained(dataset, surroundings, "adversarial", judging="clean")
    robust = modules["adversarial"]
    assert (clean.training_notes["judging"], robust.training_notes["judging"]) == ("clean", "adversarial")
    ours, theirs = clean.state_dict(), robust.state_dict()
    for name in ours:
        norm = ".bn" in name or "downsample.1" in name
        if "running" in name:
            assert not torch.equal(ours[name], theirs[name]), name
        elif not norm:
            assert torch.equal(ours[name], theirs[name]), name


class KilledError(Exception):
    """What ends a training in the middle."""


def stop_at(word: str, folder: Path, seen: list[int]) -> Callable[[str], None]:
    def told(there: str) -> None:
        seen.append(len(list(folder.iterdir())))
        if there.startswith(word):
            raise KilledError

    return told


@pytest.mark.parametrize(
    ("recipe", "stage"), [("standard", "standard"), ("contrastive", "contrastive"), ("contrastive", "tuning")]
)
def test_a_killed_training_goes_on_to_the_same_weights(
    dataset: Dataset,
    done: tuple[dict[str, FaceNet], Surroundings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    stage: str,
) -> None:
    """It is killed in the second of two epochs; never are there more than two states on the disk."""
    monkeypatch.setattr(unfinished, "KEEP_SECONDS", 0.0)
    seen: list[int] = []
    killed = Surroundings(tmp_path, told=stop_at(f"{stage} 4/", tmp_path, seen))
    with pytest.raises(KilledError):
        trained(dataset, killed, recipe)
    assert len(list(tmp_path.iterdir())) == 1
    killed.told = lambda word: seen.append(len(list(tmp_path.iterdir())))
    killed.words.clear()
    resumed = trained(dataset, killed, recipe)
    assert killed.words[0] == "continues after step 2"
    whole = done[0][recipe]
    assert same(whole, resumed)
    assert whole.training_notes == resumed.training_notes
    assert list(tmp_path.iterdir()) == []
    assert 1 <= max(seen) <= 2


def test_notes_have_the_curves(done: tuple[dict[str, FaceNet], Surroundings]) -> None:
    modules, _ = done
    notes = modules["contrastive"].training_notes
    assert (notes["recipe"], len(notes["contrastive"]["loss"])) == ("contrastive", 2)
    assert set(notes["tuning"]) == {"loss", *COLUMNS}
    assert all(0 <= value <= 1 for value in notes["tuning"]["ra"])
    assert "standard" in modules["adversarial"].training_notes


def told_apart(module: FaceNet, dataset: Dataset) -> float:
    """How often, among the training images, one of the same person is nearer than one of another."""
    assert dataset.identities is not None
    rows = dataset.rows("train")
    who = torch.from_numpy(dataset.identities[rows])
    with torch.no_grad():
        embeddings = module(torch.from_numpy(dataset.images(rows)).float() / 255)
    apart = torch.cdist(embeddings, embeddings)
    same = who[:, None] == who
    others = same[:, :, None] & ~same[:, None, :] & ~torch.eye(len(who), dtype=torch.bool)[:, :, None]
    return float((apart[:, :, None] < apart[:, None, :])[others].float().mean())


def test_what_can_be_seen_is_learned(dataset: Dataset, surroundings: Surroundings) -> None:
    long: dict[str, Any] = {"standard_epochs": 20, "epoch_images": None}
    learned, unlearned = (
        trained(dataset, surroundings, "standard", standard_rate=rate, **long) for rate in (5e-3, 1e-9)
    )
    curve = learned.training_notes["standard"]["loss"]
    assert curve[-1] < 0.5 * curve[0]
    assert told_apart(learned, dataset) > told_apart(unlearned, dataset) + 0.1


# --- the steps --------------------------------------------------------------------------------------------


def stages(dataset: Dataset, **changes: Any) -> Stages:
    recipe = Recipe(**{**TINY, **changes})
    learned, unseen = split_persons(dataset, lambda x: x, held_out=2, people=None, seed=0)
    context = Surroundings(Path("unused")).context()
    return Stages(DESIGN, recipe, ViewRecipe(), learned, unseen, context, "adversarial")


def test_triplets_are_drawn_by_identity_and_an_epoch_shows_each_image_once(dataset: Dataset) -> None:
    one = stages(dataset, epoch_images=None)
    assert one.steps == 36 // 8
    shown = np.concatenate([one._rows("tuning", step) for step in range(1, one.steps + 1)])
    assert len(set(shown.tolist())) == len(shown) == 32
    assert one._rows("tuning", 1).tolist() != one._rows("tuning", one.steps + 1).tolist()
    triplets = triplets_of(one.learned, shown, np.random.default_rng(0))
    who = one.learned.who
    assert (who[triplets.anchor] == who[triplets.positive]).all()
    assert (triplets.anchor != triplets.positive).all()
    assert (who[triplets.anchor] != who[triplets.negative]).all()
    assert len(epoch_rows(one.learned, np.random.default_rng(0), 5)) == 5


def test_the_loss_of_attacked_triplets_has_both_halves_of_the_anchor(dataset: Dataset) -> None:
    """x passes by the clean set with p and n, x + δ by the adversarial one, each as often as the other."""
    one = stages(dataset)
    torch.manual_seed(0)
    net = with_two_norms(FaceNet(DESIGN)).eval()
    x, p, n = one._triplets("tuning", 1)
    both = one._of_triplets(net, [x, x], p, n)  # type: ignore[arg-type]
    single = one._of_triplets(net, [x], p, n)  # type: ignore[arg-type]
    assert both.item() == pytest.approx(single.item(), abs=1e-6)  # the sets are still equal
    with torch.no_grad():
        for part in net.modules():
            if hasattr(part, "adversarial"):
                part.adversarial.bias.add_(0.5)
    other = one._of_triplets(net, [x, x], p, n)  # type: ignore[arg-type]
    half = one._of_triplets(net, [x], p, n)  # type: ignore[arg-type]
    assert half.item() == pytest.approx(single.item(), abs=1e-6)
    assert other.item() != pytest.approx(single.item(), abs=1e-4)


def test_labels_pair_images_of_a_person_and_their_share_is_met(dataset: Dataset) -> None:
    one = stages(dataset, labels=0.5)
    known = one.labels
    assert 0.3 < (known != UNKNOWN).mean() < 0.7
    assert (known[known != UNKNOWN] == one.learned.who[known != UNKNOWN]).all()
    rows = np.arange(len(known))
    partners, told = one._partners(rows, np.random.default_rng(0))
    unknown = told == UNKNOWN
    assert (partners[unknown] == rows[unknown]).all()
    assert (one.learned.who[partners] == one.learned.who).all()
    moved = partners != rows
    assert moved.any()
    assert (known[partners[moved]] != UNKNOWN).all()
    assert (stages(dataset).labels == UNKNOWN).all()
    assert (stages(dataset, labels=1.0).labels == one.learned.who).all()


def test_views_are_of_the_same_draw_unless_another_is_asked_for(dataset: Dataset) -> None:
    first, second, known = stages(dataset)._views(1)
    assert known is None
    assert torch.equal(first, second)
    first, second, _ = stages(dataset, second_view="other")._views(1)
    assert not torch.allclose(first, second, atol=0.05)


def test_a_training_that_diverges_names_the_key(dataset: Dataset, surroundings: Surroundings) -> None:
    with pytest.raises(ModelError, match="stage tuning: the loss is nan; give a lower tuning_rate than"):
        trained(dataset, surroundings, "scratch", tuning_rate=1e30)
    assert Stage("x", 1, 0.1, (0, 1)).epochs == 1
