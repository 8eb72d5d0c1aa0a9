"""Trials: attacks that cheat do not score, and their honest twins do; all numbers repeat."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import harness
from harness import wrap_model
from harness.errors import AttackError, CatalogError, ContractError
from harness.goals import FlipAttribute, Untargeted
from harness.judge.guard import fingerprint
from harness.judge.trial import Trial, attempt
from harness.meter import Meter
from harness.model import Model
from harness.randomness import derived_seed
from harness.threat import L2, Linf, Minimal, Region, Threat

SHAPE = (3, 6, 6)
LEVEL = 1 / 255
BUDGET = Linf(8 * LEVEL)


class Brighter(nn.Module):
    """Score (B, 1) of "the mean is above half grey". In train mode, or without its weight, all is light."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.last = nn.Linear(1, 1)
        nn.init.ones_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1, keepdim=True) - 0.5
        return self.last(self.norm(mean)) + float(self.training)  # type: ignore[no-any-return]


def brighter() -> Model:
    return wrap_model(Brighter().eval(), "attributes")


def module_of(handle: Any) -> Brighter:
    """What no attack should do: reach under the handle."""
    return handle._model.module  # type: ignore[no-any-return]


def greys(count: int = 3, level: int = 120) -> Tensor:
    """Plain grey images a little below half grey; from 128 on they flip."""
    return torch.full((count, *SHAPE), level * LEVEL)


def run(
    attack: Callable[..., Any], *, model: Model | None = None, threat: Threat = BUDGET, **more: Any
) -> Trial:
    images = more.pop("images", greys())
    return attempt(
        model or brighter(),
        attack,
        images,
        more.pop("goal", FlipAttribute(torch.zeros(len(images), dtype=torch.long))),
        threat,
        seed=more.pop("seed", 0),
        keys=more.pop("keys", [str(case) for case in range(len(images))]),
        parameters={},
        **more,
    )


def honest(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    return x + 8 * LEVEL


def idle(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    return x.clone()


def test_honest_attack_scores_and_an_idle_one_does_not() -> None:
    trial = run(honest)
    assert trial.verdict.success.all()
    assert torch.equal(trial.x, greys())
    assert trial.objective.correct.all()
    assert not run(idle).verdict.success.any()


# --- attacks that break the contract ----------------------------------------------------------------------


def after(harm: Callable[[Brighter], Any]) -> Callable[..., Tensor]:
    """An attack that does something to the model and then returns what it was given."""

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        harm(module_of(model))
        return x.clone()

    return attack


def write(place: Callable[[Brighter], Tensor], value: float) -> Callable[[Brighter], Any]:
    def harm(module: Brighter) -> None:
        with torch.no_grad():
            place(module).fill_(value)

    return harm


def add_hook(module: Brighter) -> None:
    module.register_forward_hook(lambda module, inputs, outputs: outputs + 1)


def add_hook_before(module: Brighter) -> None:
    module.last.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))


def replace_forward(module: Brighter) -> None:
    module.forward = lambda x: torch.ones(len(x), 1)  # type: ignore[method-assign]


def replace_part(module: Brighter) -> None:
    module.norm = nn.Threshold(9, 1).eval()  # type: ignore[assignment]


HARMS: dict[str, tuple[Callable[[Brighter], Any], str]] = {
    "train mode": (lambda module: module.train(), "train mode"),
    "train mode of a part": (lambda module: module.norm.train(), "train mode"),
    "flag of train mode": (lambda module: setattr(module, "training", True), "train mode"),
    "bias": (write(lambda module: module.last.bias, 1), "weights or buffers"),
    "bias behind the version counter": (write(lambda module: module.last.bias.data, 1), "weights or buffers"),
    "buffer": (write(lambda module: module.norm.running_mean, -1), "weights or buffers"),  # type: ignore[arg-type, return-value]
    "hook": (add_hook, "hooks"),
    "hook of a part": (add_hook_before, "hooks"),
    "forward": (replace_forward, "forward"),
    "part": (replace_part, "weights or buffers|hooks"),
}


@pytest.mark.parametrize("name", HARMS)
def test_harm_to_the_model_is_refused(name: str) -> None:
    harm, message = HARMS[name]
    model = brighter()
    assert run(after(lambda module: None), model=model).verdict.valid.all()
    with pytest.raises(ContractError, match=message):
        run(after(harm), model=model)
    assert not model.module.training


@pytest.mark.parametrize("name", [name for name in HARMS if name not in ("train mode of a part",)])
def test_harm_would_have_scored_had_it_not_been_caught(name: str) -> None:
    module = Brighter().eval()
    assert (module(greys()) < 0).all()
    HARMS[name][0](module)
    assert (module(greys()) > 0).all()


def test_batch_statistics_do_not_score_either() -> None:
    # a forward pass in train mode would move BatchNorm's statistics
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        module = module_of(model).train()
        module(x + torch.rand(x.shape))
        module.eval()
        return x.clone()

    with pytest.raises(ContractError, match="weights or buffers"):
        run(attack)


def test_harm_of_an_attack_that_then_fails_is_told_too() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        write(lambda module: module.last.bias, 1)(module_of(model))
        raise ZeroDivisionError

    with pytest.raises(ContractError, match="weights or buffers") as caught:
        run(attack)
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_failure_of_an_attack_is_its_own_and_leaves_the_model_as_it_was() -> None:
    model = brighter()
    model.module.train()

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(attack, model=model)
    assert model.module.training
    assert all(parameter.requires_grad for parameter in model.module.parameters())


@pytest.mark.parametrize("alias", ["itself", "view", "detached"])
def test_input_changed_in_place_is_refused(alias: str) -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        x += 8 * LEVEL
        return {"itself": x, "view": x[:], "detached": x.detach()}[alias]

    with pytest.raises(ContractError, match="changed its input in place"):
        run(attack)


def test_alias_of_the_input_is_the_input() -> None:
    trial = run(lambda model, x, objective, threat, *, rng: x)
    assert trial.verdict.valid.all()
    assert not trial.verdict.reached.any()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: None, "NoneType"),
        (lambda x: (x + 8 * LEVEL, torch.ones(3, dtype=torch.bool)), "tuple"),
        (lambda x: (x + 8 * LEVEL).numpy(), "ndarray"),
        (lambda x: (x + 8 * LEVEL)[:2], "shape"),
        (lambda x: ((x + 8 * LEVEL) * 255).byte(), "uint8"),
    ],
)
def test_claims_and_other_things_than_images_are_refused(returned: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        run(lambda model, x, objective, threat, *, rng: returned(x))


def change_goal(x: Tensor, objective: Any, threat: Any) -> None:
    objective.present.logical_not_()


def change_columns(x: Tensor, objective: Any, threat: Any) -> None:
    objective.columns.fill_(1)


def replace_goal(x: Tensor, objective: Any, threat: Any) -> None:
    object.__setattr__(objective, "present", ~objective.present)


@pytest.mark.parametrize("change", [change_goal, change_columns, replace_goal])
def test_goal_cannot_be_moved(change: Callable[..., None]) -> None:
    class Both(Brighter):
        """A second attribute that is always present, so that to "flip" it is done already."""

        def forward(self, x: Tensor) -> Tensor:
            own = super().forward(x)
            return torch.cat([own, own.abs()], 1)

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        change(x, objective, threat)
        return x.clone()

    index = torch.zeros(3, dtype=torch.long)
    trial = run(attack, model=wrap_model(Both().eval(), "attributes"), goal=FlipAttribute(index))
    assert not trial.verdict.reached.any()
    assert trial.objective.correct.all()
    assert not index.any()
    assert run(
        honest, model=wrap_model(Both().eval(), "attributes"), goal=FlipAttribute(index)
    ).verdict.success.all()


def widen_mask(threat: Any) -> None:
    threat.mask.fill_(True)


def raise_budget(threat: Any) -> None:
    object.__setattr__(threat, "eps", 1.0)


@pytest.mark.parametrize("change", [widen_mask, raise_budget])
def test_threat_cannot_be_widened(change: Callable[..., None]) -> None:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:3] = True
    limits = Region(mask, norm="linf", eps=16 * LEVEL)
    wider = replace(limits, eps=1.0, mask=torch.ones(6, 6, dtype=torch.bool))

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        change(threat)
        wide = x.clone()
        wide[:, :, : 6 if change is widen_mask else 3] += (16 if change is widen_mask else 40) * LEVEL
        return wide

    def fair(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        return threat.project(x + 1, x)

    assert not run(attack, threat=limits).verdict.success.any()
    assert run(attack, threat=wider).verdict.success.all()
    assert run(fair, threat=limits).verdict.success.all()
    assert mask.sum() == 18


# --- what attacks see -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_model", "of_threat", "seen"),
    [
        ("gradients", "gradients", "gradients"),
        ("scores", "gradients", "scores"),
        ("gradients", "decisions", "decisions"),
        ("decisions", "scores", "decisions"),
    ],
)
def test_attack_sees_the_lesser_access(of_model: Any, of_threat: Any, seen: str) -> None:
    shown = []

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        shown.append((model.access, model(x.requires_grad_()).requires_grad))
        return x + 8 * LEVEL

    model = wrap_model(Brighter().eval(), "attributes", access=of_model)
    run(attack, model=model, threat=Linf(8 * LEVEL, access=of_threat))
    assert shown == [(seen, seen == "gradients")]


def test_gradients_reach_no_parameter() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        start = x.clone().requires_grad_()
        objective.margin(model(start)).sum().backward()
        assert start.grad is not None
        _, slope = model.gradient(x, objective.margin)
        torch.testing.assert_close(slope, start.grad)
        return x + 8 * LEVEL * slope.sign()

    model = brighter()
    trial = run(attack, model=model)
    assert trial.verdict.success.all()
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert trial.forwards.tolist() == trial.backwards.tolist() == [2, 2, 2]


def test_counts_only_what_the_attack_asked() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        active = torch.tensor([0, 2])
        model.take(active)(x[active])
        return x + 8 * LEVEL

    trial = run(attack)
    assert trial.forwards.tolist() == [1, 0, 1]
    assert not trial.backwards.any()
    assert trial.seconds >= 0


def test_coarse_passes_are_the_attacks_alone() -> None:
    seen = []

    class Watching(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(x)

    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        model(x)
        model.precise()(x)
        return x + 8 * LEVEL

    trial = run(attack, model=wrap_model(Watching().eval(), "attributes"), compute="bfloat16")
    assert seen == [False, True, False, False]  # clean, coarse, precise, judged
    assert trial.verdict.outputs.dtype == torch.float32
    assert trial.verdict.outputs[0].item() == pytest.approx(128 * LEVEL - 0.5, abs=1e-6)


def test_images_off_the_grid_are_rounded_first() -> None:
    trial = run(honest, images=greys() + 0.4 * LEVEL)
    torch.testing.assert_close(trial.x, greys(), atol=0, rtol=0)
    assert trial.verdict.success.all()
    assert torch.equal(
        run(idle, images=greys() + 0.4 * LEVEL, threat=Minimal(levels=None)).x, greys() + 0.4 * LEVEL
    )


def test_transfer_shows_the_surrogate_and_judges_the_victim() -> None:
    class Darker(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    def climb(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        _, slope = model.gradient(x, objective.margin)
        return threat.project(x + slope.sign(), x)

    darker = wrap_model(Darker().eval(), "attributes")
    # Both call grey images by opposite names, and both change their mind when they get lighter.
    assert run(climb, surrogate=darker).verdict.success.all()
    with pytest.raises(ContractError, match="weights or buffers"):
        run(after(write(lambda module: module.last.bias, 1)), surrogate=darker)


def test_misclassified_images_are_cases_too() -> None:
    goal = FlipAttribute(torch.zeros(3, dtype=torch.long), torch.tensor([True, False, True]))
    trial = run(honest, goal=goal)
    assert trial.objective.correct.tolist() == [False, True, False]
    assert trial.verdict.success.all()  # two natural adversarials among them


def test_clean_answer_that_is_not_finite_is_an_error() -> None:
    class Broken(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            outputs = super().forward(x)
            return torch.where(x.flatten(1).mean(1, keepdim=True) < 0.45, torch.nan, outputs)

    def lighten(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        return x + 40 * LEVEL

    images = torch.cat([greys(1), greys(1, 100), greys(1)])
    trial = run(lighten, model=wrap_model(Broken().eval(), "attributes"), images=images, threat=Minimal())
    assert trial.verdict.success.tolist() == [True, False, True]
    assert trial.verdict.reached.tolist() == [True, False, True]
    assert trial.verdict.errors == ("", "the model's clean output is not finite", "")


@pytest.mark.parametrize("shape", [(5, 6), (2, 1, 6, 6), (1, 1, 6, 6), (3, 1, 6, 5), (3, 2, 6, 6)])
def test_mask_that_fits_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AttackError, match=r"does not fit images of shape \(3, 3, 6, 6\)"):
        run(honest, threat=Region(torch.ones(shape)))


# --- randomness -------------------------------------------------------------------------------------------


def careless(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
    """An attack that draws from every global generator, as third parties' do."""
    noise = torch.rand(x.shape) + torch.from_numpy(np.random.rand(*x.shape)).float() + random.random()  # noqa: NPY002
    return threat.project(x + 0.1 * noise, x)


def draws() -> tuple[float, float, float]:
    return torch.rand(1).item(), float(np.random.rand()), random.random()  # noqa: NPY002


def seed_globally(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


@pytest.mark.parametrize("fail", [False, True])
def test_global_generators_go_on_as_if_nothing_had_happened(fail: bool) -> None:
    def attack(*given: Any, rng: Any) -> Tensor:
        images = careless(*given, rng=rng)
        if fail:
            raise KeyError
        return images

    seed_globally(7)
    expected = draws()
    model = brighter()
    seed_globally(7)
    try:
        run(attack, model=model)
    except KeyError:
        assert fail
    assert draws() == expected


def test_attack_that_uses_global_generators_repeats() -> None:
    threat = Linf(0.1)
    seed_globally(1)
    first = run(careless, threat=threat).verdict.adversarials
    seed_globally(2)
    assert torch.equal(run(careless, threat=threat).verdict.adversarials, first)
    assert not torch.equal(run(careless, threat=threat, seed=1).verdict.adversarials, first)


def test_random_numbers_of_a_case_do_not_depend_on_its_batch() -> None:
    def attack(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        return threat.project(x + rng.uniform(x.shape[1:], -0.1, 0.1), x)

    together = run(attack, threat=Linf(0.1), keys=["a", "b", "c"]).verdict.adversarials
    alone = run(attack, threat=Linf(0.1), images=greys(1), keys=["b"]).verdict.adversarials
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


# --- the checksum -----------------------------------------------------------------------------------------


def changed(module: nn.Module, change: Callable[[list[Tensor]], None]) -> bool:
    before = fingerprint(module)
    with torch.no_grad():
        change([*module.parameters(), *module.buffers()])
    return fingerprint(module) != before


@pytest.mark.parametrize("shape", [(1,), (3,), (7, 5), (50, 411), (64, 4096)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_checksum_notices_one_element(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    module = nn.Module()
    module.register_buffer(
        "values", (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    )
    assert not changed(module, lambda tensors: None)
    size = tensor_size = int(np.prod(shape))
    for position in {0, size // 2, tensor_size - 1}:

        def change(tensors: list[Tensor], position: int = position) -> None:
            flat = tensors[0].view(-1)
            flat[position] = ~flat[position] if dtype == torch.bool else flat[position] + 1

        assert changed(module, change)


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (0, 2), (0, 8192), (3, 8195), (5, 4096 * 2 + 1), (4096, 2), (16383, 0)]
)
def test_checksum_notices_elements_that_change_places(one: int, other: int) -> None:
    module = nn.Module()
    module.register_buffer("values", torch.randn(20_001, generator=torch.Generator().manual_seed(0)))

    def swap(tensors: list[Tensor]) -> None:
        tensors[0][[one, other]] = tensors[0][[other, one]]

    assert changed(module, swap)


def test_checksum_notices_what_moves_from_one_tensor_to_another() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    def swap(tensors: list[Tensor]) -> None:
        first = tensors[0].clone()
        tensors[0].copy_(tensors[2])
        tensors[2].copy_(first)

    assert changed(module, swap)


def test_checksum_reads_any_module() -> None:
    shared = torch.zeros(9, dtype=torch.bfloat16)
    module = nn.Module()
    module.register_buffer("unaligned", shared[1:])
    module.register_buffer("strided", torch.zeros(4, 6).T[::2])
    module.register_buffer("empty", torch.zeros(0))
    module.register_buffer("meta", torch.zeros(3, device="meta"))
    module.register_buffer("scalar", torch.tensor(0))
    assert fingerprint(module) == fingerprint(module)
    assert changed(module, lambda tensors: tensors[0][7].fill_(1))
    assert changed(module, lambda tensors: tensors[1][2, 3].fill_(1))
    assert fingerprint(nn.Identity()) == 0


# --- the Python interface ---------------------------------------------------------------------------------


def flip(count: int = 3) -> FlipAttribute:
    return FlipAttribute(torch.zeros(count, dtype=torch.long))


def lighten(
    model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any, levels: int = 8, gamma: float = 1.0
) -> Tensor:
    model(x)
    return x + levels * LEVEL * gamma


def test_attack_with_a_function() -> None:
    outcome = harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET)
    assert outcome.success.all()
    assert outcome.adversarials.shape == greys().shape
    assert list(outcome.distances.columns) == ["linf", "l2", "l0"]
    assert outcome.distances.linf.tolist() == pytest.approx([8 * LEVEL] * 3)
    assert outcome.distances.l0.tolist() == [36] * 3
    assert (outcome.forwards.tolist(), outcome.backwards.tolist()) == ([1, 1, 1], [0, 0, 0])
    over = harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET, levels=9)
    assert over.reached.all()
    assert not over.valid.any()
    assert not over.success.any()
    assert over.faults == ("over the budget",) * 3


def test_attack_checks_parameters() -> None:
    half = harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET, levels=16, gamma="1/2")
    assert half.success.all()
    with pytest.raises(AttackError, match=r'attack lighten: "levls" is unknown; did you mean "levels"\?'):
        harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET, levls=9)
    with pytest.raises(AttackError, match="must be int"):
        harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET, levels=True)
    with pytest.raises(AttackError, match='"rng" is unknown'):
        harness.attack(lighten, brighter(), greys(), goal=flip(), threat=BUDGET, rng=None)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (greys()[0], "expected float"),
        (torch.full((3, *SHAPE), 120, dtype=torch.uint8), "expected float"),
        (greys() * 255, r"images have values outside \[0, 1\]"),
        (greys() - 1, r"images have values outside \[0, 1\]"),
        (greys() * float("nan"), "not finite"),
    ],
)
def test_attack_refuses_what_are_no_images(images: Tensor, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        harness.attack(lighten, brighter(), images, goal=flip(), threat=BUDGET)


def test_attack_needs_a_wrapped_model() -> None:
    with pytest.raises(AttackError, match=r"not Brighter; wrap it with harness.wrap_model"):
        harness.attack(lighten, Brighter(), greys(), goal=flip(), threat=BUDGET)  # type: ignore[arg-type]


def test_attack_by_name_checks_what_the_attack_can() -> None:
    pgd = {"goal": flip(), "threat": BUDGET}
    assert harness.attack("pgd", brighter(), greys(), **pgd, steps=3).success.all()
    with pytest.raises(CatalogError, match='did you mean "pgd"'):
        harness.attack("pdg", brighter(), greys(), **pgd)
    with pytest.raises(AttackError, match="needs gradients, but may see only scores"):
        harness.attack("pgd", brighter(), greys(), goal=flip(), threat=Linf(0.1, access="scores"))
    shy = wrap_model(Brighter().eval(), "attributes", access="decisions")
    with pytest.raises(AttackError, match="may see only decisions"):
        harness.attack("pgd", shy, greys(), **pgd)
    with pytest.raises(AttackError, match="needs a budget"):
        harness.attack("pgd", brighter(), greys(), goal=flip(), threat=Minimal("l2"))


def test_goal_of_another_head_is_refused() -> None:
    with pytest.raises(AttackError, match='needs a model with head "classes"'):
        harness.attack(lighten, brighter(), greys(), goal=Untargeted(torch.tensor([0, 0, 0])), threat=BUDGET)


def test_attack_repeats_and_seeds_differ() -> None:
    def noisy(model: Any, x: Tensor, objective: Any, threat: Any, *, rng: Any) -> Tensor:
        return threat.project(x + rng.normal(x.shape[1:]), x)

    def adversarials(seed: int) -> Tensor:
        return harness.attack(noisy, brighter(), greys(), goal=flip(), threat=L2(1), seed=seed).adversarials

    assert torch.equal(adversarials(0), adversarials(0))
    assert not torch.equal(adversarials(0), adversarials(1))


def test_derived_seeds() -> None:
    assert derived_seed(0, "a") == derived_seed(0, "a")
    assert len({derived_seed(*parts) for parts in ((0, "a"), (1, "a"), (0, "b"), ("0a",), (0, "a", ""))}) == 5
    assert 0 <= derived_seed("x") < 2**63


def test_images_go_to_the_attack_in_batches() -> None:
    seen: list[int] = []

    def watching(model: Any, x: Tensor, objective: Any, threat: Threat, *, rng: Any) -> Tensor:
        seen.append(len(x))
        noise = rng.uniform(x.shape[1:], -8 * LEVEL, 8 * LEVEL)
        return threat.project(x + noise, x)

    x = greys(7)
    model = brighter()
    goal = FlipAttribute(torch.zeros(7, dtype=torch.long), torch.arange(7) % 2 == 0)
    mask = (torch.arange(7) % 3 == 0).view(7, 1, 1, 1).expand(7, 1, 6, 6)
    for threat in (BUDGET, Region(mask, norm="linf", eps=8 * LEVEL), Region(mask[0, 0])):
        threat = threat if threat.eps else replace(threat, norm="linf", eps=8 * LEVEL)
        whole = harness.attack(watching, model, x, goal=goal, threat=threat)
        parts = harness.attack(watching, model, x, goal=goal, threat=threat, batch_size=3)
        assert torch.equal(whole.adversarials, parts.adversarials)
        assert torch.equal(whole.success, parts.success)
        assert whole.distances.equals(parts.distances)
        assert torch.equal(whole.forwards, parts.forwards)
        assert len(parts.errors) == len(parts.faults) == 7
    assert seen == [7, 3, 3, 1] * 3


def test_every_goal_is_cut_with_its_images() -> None:
    from harness.goals import Evade, Impersonate, Targeted

    rows = slice(1, 3)
    assert FlipAttribute(torch.arange(4), torch.arange(4)).part(rows).indices.tolist() == [1, 2]
    assert FlipAttribute(torch.tensor(3)).part(rows).indices.item() == 3
    assert Untargeted(torch.arange(4)).part(rows).labels.tolist() == [1, 2]
    targeted = Targeted(torch.arange(4), torch.arange(4) + 1).part(rows)
    assert (targeted.classes.tolist(), targeted.labels.tolist()) == ([1, 2], [2, 3])  # type: ignore[union-attr]
    anchors = torch.arange(8.0).view(4, 2)
    for goal in (Impersonate(anchors, 1.0), Evade(anchors, 1.0)):
        assert goal.part(rows).anchors.tolist() == [[2, 3], [4, 5]]
        assert replace(goal, anchors=anchors[:1]).part(rows).anchors.tolist() == [[0, 1]]


def test_no_images_and_no_batch() -> None:
    outcome = harness.attack("ffa", brighter(), greys(0), goal=FlipAttribute(torch.tensor(0)), threat=BUDGET)
    assert len(outcome.success) == len(outcome.distances) == 0
    with pytest.raises(AttackError, match="batch_size = 0 must be at least 1"):
        harness.attack(
            "ffa", brighter(), greys(), goal=FlipAttribute(torch.tensor(0)), threat=BUDGET, batch_size=0
        )


def test_a_surrogate_is_attacked_and_the_model_judged() -> None:
    class Darker(Brighter):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.02  # flips some levels earlier

    surrogate, victim = wrap_model(Darker().eval(), "attributes"), brighter()
    x = greys(2, 118)
    goal = FlipAttribute(torch.tensor(0))
    own = harness.attack("ffa", surrogate, x, goal=goal, threat=Minimal("linf"))
    moved = harness.attack("ffa", victim, x, goal=goal, threat=Minimal("linf"), surrogate=surrogate)
    assert own.success.all()
    assert torch.equal(own.adversarials, moved.adversarials)
    assert not moved.success.any()
    assert moved.forwards.min() > 0


def test_cases_that_share_a_cost_keep_what_found_their_images() -> None:
    meter = Meter(4)
    meter.forwards += torch.tensor([1, 2, 3, 4])
    meter.found_by[[1, 3]] = torch.tensor([meter.number_of("first"), meter.number_of("second")])
    shared = meter.shared(torch.tensor([3, 0]))
    assert shared.names_of_finders() == ["second", None]
    assert shared.forwards.tolist() == [4 + 3, 1 + 3], "the passes of the others in equal parts, rounded up"
