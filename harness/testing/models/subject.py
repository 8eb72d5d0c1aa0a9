"""A ModelSubject is a model that the contract checks, built for the smallest task that it accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.catalog import Entry, catalog
from harness.dataset import Dataset
from harness.errors import ModelError
from harness.model import Model, exact, ordinary, plain, put_to_eval, torch_unchanged, wrap_model
from harness.parameters import check
from harness.plan.tables import preset_values
from harness.randomness import seed_torch
from harness.specs import ModelSpec
from harness.testing.contract import ContractFailure, entry_of, one_line
from harness.testing.problems.problem import generator
from harness.training import Context, Task
from harness.zoo.build import finished, freeze
from harness.zoo.weights import octets_of

EDGES = (16, 32, 48, 64, 96, 112, 128, 160, 224)
"""The heights and widths that are tried, the smallest first."""
ATTRIBUTES = ("first", "second", "third", "fourth")
CLASSES = ("one", "two", "three", "four", "five")


@dataclass(frozen=True, eq=False)
class ModelSubject:
    """A ModelSubject is a model with its parameters; it is trained, on noise, only if it fails untrained."""

    entry: Entry[ModelSpec]
    parameters: Mapping[str, Any]
    """The resolved parameters of ``build`` and of ``train``."""
    data: Dataset | None = None
    """Images of persons, on which the embeddings are compared."""

    @classmethod
    def of(
        cls,
        model: str | ModelSpec | Entry[ModelSpec],
        params: Mapping[str, Any] | None = None,
        *,
        preset: str | None = None,
        function: Callable[..., Any] | None = None,
        data: Dataset | None = None,
    ) -> ModelSubject:
        """Return a model of the catalogue by name, or one that a spec describes.

        Args:
            params: parameters as in a manifest; the others have the values of the preset, or defaults.
            preset: the name of a preset; the first one by default.
            function: the function that builds it, if the spec's ``build`` cannot be imported.
            data: images of persons, on which the embeddings are compared; by default the spec's example.

        Raises:
            HarnessError: the model, the preset or a parameter is unknown or wrong.
        """
        entry = entry_of(model, catalog().models, "build", function)
        place = f"model {entry.spec.name}"
        values = {**preset_values(place, entry.spec.presets, preset), **(params or {})}
        return cls(entry, check(place, values, entry.parameters(), ModelError), data)

    @property
    def spec(self) -> ModelSpec:
        """Return the spec of the model."""
        return self.entry.spec

    @property
    def name(self) -> str:
        """Return the name in the catalogue."""
        return self.spec.name

    @property
    def variants(self) -> Sequence[str]:
        """Return the only variant, its head."""
        return (self.spec.head,)

    def build(self, task: Task, seed: int = 0) -> nn.Module:
        """Build an untrained module as the zoo does.

        Raises:
            ContractFailure: the module cannot be built, or is not a torch.nn.Module.
        """
        with seeded(seed), ordinary():
            try:
                module = finished(self.entry.call(self.spec.build, task, values=self.parameters), task.shape)
            except (Exception, SystemExit) as error:
                raise ContractFailure(f"build for images of {task.shape}: {one_line(error)}") from error
        if not isinstance(module, nn.Module):
            raise ContractFailure(f"build returned {type(module).__name__}; return a torch.nn.Module")
        return module

    @cached_property
    def task(self) -> Task:
        """Return the task of the smallest images, of three channels or one, that the model accepts."""
        return self._ready[0]

    def module(self, seed: int = 0) -> nn.Module:
        """Return a module in eval mode that can be called."""
        if seed == 0:
            return self._ready[1]
        return self._usable(self.build(self.task, seed))

    @property
    def model(self) -> Model:
        """Return the module as the harness wraps it."""
        return wrap_model(self.module(), self.spec.head, access=self.spec.access)

    def images(self, count: int, seed: int = 0) -> Tensor:
        """Return noise (B, C, H, W) on the 8-bit grid."""
        levels = torch.randint(0, 256, (count, *self.task.shape), generator=generator(seed))
        return levels.float() / 255

    def outputs(self, x: Tensor, module: nn.Module | None = None) -> Tensor:
        """Return the outputs as the harness computes them, with gradients if the images require them."""
        module = self.module() if module is None else module  # containers have a length
        with exact(x.device), torch_unchanged():
            outputs = module(x.to(precision(module, x.dtype), copy=True))  # it may write to its input
        if not isinstance(outputs, Tensor):
            raise ContractFailure(f"forward returned {type(outputs).__name__}; return a tensor")
        return plain(outputs)

    @property
    def constant(self) -> bool:
        """Tell whether it answers every image alike on purpose."""
        return "constant" in self.spec.traits

    @cached_property
    def loaded(self) -> bool:
        """Tell whether its weights do not come from the seed: they are loaded when it is built."""
        return self.loads(self.task)

    def loads(self, task: Task) -> bool:
        """Tell the same of a task."""
        if self.spec.train:
            return False
        first, other = (self.build(task, seed).state_dict() for seed in (0, 1))
        return first.keys() == other.keys() and all(
            octets_of(first[name]) == octets_of(other[name]) for name in first
        )

    @cached_property
    def _ready(self) -> tuple[Task, nn.Module]:
        reason = ""
        for dataset in self._datasets():
            task = Task.of(dataset)
            try:
                module = self.build(task)
            except ContractFailure as failure:
                reason = str(failure)
                continue
            usable = module
            for train in (False, True) if self.spec.train else (False,):
                try:
                    if train:
                        self._train(module, dataset)
                    usable = self._usable(module)
                    with torch.no_grad():
                        self.outputs(torch.zeros(2, *task.shape), usable)
                except ContractFailure:
                    return task, usable  # the check of outputs says what is wrong with them
                except (Exception, SystemExit) as error:
                    reason = f"images of {task.shape}: {one_line(error)}"
                else:
                    return task, usable
        raise ContractFailure(
            f"it accepts no images of {EDGES[0]} to {EDGES[-1]} pixels; the last attempt: {reason}"
        )

    def _usable(self, module: nn.Module) -> nn.Module:
        """Return a module as a run uses it: in eval mode, with frozen weights that gradients may pass."""
        module = wrap_model(module, self.spec.head).module
        freeze(module)
        put_to_eval(module)
        return module

    @cached_property
    def known(self) -> Dataset | None:
        """Return images whose truth is known: the given data, else its spec's example, else None."""
        return self.data if self.data is not None or not self.spec.example else self._example

    @cached_property
    def _example(self) -> Dataset:
        dataset: Dataset = self.entry.load(self.spec.example or "")()
        return dataset

    def _datasets(self) -> Iterator[Dataset]:
        """Yield its own example, or noise of growing sizes, with 3 channels or 1, and 5 classes or 2."""
        if self.spec.example:
            yield self._example
            return
        numbers = (len(CLASSES), 2) if self.spec.head == "classes" else (len(CLASSES),)
        for channels, edge, classes in product((3, 1), EDGES, numbers):
            yield noise(Task((channels, edge, edge), ATTRIBUTES, CLASSES[:classes]))

    def _train(self, module: nn.Module, dataset: Dataset) -> None:
        context = Context(0, torch.device("cpu"), lambda share, word: None, lambda part, make: make())
        with seeded(0):
            self.entry.call(self.spec.train or "", module, dataset, context, values=self.parameters)


def noise(task: Task, count: int = 60) -> Dataset:
    """Return a data set of noise, with everything that a recipe may need except landmarks."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, *task.shape), dtype=np.uint8)
    rows = np.arange(count)
    return Dataset(
        name="noise",
        ids=[f"{row}.png" for row in rows],
        shape=task.shape,
        read=lambda wanted: pixels[wanted],
        fingerprint="noise",
        attribute_names=task.attribute_names,
        attributes=random.random((count, len(task.attribute_names))) < 0.5,
        labels=rows % len(task.class_names),
        class_names=task.class_names,
        identities=rows // 6,
        partitions=np.array(["train", "train", "train", "validation", "test"])[rows % 5],
    )


def precision(module: nn.Module, wanted: torch.dtype) -> torch.dtype:
    """Return the precision of a module's input: that of its weights if they have one that is not float32."""
    kinds = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    return next(iter(kinds)) if len(kinds) == 1 else wanted


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        yield
