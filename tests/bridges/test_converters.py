"""A model in the other libraries: the same answers, and their own attacks on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks import evasion
from torch import nn

import harness
from harness.errors import ContractError, ModelError
from harness.goals import Evade, FlipAttribute, Impersonate, Untargeted
from harness.threat import Linf, Minimal

from .conftest import CLASSES, images, model_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
ROOT = Path(__file__).parents[2]


def converted(head: str) -> tuple[Any, Any, Any, Any]:
    """A model, its estimator of ART, its decisions as ART numbers them, and a goal against them."""
    model, x = model_of(head), images()
    scores = model.scores(x)
    if head == "classes":
        decided = scores.argmax(1)
        return model, harness.to_art(model), decided, Untargeted(decided)
    if head == "attributes":
        return (
            model,
            harness.to_art(model, attribute=1),
            (scores[:, 1] > 0).long(),
            FlipAttribute(torch.tensor(1)),
        )
    anchor = scores[0] + 0.2
    accepted = (torch.linalg.vector_norm(scores - anchor, dim=1) < 1).long()
    return model, harness.to_art(model, anchor=anchor), accepted, Evade(anchor[None])


HEADS = ["classes", "attributes", "embedding"]


@pytest.mark.parametrize("head", HEADS)
def test_predictions_are_the_models(head: str) -> None:
    model, estimator, decided, _ = converted(head)
    answers = estimator.predict(images().numpy())
    assert answers.argmax(1).tolist() == decided.tolist()
    assert estimator.nb_classes == (CLASSES if head == "classes" else 2)
    assert estimator.input_shape == (3, 8, 8)
    if head == "classes":
        assert np.array_equal(answers, model.scores(images()).numpy())
    if head == "attributes":
        assert np.allclose(answers[:, 1] - answers[:, 0], model.scores(images())[:, 1].numpy())


@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_the_models(head: str) -> None:
    """Of the cross-entropy, against autograd on the bare module."""
    model, estimator, _, _ = converted(head)
    x = images().requires_grad_()
    outputs = model.module(x)
    if head == "classes":
        logits = outputs
    elif head == "attributes":
        logits = torch.stack([-outputs[:, 1], outputs[:, 1]], 1) / 2
    else:
        anchor = model.scores(images())[0] + 0.2
        nearer = 1 - ((outputs - anchor).square().sum(1) + 1e-12).sqrt()
        logits = torch.stack([-nearer, nearer], 1) / 2
    labels = torch.tensor([0, 1, 1, 0])
    nn.functional.cross_entropy(logits, labels).backward()
    for parameter in model.module.parameters():
        parameter.grad = None
    found = estimator.loss_gradient(images().numpy(), np.eye(estimator.nb_classes, dtype=np.float32)[labels])
    assert x.grad is not None
    assert np.allclose(found, x.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.module.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_the_toolboxs_own_attacks_run_on_it(head: str) -> None:
    """And what they find is judged as a success by the harness, too."""
    model, estimator, decided, goal = converted(head)
    x = images()
    rows = torch.arange(1) if head == "embedding" else torch.arange(len(x))  # the anchor's own image
    for attack, threat in (
        (
            evasion.ProjectedGradientDescent(estimator, eps=0.2, eps_step=0.05, max_iter=10, verbose=False),
            Linf(0.2),
        ),
        (
            evasion.HopSkipJump(estimator, max_iter=3, max_eval=100, init_eval=20, verbose=False),
            Minimal("l2", levels=None),
        ),
    ):
        found = attack.generate(x[rows].numpy())
        there = estimator.predict(found).argmax(1) != decided[rows].numpy()
        assert there.any() or isinstance(attack, evasion.HopSkipJump)
        outcome = harness.attack(
            lambda model, x, objective, threat, *, rng, found=found: torch.tensor(found),
            model,
            x[rows],
            goal=goal,
            threat=harness.threats.Threat(threat.norm, threat.eps, levels=None),
        )
        assert outcome.success.tolist() == there.tolist()


def test_a_model_shows_the_toolbox_no_more_than_its_access() -> None:
    module = model_of("classes").module
    x = images().numpy()
    closed = harness.to_art(harness.wrap_model(module, "classes", access="decisions"))
    assert set(np.unique(closed.predict(x))) == {0.0, 1.0}
    with pytest.raises(ContractError, match="gradients, but may see only decisions"):
        closed.loss_gradient(x, np.eye(CLASSES, dtype=np.float32))
    shown = harness.to_art(harness.wrap_model(module, "classes", access="scores"))
    with pytest.raises(ContractError, match="gradients, but may see only scores"):
        shown.class_gradient(x)
    verifier = harness.wrap_model(
        model_of("embedding").module, "embedding", threshold=1.0, access="decisions"
    )
    accepted = harness.to_art(verifier, anchor=verifier.scores(images())[0]).predict(x)
    assert accepted[0].tolist() == [0.0, 1.0]


def test_what_is_missing_is_said() -> None:
    attributes, embedding = model_of("attributes"), model_of("embedding")
    named = harness.wrap_model(attributes.module, "attributes", names=["Bald", "Smiling", "Young"])
    assert harness.to_art(named, attribute="Smiling").predict(images().numpy()).shape == (4, 2)
    single = harness.wrap_model(nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), "attributes", names=["Bald"])
    assert harness.to_art(single).predict(images().numpy()).shape == (4, 2)
    flexible = harness.wrap_model(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), "classes"
    )
    for complaint, call in {
        "the model has several attributes": lambda: harness.to_art(attributes),
        'did you mean "Smiling"': lambda: harness.to_art(named, attribute="Smilling"),
        "attribute 3 is outside the model's 3": lambda: harness.to_art(named, attribute=3),
        "give anchor=": lambda: harness.to_art(embedding),
        "the anchor has shape": lambda: harness.to_art(embedding, anchor=torch.zeros(2, 5)),
        "no calibrated threshold": lambda: harness.to_art(
            harness.wrap_model(embedding.module, "embedding"), anchor=torch.zeros(5)
        ),
        '"anchor" is for models with head "embedding"': lambda: harness.to_art(named, anchor=torch.zeros(5)),
        "wrap it with harness.wrap_model": lambda: harness.to_art(attributes.module),
        "input_shape": lambda: harness.to_art(model_of("classes"), input_shape=(3, 8)),
        "the size of the images is not known before": lambda: harness.to_art(flexible).input_shape,
        "the number of classes is not known before": lambda: harness.to_art(flexible).nb_classes,
    }.items():
        with pytest.raises(ModelError, match=re.escape(complaint)):
            call()
    assert harness.to_art(flexible, input_shape=(3, 8, 8)).nb_classes == 3
    seen = harness.to_art(flexible)
    seen.predict(images().numpy())
    assert (seen.input_shape, seen.nb_classes) == ((3, 8, 8), 3)
    rigid = harness.to_art(model_of("classes"))  # its last layer fits one size
    assert (rigid.input_shape, rigid.nb_classes) == ((3, 8, 8), CLASSES)


@pytest.mark.parametrize("head", HEADS)
def test_foolbox_sees_the_same(head: str, foolbox: Any) -> None:
    model, estimator, decided, _ = converted(head)
    options: dict[str, Any] = {}
    if head == "attributes":
        options = {"attribute": 1}
    if head == "embedding":
        options = {"anchor": model.scores(images())[0] + 0.2}
    peer = harness.to_foolbox(model, **options)
    assert np.allclose(peer(images()).numpy(), estimator.predict(images().numpy()))
    attack = foolbox.attacks.LinfPGD(steps=10)
    found, _, success = attack(peer, images(), decided, epsilons=0.2)
    assert (peer(found).argmax(1) != decided).tolist() == success.tolist()
    assert success.any()


def test_impersonation_is_what_acceptance_means() -> None:
    """An image that ART drives to "accepted" reaches the harness's goal of the same anchor."""
    model, x = model_of("embedding"), images()
    anchor = model.scores(x[1:2])
    estimator = harness.to_art(model, anchor=anchor)
    attack = evasion.ProjectedGradientDescent(
        estimator, eps=0.8, eps_step=0.02, max_iter=100, targeted=True, verbose=False
    )
    found = torch.tensor(attack.generate(x[:1].numpy(), y=np.array([[0.0, 1.0]], np.float32)))
    objective = Impersonate(anchor).objective(model, model.scores(x[:1]))
    assert not objective.reached(model.scores(x[:1])).any()
    assert objective.reached(model.scores(found)).all()


def test_the_documents_python_runs() -> None:
    text = (ROOT / "docs/bridges.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["adversarials"].shape == (4, 3, 16, 16)
