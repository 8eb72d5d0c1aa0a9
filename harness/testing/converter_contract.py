"""The contract of converters asks that another library sees the model that was given, and no more of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.catalog import Entry, catalog
from harness.errors import HarnessError, ModelError
from harness.judge.guard import fingerprint
from harness.model import Model
from harness.parameters import check
from harness.specs import Access, ConverterSpec
from harness.testing.contract import (
    Case,
    Check,
    ContractFailure,
    EntrySubject,
    Inapplicable,
    cases,
    one_line,
    require,
)
from harness.testing.problems.linear import linear_classes, linear_scores
from harness.testing.problems.problem import Problem

SHAPE = (3, 16, 16)
TOLERANCE = 1e-4
"""The largest difference from the model's logits, or from their probabilities."""


class ConverterSubject(EntrySubject[ConverterSpec]):
    """A ConverterSubject is a converter with its parameters."""

    @property
    def variants(self) -> Sequence[str]:
        """Return the heads whose models need no further argument: of one attribute, and of classes."""
        return ("attributes", "classes")

    def problem(self, head: str) -> Problem:
        """Return a model, and images on both sides of its boundaries."""
        if head == "attributes":
            found = linear_scores(SHAPE, attributes=1)
            return replace(found, model=replace(found.model, names=("first",)))
        return linear_classes(SHAPE)

    def answers(self, model: Model, x: Tensor) -> Tensor:
        """Return what the converted model answers on images (B, C, H, W).

        Raises:
            Inapplicable: it is not for such a model, or it is not known how to ask what it returns.
            ContractFailure: the converter or its model raised another exception.
        """
        try:
            made = self.entry.call(self.entry.spec.run, model, values=self.parameters)
            if callable(getattr(made, "predict", None)):
                found = made.predict(x.numpy().copy())
            elif callable(made):
                found = made(x.clone())
            else:
                raise Inapplicable(f"{type(made).__name__} has no predict, and cannot be called")
        except Inapplicable:
            raise
        except HarnessError as reason:
            raise Inapplicable(str(reason)) from reason
        except Exception as error:
            raise ContractFailure(
                f"it raised {one_line(error)}; raise a ModelError for models that it is not for"
            ) from error
        if isinstance(found, Tensor):
            return found.detach().cpu().float()
        try:
            return torch.from_numpy(np.asarray(found, np.float32))
        except (TypeError, ValueError) as error:
            raise ContractFailure(f"it answers with {type(found).__name__}; answer with numbers") from error


def answers(subject: ConverterSubject, head: str) -> None:
    """The converted model makes the same decisions, and keeps the values of logits or their probabilities."""
    problem = subject.problem(head)
    x, logits = problem.x, problem.model.scores(problem.x)
    found = subject.answers(problem.model, x)
    if head == "attributes":
        logits = torch.cat([-logits, logits], 1) / 2  # absent, present
    require(
        found.shape == logits.shape,
        f"it answers {tuple(found.shape)} for {len(x)} images; answer {tuple(logits.shape)}, one number per "
        "class" + (" (absent, present)" if head == "attributes" else ""),
    )
    wrong = int((found.argmax(1) != logits.argmax(1)).sum())
    require(
        not wrong, f"it decides otherwise than the model on {wrong} of {len(x)} images; keep logits and order"
    )
    # Logits of the same probabilities differ by a constant per image.
    forms = (logits.log_softmax(1), logits.softmax(1))
    apart = min(float((found.log_softmax(1) - forms[0]).abs().max()), float((found - forms[1]).abs().max()))
    require(
        apart <= TOLERANCE,
        f"its answers differ by {apart:.3g} from the model's logits, and from their probabilities; pass them "
        "on as float32, without rounding or clipping",
    )


def access(subject: ConverterSubject, head: str) -> None:
    """A model that shows decisions only shows no more through the converter."""
    problem = subject.problem(head)
    hidden: Access = "decisions"
    found = subject.answers(replace(problem.model, access=hidden), problem.x)
    levels = len(set(found.round(decimals=4).flatten().tolist()))
    require(
        levels <= 2,
        f'a model with access = "decisions" answers with {levels} different numbers; answer '
        "with a one-hot row, or refuse with a ModelError",
    )


def inputs(subject: ConverterSubject, head: str) -> None:
    """Neither the module nor the images change, and a second call answers the same."""
    problem = subject.problem(head)
    model, x = problem.model, problem.x.clone()
    module = model.module
    module.train()
    before, code = fingerprint(module), _code(module)
    flags = [parameter.requires_grad for parameter in module.parameters()]
    first, again = subject.answers(model, x), subject.answers(model, x)
    require(torch.equal(x, problem.x), "it changes the images in place; work on a copy")
    require(
        fingerprint(module) == before and _code(module) == code,
        "it changes the model's weights or code; work on a copy",
    )
    require(
        module.training and flags == [parameter.requires_grad for parameter in module.parameters()],
        "it leaves the module in another mode, or with other requires_grad; restore them after each call",
    )
    require(torch.equal(first, again), "a second call with the same images answers otherwise")


CONVERTER_CHECKS = (
    Check(answers),
    Check(access, after=("answers",)),
    Check(inputs, after=("answers",)),
)


def converter_checks(
    converter: str | Entry[ConverterSpec],
    *,
    params: Mapping[str, Any] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Case]:
    """Return the checks of a converter as functions without arguments; see ``attack_checks``."""
    entry = catalog().converters[converter] if isinstance(converter, str) else converter
    resolved = check(f"converter {entry.spec.name}", params or {}, entry.parameters(), ModelError)
    return cases(ConverterSubject(entry, deepcopy(resolved)), CONVERTER_CHECKS, only, skip)


def _code(module: nn.Module) -> list[tuple[object, ...]]:
    """Return a module's parts, with their hooks and their own forwards."""
    return [
        (name, id(part), id(part.__dict__.get("forward")), *part._forward_hooks, *part._forward_pre_hooks)
        for name, part in module.named_modules()
    ]
