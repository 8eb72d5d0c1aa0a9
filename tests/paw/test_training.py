"""The five stages: what they share, what they change, and that a killed one goes on to the same weights."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.specs import ModelSpec
from harness.training import Task, unfinished
from harness_paw import PAPER, harness_models, learning, stages, training_passes
from harness_paw.multi_net import HEAVIEST, attribute_loss, balanced_loss, value_weights
from harness_paw.recipe import Recipe
from harness_paw.training import train

from .conftest import BUILDS, DESIGN, NAMES, RECIPE, Surroundings, trained

TNET = replace(DESIGN, subnet="tnet")
STAGES = ["localisation", "hint", "whole", "places", "parts", "layers", "end-to-end"]


@pytest.fixture(scope="module")
def done(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Surroundings]:
    """A trained PaW, and the surroundings that have its parts."""
    surroundings = Surroundings(tmp_path_factory.mktemp("done"))
    torch.set_num_threads(1)
    return trained(dataset, surroundings), surroundings


def same(one: Any, other: Any) -> bool:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def part_of(surroundings: Surroundings, kind: str, prefix: str = "net.") -> dict[str, Tensor]:
    """The newest kept part with an accuracy, curve or network that only this stage has."""
    place = surroundings.made.index(kind)
    found = list(surroundings.parts.values())[place]
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def test_the_stages_come_in_order_and_models_share_them(
    dataset: Dataset, done: tuple[Any, Surroundings]
) -> None:
    _, surroundings = done
    made = surroundings.made
    assert made[:7] == STAGES
    before = len(made)
    trained(dataset, surroundings, "paw-whole-only")
    trained(dataset, surroundings, "paw-part-only")
    trained(dataset, surroundings, crop="soft")
    assert made[before:] == []
    trained(dataset, surroundings, "paw-grid")
    assert made[before:] == ["parts", "layers", "end-to-end"]
    trained(dataset, surroundings, switch="part-and-whole")
    assert made[before + 3 :] == ["layers", "end-to-end"]


@pytest.mark.parametrize(
    ("change", "from_stage"),
    [
        ({"multi_net": False}, 0),
        ({"localiser_rate": 1e-3}, 0),
        ({"localiser_balance": 0.5}, 0),
        ({"hint_rate": 1e-3}, 1),
        ({"whole_rate": 1e-3}, 2),
        ({"part_rate": 1e-3}, 4),
        ({"layer_rate": 1e-3}, 5),
        ({"final_rate": 1e-3}, 6),
    ],
)
def test_a_parameter_changes_its_stage_and_the_later_ones(
    dataset: Dataset, done: tuple[Any, Surroundings], change: dict[str, Any], from_stage: int
) -> None:
    _, surroundings = done
    before = len(surroundings.made)
    trained(dataset, surroundings, recipe=replace(RECIPE, **change))
    expected = [stage for stage in STAGES[from_stage:] if stage != "places" or from_stage == 0]
    assert surroundings.made[before:] == expected


def test_who_trains_a_shared_stage_does_not_matter(
    dataset: Dataset, done: tuple[Any, Surroundings], surroundings: Surroundings
) -> None:
    module, known = done
    alone = trained(dataset, surroundings, "paw-part-only")
    assert surroundings.made == STAGES[:5]
    for name, tensor in part_of(known, "parts").items():
        assert torch.equal(alone.parts.state_dict()[name], tensor)
    assert same(alone.localiser, module.localiser)


def test_each_stage_begins_where_the_last_one_ended(done: tuple[Any, Surroundings]) -> None:
    """Parts begin as g_0, the layers leave all subnets alone, and the end moves all but the localisation."""
    module, known = done
    localisation, final = part_of(known, "localisation"), part_of(known, "end-to-end")
    assert all(torch.equal(module.localiser.state_dict()[name], localisation[name]) for name in localisation)
    parts, layers = part_of(known, "parts"), part_of(known, "layers")
    assert set(layers) == {"switch_weight", "switch_bias", "relation_weight", "relation_bias"}
    assert not torch.equal(layers["relation_weight"], torch.eye(3))
    assert not torch.equal(layers["switch_weight"], torch.full((4, 3), 0.25))
    moved = {name for name in final if name.startswith("parts.") and name.endswith("weight")}
    assert moved
    for name in moved:
        assert not torch.equal(final[name], parts[name.removeprefix("parts.")])
        assert len(parts[name.removeprefix("parts.")]) == 3
        assert not torch.equal(final[name][0], final[name][1])
    assert not any(name.startswith("localiser") for name in final)
    whole = part_of(known, "whole")
    first = (final["whole.layers.0.weight"] - whole["layers.0.weight"]).abs().max()
    assert 0 < first < 0.1


def test_subnets_begin_with_the_weights_of_the_stage_before(
    dataset: Dataset, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """g_0 goes on from its hints, and each part's subnet from g_0."""
    begun: dict[str, dict[str, Tensor]] = {}

    def learn(stage: Any, net: torch.nn.Module, *rest: Any) -> Tensor:
        begun[stage.name] = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        return learning.learn(stage, net, *rest)

    monkeypatch.setattr(stages, "learn", learn)
    trained(dataset, surroundings, "paw-part-only")
    hinted, whole = part_of(surroundings, "hint"), part_of(surroundings, "whole")
    assert not torch.equal(hinted["layers.0.weight"], begun["hint"]["layers.0.weight"])
    assert all(torch.equal(begun["whole"][name], hinted[name]) for name in hinted)
    for subnet in range(len(NAMES)):
        assert all(torch.equal(begun["parts"][name][subnet], whole[name]) for name in whole)


def test_part_subnets_learn_as_if_each_were_alone() -> None:
    """The batched loss is the sum of the subnets' own losses: no gradient of one reaches another."""
    scores = torch.randn(4, 3, 2, requires_grad=True)
    labels = torch.randn(4, 2).sign()
    (batched,) = torch.autograd.grad(attribute_loss(scores, labels[:, None]), scores)
    (single,) = torch.autograd.grad(attribute_loss(scores[:, 1], labels), scores)
    assert torch.allclose(batched[:, 1], single[:, 1])
    assert single[:, [0, 2]].abs().max() == 0


def test_both_values_of_an_attribute_weigh_the_same() -> None:
    rates = torch.tensor([0.5, 0.1, 0.9, 0.01], dtype=torch.float64)
    absent, present = value_weights(rates, 1.0)
    assert torch.allclose(rates * present + (1 - rates) * absent, torch.ones(4, dtype=torch.float64))
    assert torch.allclose((rates * present)[:3], torch.tensor(0.5, dtype=torch.float64))
    assert present[3] / absent[3] == pytest.approx(HEAVIEST)  # not 99
    assert value_weights(rates, 0.5)[1, 1] / value_weights(rates, 0.5)[0, 1] == pytest.approx(3)
    assert torch.equal(value_weights(rates, 0.0), torch.ones(2, 4, dtype=torch.float64))


def test_a_balanced_network_answers_log_odds_too() -> None:
    """The loss of constant scores is least at the logits of the rates, whatever the weights."""
    rates = torch.tensor([0.25, 0.75, 0.05])
    labels = torch.where(torch.arange(40)[:, None] < rates * 40, 1.0, -1.0)
    for balance in (0.0, 0.5, 1.0):
        scores = torch.logit(rates).clone().requires_grad_()
        loss = balanced_loss(scores.expand(40, 3), labels, value_weights(rates, balance))
        (gradient,) = torch.autograd.grad(loss, scores)
        assert gradient.abs().max() < 1e-6
    assert loss > attribute_loss(scores.expand(40, 3), labels)  # of a balance of 1
    plain = balanced_loss(scores.expand(40, 3), labels, value_weights(rates, 0.0))
    assert torch.equal(plain, attribute_loss(scores.expand(40, 3), labels))


def test_rare_attributes_begin_with_a_low_bias(dataset: Dataset, surroundings: Surroundings) -> None:
    """Before anything is learned, the biases differ by the logarithm of the weights' ratio."""
    plain, balanced = (
        trained(
            dataset,
            surroundings,
            "paw-part-only",
            recipe=replace(RECIPE, localiser_rate=1e-12, localiser_epochs=1, localiser_balance=balance),
        ).localiser
        for balance in (0.0, 1.0)
    )
    assert dataset.attributes is not None
    present = torch.from_numpy(dataset.attributes[dataset.rows("train")]).float()
    rates = (present.sum(0) + 0.5) / (len(present) + 1)
    absent, there = value_weights(rates, 1.0)
    assert torch.allclose(plain.bias - balanced.bias, (there / absent).log(), atol=1e-4)
    assert (there / absent).log().abs().max() > 0.1


def test_hints_bring_the_student_nearer_to_its_teacher(dataset: Dataset, surroundings: Surroundings) -> None:
    recipe = replace(RECIPE, hint_epochs=6, hint_rate=1e-2)
    module = trained(dataset, surroundings, "paw-whole-only", recipe=recipe)
    loss = module.training_notes["stages"]["hint"]["loss"]
    assert loss[-1] < 0.9 * loss[0]
    without = trained(dataset, surroundings, "paw-whole-only", recipe=replace(recipe, hint_epochs=0))
    assert "hint" not in without.training_notes["stages"]
    assert surroundings.made == ["localisation", "hint", "whole", "whole"]


def test_tnet_is_the_localisation_network_itself(dataset: Dataset, done: tuple[Any, Surroundings]) -> None:
    _, surroundings = done
    module = trained(dataset, surroundings, "paw-whole-only", design=TNET)
    localisation = part_of(surroundings, "localisation")
    assert all(torch.equal(module.whole.state_dict()[name], localisation[name]) for name in localisation)


def test_what_can_be_seen_is_learned(dataset: Dataset, surroundings: Surroundings) -> None:
    epochs = {"localiser_epochs": 4, "whole_epochs": 24, "part_epochs": 6, "layer_epochs": 16}
    rates = {"localiser_rate": 1e-2, "whole_rate": 1e-2}
    recipe = replace(RECIPE, batch_size=8, flip=False, **epochs, **rates)
    design = replace(DESIGN, subnet_width=4, localiser_width=4)
    module = trained(dataset, surroundings, recipe=recipe, design=design)
    stages = module.training_notes["stages"]
    assert stages["end-to-end"]["mean_accuracy"] >= 0.85
    assert stages["localisation"]["loss"][-1] < stages["localisation"]["loss"][0]


class KilledError(Exception):
    """What ends a training in the middle."""


def stop_at(word: str) -> Callable[[str], None]:
    def told(there: str) -> None:
        if there.startswith(word):
            raise KilledError

    return told


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "places"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_killed_training_goes_on_to_the_same_weights(
    dataset: Dataset,
    done: tuple[Any, Surroundings],
    surroundings: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    optimizer: Any,
) -> None:
    """It is killed in the second of two epochs of the stage."""
    if optimizer == "sgd" and stage not in ("localisation", "parts"):
        pytest.skip("once per kind of stage")
    monkeypatch.setattr(unfinished, "KEEP_SECONDS", 0.0)
    recipe = replace(RECIPE, optimizer=optimizer)
    folder = surroundings.folder
    (folder / "whole").mkdir()
    whole = (
        done[0] if optimizer == "adamw" else trained(dataset, Surroundings(folder / "whole"), recipe=recipe)
    )
    (folder / "killed").mkdir()
    killed = Surroundings(folder / "killed", told=stop_at(f"{stage} 5/"))
    with pytest.raises(KilledError):
        trained(dataset, killed, recipe=recipe)
    assert len(list(killed.folder.iterdir())) == 1
    killed.told = lambda word: None
    killed.words.clear()
    resumed = trained(dataset, killed, recipe=recipe)
    assert killed.words[0] in (
        "continues after step 3",
        "localises the training images",
        "scores the training images",
    )
    assert "continues after step 3" in killed.words[:3]
    assert same(whole, resumed)
    assert whole.training_notes == resumed.training_notes
    assert list(killed.folder.iterdir()) == []


def test_the_progress_rises_to_1(done: tuple[Any, Surroundings]) -> None:
    words, shares = done[1].words, done[1].shares
    end = words.index(next(word for word in words if word.startswith("end-to-end 6/6")))
    assert shares[: end + 1] == sorted(shares[: end + 1])
    assert shares[end] == 1


def test_notes_tell_what_analyses_need(dataset: Dataset, done: tuple[Any, Surroundings]) -> None:
    module, _ = done
    notes = module.training_notes
    assert (notes["regions"], notes["combination"], notes["crop"]) == ("localised", "all", "hard")
    assert notes["multi_net"] is True
    for stage in ("localisation", "hint", "whole", "parts", "layers", "end-to-end"):
        assert len(notes["stages"][stage]["loss"]) == 2
    for name in ("localisation", "classification-branch", "whole", "own-part", "layers", "end-to-end"):
        assert set(notes["stages"][name]["accuracy"]) == set(NAMES)
    assert np.allclose(notes["switch"]["weight"], module.switch_weight.detach(), atol=1e-5)
    assert np.allclose(notes["relation"]["weight"], module.relation_weight.detach(), atol=1e-5)
    own = [module.switch_weight[1 + place, place].item() for place in range(3)]
    assert list(notes["own"].values()) == pytest.approx(own, abs=1e-4)
    assert list(notes["whole"].values()) == pytest.approx(module.switch_weight[0].tolist(), abs=1e-4)
    counts = notes["parameters"]
    total = sum(parameter.numel() for parameter in module.parameters())
    assert counts["parts"] == 3 * counts["subnet"] == 3 * counts["whole"]
    assert counts["parts"] + counts["whole"] + counts["switch"] + counts["relation"] == total
    assert counts["localisation"] == sum(
        parameter.numel()
        for parameter in BUILDS["paw-whole-only"](Task.of(dataset), design=TNET).parameters()
    )


def test_notes_have_the_heatmaps_of_validation_images(
    dataset: Dataset, done: tuple[Any, Surroundings]
) -> None:
    module, _ = done
    heatmaps = module.training_notes["heatmaps"]
    assert len(heatmaps["samples"]) == len(heatmaps["pictures"]) == 6
    rows = [dataset.ids.index(name) for name in heatmaps["samples"]]
    assert min(rows) >= 40
    x = torch.from_numpy(dataset.images(np.array(rows))).float() / 255
    expected, centres = module.localise(x)
    values = np.frombuffer(base64.b64decode(heatmaps["values"]), np.uint8).reshape(heatmaps["shape"])
    assert values.shape == tuple(expected.shape)
    largest = expected.flatten(2).argmax(2, keepdim=True).numpy()
    flat = values.reshape(6, 3, -1)
    assert (np.take_along_axis(flat, largest, 2)[..., 0] == flat.max(2)).all()
    shares = (
        (expected - expected.amin((2, 3), True)) / (expected.amax((2, 3), True) - expected.amin((2, 3), True))
    ).numpy()
    assert np.abs(values / 255 - shares).max() < 0.01
    assert np.allclose(heatmaps["centres"], centres, atol=1e-4)
    assert heatmaps["side"] == [8, 8]
    assert base64.b64decode(heatmaps["pictures"][0])[:3] == b"\xff\xd8\xff"
    assert all(0 <= value <= 1 for row in module.training_notes["places"].values() for value in row)


def test_data_without_validation_images_have_no_accuracies(
    dataset: Dataset, surroundings: Surroundings
) -> None:
    assert dataset.partitions is not None
    data = replace(dataset, partitions=np.where(dataset.partitions == "train", "train", "test"))
    module = trained(
        data, surroundings, "paw-part-only", recipe=replace(RECIPE, part_epochs=1, hint_epochs=0)
    )
    assert "accuracy" not in module.training_notes["stages"]["own-part"]
    assert len(module.training_notes["heatmaps"]["samples"]) == 6


def test_unlike_losses_and_attributes_are_clear_errors(dataset: Dataset, surroundings: Surroundings) -> None:
    with pytest.raises(ModelError, match="training diverged in the stage localisation"):
        trained(
            dataset, surroundings, recipe=replace(RECIPE, localiser_rate=float("inf"), schedule="constant")
        )
    module = BUILDS["paw"](Task.of(dataset), design=DESIGN)
    with pytest.raises(ModelError, match="corners has no attributes to learn"):
        train(module, replace(dataset, attributes=None), surroundings.context(), recipe=RECIPE)


def test_the_paper_preset_has_the_published_rates() -> None:
    fields = {name: value for name, value in PAPER.items() if name in Recipe.__dataclass_fields__}
    recipe = Recipe(**fields)
    rates = [recipe.localiser_rate, recipe.hint_rate, recipe.whole_rate, recipe.layer_rate, recipe.final_rate]
    assert rates == [1e-4, 1e-7, 1e-4, 0.1, 1e-3]
    assert recipe.localiser_balance == 0
    assert (recipe.localiser_epochs, recipe.part_epochs, recipe.batch_size) == (10, 15, 128)
    assert recipe.rate(0.1, 1, 10) == recipe.rate(0.1, 10, 10) == 0.1
    optimiser = recipe.optimiser([torch.nn.Parameter(torch.zeros(1))], 0.1)
    assert isinstance(optimiser, torch.optim.SGD)
    group = optimiser.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.9, 5e-4)
    models: list[ModelSpec] = harness_models()
    assert {model.family for model in models} == {"cascade"}
    assert training_passes(PAPER) == 10 + 10 + 10 + 15 + 5


def test_one_cycle_rises_and_falls() -> None:
    rates = [Recipe().rate(1.0, step, 100) for step in range(1, 101)]
    top = rates.index(max(rates))
    assert 18 <= top <= 21
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] < 0.05
    assert rates[-1] < 1e-3
