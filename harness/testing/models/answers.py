"""These checks look for answers that say nothing of a model's robustness, or are not those of the task."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from harness.judge.examination import signs_among
from harness.leaderboard.flags import FLAGS
from harness.model import wrap_model
from harness.testing.contract import Inapplicable, require
from harness.testing.models.outputs import SAME, own_outputs
from harness.testing.models.subject import ModelSubject
from harness.testing.problems.problem import generator
from harness.training import Task

EXAMINED = 64
"""So many images of the example are asked."""
SEEDS = 8
"""So many builds must agree before a property of an untrained model is taken for one of its code."""
LOUD = 100.0
"""The size of pixels with which outputs that are not bounded leave [0, 1]."""
BLIND = 0.015
"""The least change, relative to the largest number, that black and white images must make."""
ALMOST_ONE = 1e-3
"""How far a row of probabilities may be from the sum 1."""
SHAPING = ("View", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Select", "Index", "Clone", "ToCopy", "Cat")
"""What the names of operations that only arrange numbers, in a graph of torch, begin with."""
BOUNDED = ("Sigmoid", "Softmax")


def names(subject: ModelSubject, head: str) -> None:
    """The module has one output per attribute or class of the task, or names of its own for its outputs."""
    if head == "embedding":
        raise Inapplicable("the outputs of an embedding have no names")
    kind = "attribute_names" if head == "attributes" else "class_names"
    expected = getattr(subject.task, kind)
    width = own_outputs(subject, subject.images(1)).shape[1]
    given = getattr(subject.module(), kind, None)
    if given is None:
        require(
            width == len(expected),
            f"{width} outputs, but the task has {len(expected)} {head}; build one output for each of "
            f"task.{kind}, or give the module {kind} that say which they are",
        )
        return
    require(len(given) == width, f"{len(given)} {kind} for {width} outputs; name each output once")
    require(len(set(given)) == width, f"{kind} are {list(given)}; name each output once")
    if head == "attributes":
        wrong = set(given) - set(expected)
        require(not wrong, f"{kind} are {list(given)}; name each attribute of the task once")
    else:
        missing = set(expected) - set(given)
        require(not missing, f"{kind} lack {sorted(missing)}; name every class of the task")


def scores(subject: ModelSubject, head: str) -> None:
    """Outputs are scores or logits without bounds, whose decisions can change, and no probabilities."""
    if head == "embedding":
        raise Inapplicable("an embedding has no scores")
    if subject.constant:
        raise Inapplicable('it declares the trait "constant"')
    remedy = "return what goes into the sigmoid" if head == "attributes" else "return logits"
    last = last_operation(subject)
    require(
        last not in BOUNDED, f"its outputs are those of a {last.lower()}, so that {_effect(head)}; {remedy}"
    )
    found = own_outputs(subject, probes(subject))
    inside = bool(((found >= 0) & (found <= 1)).all())
    if head == "classes":
        sums = (found.sum(1) - 1).abs().amax() < ALMOST_ONE
        require(
            not (inside and sums),
            f"its outputs lie in [0, 1] and sum to 1: {_effect(head)}; return logits, or the logarithms of "
            "the probabilities",
        )
        return
    present = bool((found > 0).all())
    if not inside and not present and not (found <= 0).all():
        return
    others = list(_others(subject))
    require(
        not inside or not all(bool(((each >= 0) & (each <= 1)).all()) for each in others),
        f"its outputs lie in [0, 1] whatever the image: {_effect(head)}; {remedy}",
    )
    require(
        len(others) <= 1 or any(bool((each > 0).all()) != present or _mixed(each) for each in others),
        f"its outputs are all {'positive' if present else 'negative'}, whatever the image and the weights: "
        f"an attribute is present where its score is > 0, so that no decision can change; {remedy}",
    )


def pixel_scale(subject: ModelSubject, head: str) -> None:
    """Images in [0, 1] move the outputs: the module scales and normalises pixels itself, and not from 255."""
    if subject.constant:
        raise Inapplicable('it declares the trait "constant"')
    seen = first_inputs(subject)
    if seen is not None:
        low, high = float(seen.min()), float(seen.max())
        spread = float((seen.amax(0) - seen.amin(0)).max())
        require(
            max(-low, high) >= BLIND and spread >= BLIND * max(-low, high),
            f"black and white images reach its first layer as numbers from {low:.4g} to {high:.4g}, almost "
            "the same: it expects pixels from 0 to 255; multiply by 255 first, or scale from [0, 1]",
        )
    module, x = subject.module(), probes(subject)
    moved = movement(own_outputs(subject, x))
    if moved > SAME:
        if subject.loaded and moved < BLIND:
            bright = movement(own_outputs(subject, 255 * x))
            require(
                bright < 10 * moved,
                f"its outputs differ by {100 * moved:.2g} % on images in [0, 1], but by {100 * bright:.2g} % "
                "on those from 0 to 255; multiply by 255 first",
            )
        return
    if subject.spec.train:
        raise Inapplicable("its outputs are constant before it is trained")
    shaken = deepcopy(module)
    with torch.no_grad():
        for parameter in shaken.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(3)).to(parameter))
    require(
        movement(own_outputs(subject, x, shaken)) > SAME,
        "its outputs are the same for black, white and noisy images, so that no decision can change; compute "
        'them from the image, or declare the trait "constant" for a baseline',
    )


def truth(subject: ModelSubject, head: str) -> None:
    """With weights of its own, its decisions change and are right more often than by chance."""
    if head == "embedding":
        raise Inapplicable("an embedding alone decides nothing")
    if subject.constant:
        raise Inapplicable('it declares the trait "constant"')
    data = subject.known
    if data is None:
        raise Inapplicable("it needs images whose truth is known: --data DATASET, or an example in its spec")
    if not subject.loads(Task.of(data)):
        raise Inapplicable("it has no weights yet; a run examines its answers before it attacks them")
    rows = np.arange(min(len(data), EXAMINED))
    model = wrap_model(subject.build(Task.of(data)), head).in_order_of(data.class_names)  # type: ignore[arg-type]
    outputs = model.scores(torch.from_numpy(data.images(rows)).float() / 255)
    require(outputs.isfinite().all(), f"its outputs on {data.name} are not all finite")
    names = model.names or getattr(data, "attribute_names" if head == "attributes" else "class_names")
    for sign in sorted(signs_among(model, outputs, data, rows, names)):
        require(False, f"on {data.name}, {FLAGS[sign].sign}; {FLAGS[sign].remedy}")


def probes(subject: ModelSubject) -> Tensor:
    """Return images (B, C, H, W) that differ as much as images can: black, white, noise, and four fields."""
    channels, height, width = subject.task.shape
    plain = torch.stack([torch.zeros(subject.task.shape), torch.ones(subject.task.shape)])
    fields = torch.rand(4, channels, 2, 2, generator=generator(4))
    fields = nn.functional.interpolate(fields, size=(height, width))
    return torch.cat([plain, subject.images(2), torch.round(fields * 255) / 255])


def movement(outputs: Tensor) -> float:
    """Return the largest change of an output (B, M) between images, relative to the largest output."""
    spread = float((outputs.amax(0) - outputs.amin(0)).max())
    return spread / max(float(outputs.abs().max()), torch.finfo(torch.float32).tiny)


def last_operation(subject: ModelSubject) -> str:
    """Return the name of the operation that computes the outputs, such as "Sigmoid"; "" if unknown."""
    outputs = subject.outputs(subject.images(1).requires_grad_())
    node = outputs.grad_fn
    while node is not None:
        name = node.name().removesuffix("0").removesuffix("Backward").removeprefix("_")
        if not name.startswith(SHAPING):
            return name
        node = node.next_functions[0][0] if node.next_functions else None
    return ""


def first_inputs(subject: ModelSubject) -> Tensor | None:
    """Return what the first convolution or linear layer receives of different images; None without one."""
    seen: list[Tensor] = []
    x = probes(subject)

    def note(part: nn.Module, given: tuple[object, ...]) -> None:
        first = given[0] if given else None
        if seen or not isinstance(first, Tensor) or len(first) != len(x) or not first.is_floating_point():
            return
        if first.ndim > 1 and (first != first[:1]).any():  # what is the same for all is not made of the image
            seen.append(first.detach().clone())

    layers = [part for part in subject.module().modules() if isinstance(part, _LAYERS)]
    hooks = [part.register_forward_pre_hook(note) for part in layers]
    try:
        own_outputs(subject, x)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[0].float() if seen else None


_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def _others(subject: ModelSubject) -> Iterator[Tensor]:
    """Yield the outputs on loud images, and those of models built from other seeds, as far as they answer."""
    x = probes(subject)
    try:
        yield own_outputs(subject, LOUD * (x - 0.5))
    except Exception:  # a model may refuse them
        yield own_outputs(subject, x)
    if subject.loaded:
        return
    for seed in range(1, SEEDS):
        try:
            found = own_outputs(subject, x, subject.module(seed))
        except Exception:  # one that must be trained first
            return
        yield found


def _mixed(outputs: Tensor) -> bool:
    return bool((outputs > 0).any() and not (outputs > 0).all())


def _effect(head: str) -> str:
    if head == "attributes":
        return "every attribute is present, since its score is > 0, and no decision can change"
    return "the loss, which takes logits, has next to no gradient"
