"""An attack receives a Handle of the model: it counts the passes and shows only what the threat allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ContractError, ModelError
from harness.following import Draws, substitute_of
from harness.goals import Objective
from harness.goals.rules import Rules
from harness.meter import CountBackwards, Meter as Meter
from harness.model import NO_GRADIENT, can_be_followed, exact, in_its_layout
from harness.specs import Access, Compute, Following, HeadKind

if TYPE_CHECKING:
    from harness.model import Model


class Handle:
    """A Handle is the view of a model that an attack calls; it counts passes and restricts the access.

    Row b of a batch is case ``cases[b]``. An attack that lets finished cases leave the batch, or that tries
    several candidates per case, says so with ``take``: ``model.take(active)(x[active])``. A batch with
    another number of rows is refused, because its passes could not be counted for any case.

    Outputs are differentiable only if access is "gradients"; if it is "decisions", attribute scores become
    -1 or +1 and class logits one-hot.
    """

    def __init__(
        self,
        model: Model,
        cases: int,
        *,
        access: Access = "gradients",
        compute: Compute = "float32",
        meter: Meter | None = None,
        rules: Rules | None = None,
        following: Following = Following(),  # noqa: B008  (frozen)
    ) -> None:
        self._model = model
        self._cases = torch.arange(cases)
        self._columns: Tensor | None = None
        self._objective: Objective | None = None
        self._access = access
        self._compute = compute
        self._meter = meter or Meter(cases)
        self._rules = rules or Rules()
        self._draws = Draws(following.eot)
        self._substitute = substitute_of(model) if following.bpda else None

    @property
    def head(self) -> HeadKind:
        """Return the output type: "attributes", "classes" or "embedding"."""
        return self._model.head

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the outputs, if they are known."""
        return self._model.names

    @property
    def device(self) -> torch.device:
        """Return the device of the model."""
        return self._model.device

    @property
    def access(self) -> Access:
        """Return the access that this handle gives: "gradients", "scores" or "decisions"."""
        return self._access

    @property
    def compute(self) -> Compute:
        """Return the precision of this handle's passes."""
        return self._compute

    @property
    def has_logits(self) -> bool:
        """Tell whether ``logits`` can be called, because the model has two logits behind each score."""
        return self._shows_parts and callable(getattr(self._model.module, "logits", None))

    @property
    def has_select(self) -> bool:
        """Tell whether the model can compute one attribute's score alone, as separate networks can."""
        return self.head == "attributes" and callable(getattr(self._model.module, "select", None))

    def __len__(self) -> int:
        return len(self._cases)

    def __reduce_ex__(self, protocol: object) -> Any:
        """Refuse to be copied or pickled: the passes of a copy would count for nobody."""
        raise ContractError("the attack tried to copy its handle of the model; ask the handle itself")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the float32 outputs (B, M), (B, K) or (B, D) of the images (B, C, H, W).

        A focused handle of an attributes head computes one column per case; the others are NaN, so that
        they cannot be mistaken for scores.
        """
        return self._mean(self._followed, x)

    def _followed(self, x: Tensor) -> Tensor:
        """Return the outputs; if a substitute is followed, their gradient is that of its outputs."""
        if self._substitute is None or not self._shows(x):
            return self._asked(x, self._model.module)
        with torch.no_grad():
            exactly = self._asked(x, self._model.module)
        soft = self._asked(x, self._substitute)
        return soft + (exactly - soft).detach()

    def _mean(self, call: Callable[..., Tensor], x: Tensor, *more: Tensor) -> Tensor:
        """Return the mean of several evaluations where a gradient will be asked for, else a single one."""
        outputs, draws = call(x, *more), self._draws.now if self._shows(x) else 1
        for _ in range(draws - 1):
            outputs = outputs + call(x, *more)
        return outputs / draws if draws > 1 else outputs

    def _asked(self, x: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the outputs of the module, or of its substitute."""
        module = self._model.module
        if self._columns is None or self.head != "attributes":
            return self._run(call, x)
        columns = self._columns.to(x.device)[:, None]  # (B, 1)
        if self.has_select and call is module:
            own = self._run(module.select, x, columns[:, 0], dimensions=1)[:, None]  # type: ignore[arg-type]
            width = max(len(self.names), int(columns.max()) + 1 if len(columns) else 0)
        else:
            outputs = self._run(call, x)
            own, width = outputs.gather(1, columns), outputs.shape[1]
        empty = torch.full((len(x), width), torch.nan, device=own.device)
        return empty.scatter(1, columns, own)

    def logits(self, x: Tensor) -> Tensor:
        """Return (B, 2) logits (absent, present) of the attribute that each case reads; focus it first."""
        if not self.has_logits or self._columns is None:
            raise ContractError("logits need a model that has them, and a handle focused on an objective")
        call: Callable[..., Any] = self._model.module.logits  # type: ignore[assignment]
        return self._mean(partial(self._run, call), x, self._columns.to(x.device))

    @property
    def component_classes(self) -> Tensor:
        """Return (P,) the class that each of ``components`` belongs to."""
        classes = getattr(self._model.module, "component_classes", None)
        if isinstance(classes, Tensor):
            return classes
        raise ContractError(f"{type(self._model.module).__name__} has no components")

    @property
    def has_components(self) -> bool:
        """Tell whether ``components`` can be called, because the scores of classes are made of parts."""
        asked = callable(getattr(self._model.module, "components", None))
        return asked and self.head == "classes" and self._shows_parts

    def components(self, x: Tensor) -> Tensor:
        """Return (B, P) the scores of the parts that the classes consist of, such as mixture components."""
        if not self.has_components:
            raise ContractError("components need a model of classes that has them, and access to its scores")
        return self._mean(partial(self._run, self._model.module.components), x)  # type: ignore[arg-type]

    def indirect_anchor(self, references: Tensor) -> Tensor:
        """Return (B, D) the embeddings of images that the model draws of the persons in (B, C, H, W)."""
        anchors = getattr(self._model.module, "indirect_anchor", None)
        if not callable(anchors) or self.head != "embedding" or self._access == "decisions":
            raise ContractError("the model has no indirect_anchor(references) -> (B, D) for attacks to call")
        return self._run(anchors, references)

    def take(self, cases: Tensor) -> Handle:
        """Return a handle of the given rows (K,); a row that is given twice is two candidates of one case."""
        view = self._copy()
        view._cases = self._cases[cases.to(self._cases.device)]
        if self._columns is not None:
            view._columns = self._columns[cases.to(self._columns.device)]
        if self._objective is not None:
            view._objective = self._objective.take(cases)
        return view

    def focus(self, objective: Objective) -> Handle:
        """Return a handle that computes only the output column that each case's objective reads."""
        if len(objective) != len(self):
            raise ContractError(
                f"an objective of {len(objective)} cases cannot focus a handle of {len(self)} cases"
            )
        objective = self._rules.goal(objective, self._cases, self._access)
        view = self._copy()
        view._columns, view._objective = objective.columns, objective
        return view

    def reaches(self, x: Tensor) -> Tensor:
        """Tell (B,) whether each image (B, C, H, W) reaches the goal of its case; focus the handle first.

        An attack with access "decisions" learns nothing else from a model; this works with every head.
        """
        if self._objective is None:
            raise ContractError("the handle knows no goal yet; call model.focus(objective) first")
        # Decisions are made in float32, whatever precision the attack's other passes have.
        view = self.precise()
        view._access = "scores"
        with torch.no_grad():
            return self._objective.reached(view(x))

    def found(self, rows: Tensor | None = None, by: str = "") -> None:
        """Report that a better image than before was found just now, for all cases or some rows (K,).

        This changes no outcome: records then say at what cost it was found, and ``by`` which of its members.
        """
        cases = self._cases if rows is None else self._cases[rows.to(self._cases.device)]
        self._meter.found[cases] = self._meter.forwards[cases]
        if by:
            self._meter.found_by[cases] = self._meter.number_of(by)

    def precise(self) -> Handle:
        """Return the same handle with passes in float32, as the judge computes."""
        view = self._copy()
        view._compute = "float32"
        return view

    def gradient(
        self,
        x: Tensor,
        value: Callable[[Tensor], Tensor],
        *,
        outputs: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return ``value`` (B,) of the outputs at ``x`` and its gradient (B, C, H, W), in one pass each way.

        ``outputs`` is the function that is called, such as ``self.logits``; by default the handle itself. No
        parameter receives a gradient, and the graph is freed when this returns.
        """
        if self._access != "gradients":
            raise ContractError(f"the attack asked for gradients, but may see only {self._access}")
        with self._draws.one_by_one() as draws:  # so that the memory is that of a single pass
            values, gradient = self._one_gradient(x, value, outputs or self)
            for _ in range(draws - 1):
                again, more = self._one_gradient(x, value, outputs or self)
                values, gradient = values + again, gradient + more
        if draws > 1:
            values, gradient = values / draws, gradient / draws
        # Contiguous like the images, because arithmetic on mixed memory layouts is slow.
        return values, gradient.contiguous()

    def _one_gradient(
        self, x: Tensor, value: Callable[[Tensor], Tensor], outputs: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            values = value(outputs(start))
            if not values.requires_grad:
                raise ContractError("the attack asked for a gradient of what does not depend on the model")
            (gradient,) = torch.autograd.grad(values.sum(), start)
        return values.detach(), gradient

    @property
    def _shows_parts(self) -> bool:
        """Tell whether more than the outputs may be asked for; a substitute has outputs alone."""
        return self._access != "decisions" and self._substitute is None

    def _shows(self, x: Tensor) -> bool:
        """Tell whether outputs for these images are to be differentiable."""
        return self._access == "gradients" and torch.is_grad_enabled() and x.requires_grad

    def _copy(self) -> Handle:
        view = object.__new__(Handle)
        view.__dict__.update(self.__dict__)
        return view

    def _run(self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int = 2) -> Tensor:
        self._rules.check(x, self._cases.shape[0])  # len() of a tensor warns while it is traced
        module = self._model.module
        if any(part.training for part in module.modules()):
            raise ContractError("the attack put the model into train mode")
        self._meter.forwards.index_add_(0, self._cases, torch.ones_like(self._cases))

        def ask(images: Tensor) -> Tensor:
            if call is module:
                return self._model._outputs(images)
            return self._model._answer(call, images, *more, dimensions=dimensions)

        show = self._shows(x)
        coarse = self._compute == "bfloat16"
        precision = torch.autocast(x.device.type, torch.bfloat16) if coarse else exact(x.device)
        with torch.set_grad_enabled(show), precision:
            if show:
                x = cast(Tensor, CountBackwards.apply(x, self._meter, self._cases))  # type: ignore[no-untyped-call]
            outputs = in_its_layout(ask, x, module, coarse=coarse)
        plain = self._substitute is None
        known = plain and module in _FOLLOWED
        if show and not (outputs.requires_grad and (known or can_be_followed(outputs, x))):
            raise ModelError(NO_GRADIENT)
        if show and plain:
            _FOLLOWED.add(module)
        if self._access != "decisions":
            return outputs
        if self.head == "attributes":
            return torch.where(outputs > 0, 1.0, -1.0)
        if self.head == "classes":
            return F.one_hot(outputs.argmax(1), outputs.shape[1]).float()
        raise ContractError("an embedding has no decisions without an anchor; call model.reaches(x) instead")


_FOLLOWED: WeakSet[nn.Module] = WeakSet()
"""Modules through which gradients were seen to pass."""

AttackFunction = Callable[..., Tensor]
