"""This check asks whether another convention of images would suit a model of embeddings better."""

from __future__ import annotations

from harness.model import wrap_model
from harness.testing.contract import Inapplicable, require
from harness.testing.models.subject import ModelSubject
from harness.training import Task
from harness.zoo.conventions import compared_rows, convention_of


def conventions(subject: ModelSubject, head: str) -> None:
    """No other order of channels, range of pixels or flip tells persons apart clearly better."""
    if head != "embedding":
        raise Inapplicable("it has no embedding")
    data = subject.known
    rows = None if data is None else compared_rows(data)
    if data is None or rows is None:
        raise Inapplicable("it needs images of at least 5 persons: --data DATASET, or an example in its spec")
    if not subject.loads(Task.of(data)):
        raise Inapplicable("it has no weights yet, or is trained on images as they are")
    found = convention_of(wrap_model(subject.build(Task.of(data)), "embedding"), data, rows)
    require(found is None, found.line if found else "")
