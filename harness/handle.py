"""Handle: what an attack receives of a model, metered, and no more than the threat's access shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own abbreviation)

from harness.errors import ContractError
from harness.goals import Objective
from harness.model import exact
from harness.specs import Access, Compute, HeadKind

if TYPE_CHECKING:
    from harness.model import Model


class Meter:
    """Forward and backward passes per case (N,), whatever batches they came in."""

    def __init__(self, cases: int) -> None:
        self.forwards = torch.zeros(cases, dtype=torch.int64)
        self.backwards = torch.zeros(cases, dtype=torch.int64)
        self.zero_gradients = torch.zeros(cases, dtype=torch.int64)
        """Backward passes whose gradient at the image was zero everywhere, or not finite."""
        self.found = torch.full((cases,), -1, dtype=torch.int64)
        """Forward passes made when the attack last found a better image; -1 where it never said so."""

    def shared(self, rows: Tensor) -> Meter:
        """The meter of some cases (K,), on which the cost of all the others is shared out, rounded up."""
        shared = Meter(len(rows))
        rows = rows.to(self.forwards.device)
        for name in ("forwards", "backwards"):
            spent = getattr(self, name)
            others = int(spent.sum() - spent[rows].sum())
            setattr(shared, name, spent[rows] + -(-others // max(len(rows), 1)))
        shared.zero_gradients = self.zero_gradients[rows]
        return shared


class Handle:
    """What an attack receives of a model: callable, counted, and no more than the threat's access shows.

    Row b of a batch is case ``cases[b]``. An attack that lets finished cases leave the batch, or that tries
    several candidates per case, says so with ``take``: ``model.take(active)(x[active])``. A batch whose
    rows are not the handle's cases is refused, for its passes could not be booked on anybody.

    Outputs are differentiable only where access is "gradients"; where it is "decisions", attribute scores
    become -1 or +1 and class logits one-hot.
    """

    def __init__(
        self,
        model: Model,
        cases: int,
        *,
        access: Access = "gradients",
        compute: Compute = "float32",
        meter: Meter | None = None,
    ) -> None:
        self._model = model
        self._cases = torch.arange(cases)
        self._columns: Tensor | None = None
        self._objective: Objective | None = None
        self._access = access
        self._compute = compute
        self._meter = meter or Meter(cases)

    @property
    def head(self) -> HeadKind:
        """One of "attributes", "classes", "embedding"."""
        return self._model.head

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, where known."""
        return self._model.names

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._model.device

    @property
    def access(self) -> Access:
        """What this handle shows: "gradients", "scores" or "decisions"."""
        return self._access

    @property
    def compute(self) -> Compute:
        """In what precision this handle's passes are made."""
        return self._compute

    @property
    def has_logits(self) -> bool:
        """Whether ``logits`` can be asked: two logits stand behind each attribute's score."""
        return self._access != "decisions" and callable(getattr(self._model.module, "logits", None))

    def __len__(self) -> int:
        return len(self._cases)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs of the images (B, C, H, W): (B, M), (B, K) or (B, D), float32.

        A focused handle of an attributes head computes one column per case; the others are NaN, so that
        nobody takes them for scores.
        """
        module = self._model.module
        select = getattr(module, "select", None)
        if self._columns is None or self.head != "attributes":
            return self._run(module, x)
        columns = self._columns.to(x.device)[:, None]  # (B, 1)
        if callable(select):
            own = self._run(select, x, columns[:, 0], dimensions=1)[:, None]
            width = max(len(self.names), int(columns.max()) + 1 if len(columns) else 0)
        else:
            outputs = self._run(module, x)
            own, width = outputs.gather(1, columns), outputs.shape[1]
        empty = torch.full((len(x), width), torch.nan, device=own.device)
        return empty.scatter(1, columns, own)

    def logits(self, x: Tensor) -> Tensor:
        """(B, 2) logits (absent, present) of the attribute that each case of a focused handle reads."""
        logits = getattr(self._model.module, "logits", None)
        if not self.has_logits or self._columns is None or logits is None:
            raise ContractError("logits need a model that has them, and a handle focused on one attribute")
        return self._run(logits, x, self._columns.to(x.device))

    @property
    def component_classes(self) -> Tensor:
        """(P,) the class that each of ``components`` speaks for."""
        classes = getattr(self._model.module, "component_classes", None)
        if isinstance(classes, Tensor):
            return classes
        raise ContractError(f"{type(self._model.module).__name__} is not made of components")

    @property
    def has_components(self) -> bool:
        """Whether ``components`` can be asked: the scores of classes are made of those of their parts."""
        asked = callable(getattr(self._model.module, "components", None))
        return asked and self.head == "classes" and self._access != "decisions"

    def components(self, x: Tensor) -> Tensor:
        """(B, P) scores of the parts that classes consist of, such as log densities of a mixture's."""
        if not self.has_components:
            raise ContractError("components need a model of classes that has them, and access to its scores")
        components: Callable[..., Any] = self._model.module.components  # type: ignore[assignment]
        return self._run(components, x)

    def take(self, cases: Tensor) -> Handle:
        """A handle of the given rows (K,) of this one; a row named twice is two candidates of one case."""
        view = self._copy()
        view._cases = self._cases[cases.to(self._cases.device)]
        if self._columns is not None:
            view._columns = self._columns[cases.to(self._columns.device)]
        if self._objective is not None:
            view._objective = self._objective.take(cases)
        return view

    def focus(self, objective: Objective) -> Handle:
        """A handle that computes only the output column that each case's objective reads."""
        if len(objective) != len(self):
            raise ContractError(f"an objective of {len(objective)} cases cannot focus one of {len(self)}")
        view = self._copy()
        view._columns, view._objective = objective.columns, objective
        return view

    def reaches(self, x: Tensor) -> Tensor:
        """(B,) bool: whether each image (B, C, H, W) reaches the goal of its case; of a focused handle.

        It is all that an attacker learns who may see decisions only, and is defined for every head.
        """
        if self._objective is None:
            raise ContractError("a handle that is not focused knows no goal; model.focus(objective) first")
        # A decision is the model's own, not that of an attack's reduced precision.
        view = self.precise()
        view._access = "scores"
        with torch.no_grad():
            return self._objective.reached(view(x))

    def found(self, rows: Tensor | None = None) -> None:
        """Say that a better image than before was found just now, for all cases or some rows (K,).

        It changes no outcome: records tell how much of an attack's cost came before its best image.
        """
        cases = self._cases if rows is None else self._cases[rows.to(self._cases.device)]
        self._meter.found[cases] = self._meter.forwards[cases]

    def precise(self) -> Handle:
        """The same handle in float32, as the judge computes."""
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
        """``value`` (B,) of the outputs at ``x``, and its gradient (B, C, H, W): one forward, one backward.

        ``outputs`` is what is asked, such as ``self.logits``; the handle itself by default. No parameter
        receives a gradient, and the graph is gone when this returns.
        """
        if self._access != "gradients":
            raise ContractError(f"the attack asked for gradients, and may see {self._access}")
        with torch.enable_grad():
            start = x.detach().requires_grad_()
            values = value(outputs(start) if outputs else self(start))
            if not values.requires_grad:
                return values.detach(), torch.zeros_like(x)
            (slope,) = torch.autograd.grad(values.sum(), start)
        # In the layout of the images, for arithmetic on mixed layouts is slow.
        return values.detach(), slope.contiguous()

    def _copy(self) -> Handle:
        view = object.__new__(Handle)
        view.__dict__.update(self.__dict__)
        return view

    def _run(self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int = 2) -> Tensor:
        if len(x) != len(self._cases):
            raise ContractError(
                f"the attack asked about {len(x)} images with a handle of {len(self._cases)} cases; "
                "model.take(cases) says which cases they are"
            )
        module = self._model.module
        if any(part.training for part in module.modules()):
            raise ContractError("the attack put the model into train mode")
        self._meter.forwards.index_add_(0, self._cases, torch.ones_like(self._cases))
        show = self._access == "gradients" and torch.is_grad_enabled() and x.requires_grad
        coarse = self._compute == "bfloat16"
        precision = torch.autocast(x.device.type, torch.bfloat16) if coarse else exact(x.device)
        with torch.set_grad_enabled(show), precision:
            if show:
                x = cast(Tensor, _CountBackwards.apply(x, self._meter, self._cases))  # type: ignore[no-untyped-call]
            outputs = self._arranged(call, x, *more, dimensions=dimensions, coarse=coarse)
        if self._access != "decisions":
            return outputs
        if self.head == "attributes":
            return torch.where(outputs > 0, 1.0, -1.0)
        if self.head == "classes":
            return F.one_hot(outputs.argmax(1), outputs.shape[1]).float()
        raise ContractError("an embedding has no decisions to show without an anchor; ask model.reaches(x)")

    def _arranged(
        self, call: Callable[..., Any], x: Tensor, *more: Tensor, dimensions: int, coarse: bool
    ) -> Tensor:
        """The answer to images in the layout that suits the precision.

        float32 is asked as the judge asks. In bfloat16 convolutions are much faster where channels come last;
        a module that cannot take that, because it calls ``view``, is found out once.
        """
        module = self._model.module

        def ask(images: Tensor) -> Tensor:
            if call is module:
                return self._model._outputs(images)
            return self._model._answer(call, images, *more, dimensions=dimensions)

        if coarse and module not in _NEEDS_ROWS:
            try:
                return ask(x.contiguous(memory_format=torch.channels_last))
            except RuntimeError as error:
                if "view size is not compatible" not in str(error):
                    raise
                _NEEDS_ROWS.add(module)
        return ask(x.contiguous())


_NEEDS_ROWS: WeakSet[nn.Module] = WeakSet()
"""Modules that call ``view`` where only the usual layout of images allows it."""


class _CountBackwards(torch.autograd.Function):
    """The identity; each backward pass through it is booked on the batch's cases."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, meter: Meter, cases: Tensor) -> Tensor:
        ctx.meter, ctx.cases = meter, cases
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        ctx.meter.backwards.index_add_(0, ctx.cases, torch.ones_like(ctx.cases))
        size = slope.flatten(1).abs().amax(1) if slope.numel() else slope.new_zeros(len(slope))
        lost = ~((size > 0) & size.isfinite())
        ctx.meter.zero_gradients.index_add_(0, ctx.cases, lost.long().to(ctx.cases.device))
        return slope, None, None


AttackFunction = Callable[..., Tensor]
