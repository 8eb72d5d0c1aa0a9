"""Nothing mixes devices: attacks, judging and similarity run on a pretended one, with the CPU's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness_similarity.perceptual import perceptual_similarity
from harness_similarity.structural import structural_similarity
from tests.gpu.networks import Small, smalls
from tests.gpu.pretended_device import CPU, DEVICE, MixedDevicesError, pretended
from tests.gpu.same_attacks import Case, attacked, bridged_case, own_cases
from tests.gpu.same_similarity import pairs

BRIDGED = (
    "art/AutoAttack",
    "art/BoundaryAttack",
    "art/UniversalPerturbation",
    "foolbox/DDNAttack",
    "foolbox/L2DeepFoolAttack",
    "foolbox/BoundaryAttack",
    "foolbox/LinfPGD",
    "foolbox/SaltAndPepperNoiseAttack",
)
CASES = [*own_cases(4), *map(bridged_case, BRIDGED)]


@pytest.fixture(scope="module")
def networks() -> dict[str, Small]:
    torch.set_num_threads(1)
    return smalls(3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_an_attack_needs_one_device_only(
    networks: dict[str, Small], monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    here = attacked(case, networks[case.network], CPU)
    with pretended(monkeypatch):
        there = attacked(case, networks[case.network], DEVICE)
        assert there.adversarials.device == DEVICE
        images = there.adversarials.to(CPU)
    assert torch.equal(images, here.adversarials)
    assert there.errors == here.errors


def test_similarity_needs_one_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    x_adv, x = pairs(2, (44, 36))
    for measure in (perceptual_similarity, structural_similarity):
        here = measure(x_adv, x)
        with pretended(monkeypatch):
            there = measure(x_adv.to(DEVICE), x.to(DEVICE))
        np.testing.assert_array_equal(there, here)


def test_the_pretended_device_refuses_what_a_gpu_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    here = torch.arange(4)
    with pretended(monkeypatch):
        there = here.to(DEVICE)
        assert (there + 1 + torch.tensor(2))[[0, 3]].tolist() == [3, 6]
        assert there[torch.tensor([1])].tolist() == [1]
        for mixed in (
            lambda: there + here,
            lambda: here[there],
            lambda: torch.cat([here, there]),
            lambda: torch.where(there > 1, there, here),
            lambda: torch.rand(3, device=DEVICE, generator=torch.Generator()),
        ):
            with pytest.raises(MixedDevicesError):
                mixed()
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
