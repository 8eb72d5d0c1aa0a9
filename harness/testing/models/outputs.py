"""These checks cover the outputs of a model: their shape, and that only the image decides them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from harness.judge.guard import fingerprint, restored
from harness.model import put_to_eval, wrap_model
from harness.model.observation import observed
from harness.testing.contract import ContractFailure, Inapplicable, one_line, require
from harness.testing.models.subject import ModelSubject

TOLERANCE = 1e-4
"""The largest effect of the batch on an output, relative to the largest output or to 1."""
MANY = 36
"""The images of a large batch."""
FIXED = "normalise each image by itself, and with fixed statistics in eval mode"
SAME = 1e-6
"""The largest difference of outputs that should be equal, in the same units."""


def outputs(subject: ModelSubject, head: str) -> None:
    """The model returns finite floating-point outputs (B, …) for batches of one and of five images."""
    widths = set()
    for count in (1, 5):
        outputs = own_outputs(subject, subject.images(count))
        require(
            outputs.ndim == 2 and len(outputs) == count and outputs.is_floating_point(),
            f"{outputs.dtype} {tuple(outputs.shape)} for a batch of {count}; return floating-point numbers "
            f"({count}, outputs)",
        )
        widths.add(outputs.shape[1])
    require(
        len(widths) == 1,
        f"the number of outputs depends on the size of the batch: from {min(widths)} to {max(widths)}",
    )
    least = 2 if head == "classes" else 1
    require(
        min(widths) >= least,
        f"{min(widths)} output; the head {head} needs at least {least}: return a score for each",
    )
    plain = torch.stack([torch.zeros(subject.task.shape), torch.ones(subject.task.shape)])
    for x, name in ((subject.images(5), "noise"), (plain, "a black and a white image")):
        require(
            own_outputs(subject, x).isfinite().all(),
            f"outputs on {name} are not finite; look for a division by, or a logarithm of, zero",
        )


def repeatable(subject: ModelSubject, head: str) -> None:
    """Two calls with the same images return the same outputs."""
    x = subject.images(5)
    first = own_outputs(subject, x)
    again = own_outputs(subject, x)
    own_outputs(subject, varied(subject))
    apart = max(difference(again, first), difference(own_outputs(subject, x), first))
    require(
        apart <= SAME,
        f"the outputs of two calls with the same images differ by {apart:.3g}; use dropout and other random "
        "numbers in train mode only (skip this check for a defence that is random on purpose)",
    )


def batch_independence(subject: ModelSubject, head: str) -> None:
    """The outputs of an image do not depend on the rest of its batch."""
    x = varied(subject)
    together = own_outputs(subject, x)
    for size in (1, 4):
        try:
            apart = difference(
                torch.cat([own_outputs(subject, part) for part in torch.split(x, size)]), together
            )
        except ValueError as error:  # "Expected more than 1 value per channel"
            raise ContractFailure(f"a batch of {size} fails: {one_line(error)}; {FIXED}") from error
        require(
            apart <= TOLERANCE,
            f"outputs differ by {apart:.3g} in batches of {size} and of {len(x)}; {FIXED}",
        )
    turned = difference(own_outputs(subject, x.flip(0)).flip(0), together)
    require(
        turned <= TOLERANCE,
        f"outputs differ by {turned:.3g} if the images are in another order; compute each from its image",
    )
    many = x.repeat(MANY // len(x), 1, 1, 1)
    apart = difference(own_outputs(subject, many)[-len(x) :], together)
    require(
        apart <= TOLERANCE, f"outputs differ by {apart:.3g} in batches of {len(x)} and of {MANY}; {FIXED}"
    )


def inputs(subject: ModelSubject, head: str) -> None:
    """A call changes neither the images nor the modes, weights and buffers of the module.

    A run copies the images, and puts what is in train mode back into eval mode, so that such a module is
    sound there; the check then says what it has found and is skipped.
    """
    module, x = subject.module(), subject.images(5)
    with suppress(NotImplementedError):  # exported programs keep the mode that they have
        module.eval()
    stuck = _in_train_mode(module)
    put_to_eval(module)
    before = fingerprint(module)
    left: list[str] = []
    with restored(left):
        clean, again = (own_outputs(subject, images) for images in (x, x[:1]))
    require(not left, f"forward leaves behind another {', '.join(left)}; change it in a with statement")
    woken, written = _in_train_mode(module), fingerprint(module) != before
    require(
        not written or difference(again, clean[:1]) <= SAME,
        f"forward puts {woken} into train mode; leave modes to the caller"
        if woken
        else "forward changes weights or buffers in eval mode; do so only where self.training is true",
    )
    kept = x.clone()
    with torch.no_grad(), suppress(RuntimeError):  # of another precision than the module's
        module(x)
    put_to_eval(module)
    if not torch.equal(x, kept):
        raise Inapplicable(
            "forward changes its images in place, so that a run gives it copies; write x = x - mean instead "
            "of x.sub_(mean), or copy them first"
        )
    if written and not woken:
        raise Inapplicable(
            "forward changes weights or buffers in eval mode, without effect on its outputs; do so only "
            "where self.training is true"
        )
    if stuck:
        raise Inapplicable(
            f"{stuck} stays in train mode after eval(), and a run puts it into eval mode; call "
            "super().train(mode) in train"
        )
    if woken:
        raise Inapplicable(
            f"forward puts {woken} into train mode, and a run puts it back; leave modes to the caller"
        )


def select(subject: ModelSubject, head: str) -> None:
    """``select(x, columns)`` returns the scores that forward returns in these columns."""
    own = _own(subject, head, "select")
    x = subject.images(6)
    scores = own_outputs(subject, x)
    for rows in (slice(0, 6), slice(0, 1)):
        columns = (torch.arange(6) * 3 % scores.shape[1])[rows]
        with torch.no_grad():
            selected = own(x[rows], columns)
        require(
            selected.shape == columns.shape,
            f"select returned {tuple(selected.shape)} for {len(columns)} images; return ({len(columns)},)",
        )
        apart = difference(selected, scores[rows].gather(1, columns[:, None])[:, 0])
        require(
            apart <= TOLERANCE,
            f"select differs from forward by {apart:.3g}; return column columns[b] of what forward returns",
        )


def observe(subject: ModelSubject, head: str) -> None:
    """``observe(x, columns)`` returns a finite number per declared name, which no other case changes."""
    names = subject.spec.observes
    if not names:
        raise Inapplicable("its spec declares no observations")
    model, x = wrap_model(subject.module(), head), varied(subject)  # type: ignore[arg-type]
    columns = torch.full((len(x),), -1)
    if head == "attributes":
        columns = torch.arange(len(x)) * 3 % own_outputs(subject, x).shape[1]
    together = observed(model, names, x, columns)
    require(together.isfinite().all(), "what it observes of noise is not finite; return numbers")
    alone = torch.cat([observed(model, names, x[at : at + 1], columns[at : at + 1]) for at in range(len(x))])
    apart = difference(alone, together)
    require(apart <= TOLERANCE, f"observe differs by {apart:.3g} in batches of 1 and of {len(x)}; {FIXED}")


def logits(subject: ModelSubject, head: str) -> None:
    """The difference of ``logits(x, columns)``, present minus absent, is the score."""
    own = _own(subject, head, "logits")
    x = subject.images(6)
    scores = own_outputs(subject, x)
    columns = torch.arange(6) * 3 % scores.shape[1]
    with torch.no_grad():
        pairs = own(x, columns)
    require(pairs.shape == (6, 2), f"logits returned {tuple(pairs.shape)} for 6 images; return (6, 2)")
    apart = difference(pairs[:, 1] - pairs[:, 0], scores.gather(1, columns[:, None])[:, 0])
    require(
        apart <= TOLERANCE,
        f"present minus absent differs from the score by {apart:.3g}; return (absent, present)",
    )


def training_loss(subject: ModelSubject, head: str) -> None:
    """The training loss is one number per case, which no other case changes."""
    if head == "embedding":
        raise Inapplicable("attacks on embeddings use the distance instead")
    outputs = own_outputs(subject, subject.images(5))
    if head == "attributes":
        outputs = outputs[:, 0]
        labels = torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0])
    else:
        labels = torch.arange(5) % outputs.shape[1]
    loss = subject.model.training_loss
    found = loss(outputs, labels)
    require(
        found.shape == (5,) and found.isfinite().all(),
        f"training_loss returned the shape {tuple(found.shape)}, finite: {bool(found.isfinite().all())}; "
        "return one finite number per case, neither averaged nor summed",
    )
    alone = torch.cat([loss(outputs[row : row + 1], labels[row : row + 1]) for row in range(5)])
    require(
        difference(alone, found) <= TOLERANCE,
        "training_loss of a case depends on the rest of its batch; use no mean or sum over the batch",
    )


def _in_train_mode(module: nn.Module) -> str:
    """Return the name of the first part that is in train mode; "" where there is none."""
    parts = (name or "the module" for name, part in module.named_modules() if part.training)
    return next(parts, "")


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference of outputs, relative to the largest or to 1; infinite for NaN."""
    if not len(a):
        return 0.0
    apart = float((a - b).abs().max() / b.abs().max().clamp_min(1))
    return apart if apart == apart else float("inf")


def varied(subject: ModelSubject) -> Tensor:
    """Return noise (6, C, H, W) of different brightness and contrast, which statistics of a batch mix."""
    light = torch.tensor([0.2, 1.0, 0.5, 0.1, 0.7, 0.9]).view(-1, 1, 1, 1)
    shade = torch.tensor([0.0, 0.0, 0.4, 0.8, 0.1, 0.05]).view(-1, 1, 1, 1)
    return torch.round((light * subject.images(6) + shade).clamp(0, 1) * 255) / 255


def own_outputs(subject: ModelSubject, x: Tensor, module: nn.Module | None = None) -> Tensor:
    """Return the outputs without gradients."""
    with torch.no_grad():
        return subject.outputs(x, module)


def _own(subject: ModelSubject, head: str, name: str) -> Any:
    found = getattr(subject.module(), name, None)
    if head != "attributes" or not callable(found):
        raise Inapplicable(f"it has no {name}")
    return found
