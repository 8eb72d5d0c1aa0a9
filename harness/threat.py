"""Threat model: what an attacker may change, by how much, and what they may see.

Distances are between images in [0, 1]: ``linf`` and ``l2`` over all components, ``l0`` counts pixels
(positions at which any channel changed).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.errors import AttackError, nearest
from harness.specs import ACCESS_ORDER, Access

Norm = Literal["linf", "l2"]
NORMS: tuple[str, ...] = get_args(Norm)
GREY_LEVELS = 255
FLOAT_TOLERANCE = 1e-5
"""Of norms and of the box: what float32 arithmetic may add; far below the rounding to 8 bits."""
LARGEST_EPS = 1e6
"""No image of [0, 1] has room for more, and float32 has room for its square."""


@dataclass(frozen=True)
class Threat:
    """A frozen threat model; ``Linf(8/255)``, ``L2(.5)``, ``Minimal("l2")`` and ``Region(mask)`` make it."""

    norm: str | None = None
    """The norm of the budget, or that a minimal attack makes small; None: only the region counts."""
    eps: float | None = None
    """Budget in the units of the norm; None: the smallest that works."""
    mask: Tensor | None = field(default=None, compare=False)
    """True where pixels may change: (H, W); (B, 1, H, W), one mask per case; or (P, H, W), places of which
    each case may use one. None: everywhere."""
    region: str = ""
    """How boards name the mask: "eyeglasses"."""
    access: Access = "gradients"
    levels: int | None = GREY_LEVELS
    """Adversarials are judged on the grid k/levels; None: as they are."""

    def __post_init__(self) -> None:
        if self.norm is not None and self.norm not in NORMS:
            raise AttackError(f'norm "{self.norm}" is unknown; {nearest(self.norm, NORMS)}')
        if self.eps is not None and not 0 <= self.eps <= LARGEST_EPS:
            raise AttackError(f"eps = {self.eps:g} must be from 0 to {LARGEST_EPS:g}; pixels are in [0, 1]")
        if self.eps is not None and self.norm is None:
            raise AttackError(f"eps = {self.eps} needs a norm; {nearest('', NORMS)}")
        if self.access not in ACCESS_ORDER:
            raise AttackError(f'access "{self.access}" is unknown; {nearest(self.access, ACCESS_ORDER)}')
        if self.levels is not None and self.levels < 1:
            raise AttackError(f"levels = {self.levels} must be 1 or more, or None")

    @property
    def label(self) -> str:
        """How boards name it: "linf 8/255", "l2 0.5", "linf minimal", "eyeglasses", "region"."""
        parts = [self.norm] if self.norm else []
        if self.norm:
            parts.append("minimal" if self.eps is None else _spoken(self.eps, self.norm))
        if self.region or self.mask is not None:
            parts.append(self.region or "region")
        return " ".join(parts) or "unbounded"

    @property
    def places(self) -> int:
        """Of how many masks each case may use one; 0 where there is no such choice."""
        return len(self.mask) if self.mask is not None and self.mask.ndim == 3 else 0

    def at(self, places: Tensor) -> Threat:
        """The threat in which each case has the mask of its place (B,), out of (P, H, W)."""
        if self.mask is None or not self.places:
            raise AttackError("there are no places to choose from; give a mask of shape (P, H, W)")
        return replace(self, mask=self.mask[places.to(self.mask.device)][:, None])

    def take(self, cases: Tensor) -> Threat:
        """The threat of the given cases (K,): per-case masks follow."""
        if self.mask is None or self.mask.ndim != 4:
            return self
        return replace(self, mask=self.mask[cases.to(self.mask.device)])

    def part(self, rows: slice) -> Threat:
        """The threat of some of the images: per-case masks are cut."""
        if self.mask is None or self.mask.ndim != 4:
            return self
        return replace(self, mask=self.mask[rows])

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest images inside budget, region and box, all (B, C, H, W); differentiable nowhere needed.

        The box is applied last: it can only bring pixels nearer to ``x``, which lies inside.

        Raises:
            AttackError: the places of the mask are still to be chosen from, with ``at``.
        """
        if self.places:
            raise AttackError(f"choose one of the {self.places} places of the mask first: threat.at(places)")
        delta = x_adv - x
        if self.mask is not None:
            delta = delta * self.mask.to(delta)
        if self.eps is not None and self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        elif self.eps is not None and self.norm == "l2":
            norm = l2(delta)
            delta = delta * (self.eps / norm.clamp_min(1e-12)).clamp_max(1).view(-1, 1, 1, 1)
        return (x + delta).clamp(0, 1)

    def round(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] rounded to the grid on which they are judged."""
        return x if self.levels is None else torch.round(x.clamp(0, 1) * self.levels) / self.levels

    def rounding_slack(self, components: int) -> float:
        """By how much, in units of the norm, rounding alone may lift an image of so many components.

        Half a grey level in L-infinity; in L2 the root mean square of a uniform rounding error.
        """
        if self.levels is None:
            return 0.0
        return 0.5 / self.levels if self.norm == "linf" else (components / 12) ** 0.5 / self.levels

    def settle(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Images on the grid (B, C, H, W), pulled towards ``x`` where rounding alone left the budget.

        An attack keeps its real-valued perturbation inside the budget, and rounding can push it out (most
        in L2). Then components that were rounded away from ``x``, which lies on the grid, go back by one
        level: in L-infinity those over eps, in L2 as few and as cheap ones as will do. What is judged never
        exceeds eps, and an honest attack does not become invalid by rounding, nor lose more than it must.
        The region is not enforced.
        """
        rounded = self.round(x_adv)
        if self.eps is None or self.norm is None or self.levels is None:
            return rounded
        over = torch.nonzero(self.distance(rounded - x) > self.eps + FLOAT_TOLERANCE).flatten()
        if len(over):
            start = x[over]
            inside = replace(self, mask=None).project(x_adv[over], start)
            levels = self._levels_inside((inside - start).double() * self.levels, self.eps * self.levels)
            rounded = rounded.clone()
            rounded[over] = self.round(start + (levels / self.levels).to(start))
        return rounded

    def _levels_inside(self, wanted: Tensor, eps: float) -> Tensor:
        """Whole grey levels (B, C, H, W) near the ``wanted`` ones, inside the budget as those are."""
        rounded = wanted.round()
        back = rounded - rounded.sign()
        if self.norm == "linf":
            return torch.where(rounded.abs() > eps + FLOAT_TOLERANCE, back, rounded)
        saved = (rounded.square() - back.square()).flatten(1)  # (B, N) of the squared norm
        outward = (rounded.abs() - wanted.abs()).flatten(1)  # (B, N), up to half a level
        # What a step back adds to the squared rounding error, per unit that it saves. Steps back of all
        # that was rounded outward would leave no component larger than wanted, so that enough can be saved.
        price = torch.where(outward > 0, (1 - 2 * outward) / saved, torch.inf)
        order = price.argsort(dim=1, stable=True)
        before = saved.gather(1, order).cumsum(1) - saved.gather(1, order)
        excess = rounded.flatten(1).square().sum(1, keepdim=True) - eps**2
        chosen = torch.zeros_like(order, dtype=torch.bool).scatter(1, order, before < excess)
        return torch.where(chosen.view_as(wanted), back, rounded)

    def outside(self, delta: Tensor) -> Tensor:
        """(B,) the largest change of perturbations (B, C, H, W) outside the region; of places, the least."""
        if self.mask is None:
            return torch.zeros(len(delta), device=delta.device)
        mask = self.mask.to(delta.device)
        changed = delta.abs().amax(1)  # (B, H, W)
        if not self.places:
            return changed.masked_fill(mask[:, 0] if mask.ndim == 4 else mask, 0).flatten(1).amax(1)
        found = torch.full((len(delta),), torch.inf, device=delta.device)
        for place in mask:  # one after the other: (B, P, H, W) at once would be large
            found = found.minimum(changed.masked_fill(place, 0).flatten(1).amax(1))
        return found

    def distance(self, delta: Tensor) -> Tensor:
        """(B,) norm of perturbations (B, C, H, W) in this threat's norm (L-infinity where it has none)."""
        return l2(delta) if self.norm == "l2" else linf(delta)


def Linf(eps: float, *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """Every component may change by eps, in units of the [0, 1] range: ``Linf(8/255)``."""
    return Threat("linf", eps, access=access, levels=levels)


def L2(eps: float, *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """The Euclidean norm of the whole perturbation may be eps."""
    return Threat("l2", eps, access=access, levels=levels)


def Minimal(norm: Norm = "l2", *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """No budget: the attack looks for the smallest perturbation in this norm."""
    return Threat(norm, None, access=access, levels=levels)


def Region(
    mask: Tensor,
    *,
    norm: Norm | None = None,
    eps: float | None = None,
    access: Access = "gradients",
    levels: int | None = GREY_LEVELS,
) -> Threat:
    """Only pixels inside the mask may change.

    Args:
        mask: bool (H, W); (B, 1, H, W) with one mask per case; or (P, H, W), places of which each case may
            use one.
    """
    if mask.ndim not in (2, 3, 4):
        shape = tuple(mask.shape)
        raise AttackError(f"mask has shape {shape}; expected (H, W), (P, H, W) or (B, 1, H, W)")
    return Threat(norm, eps, mask.bool(), access=access, levels=levels)


def linf(delta: Tensor) -> Tensor:
    """(B,) largest absolute component of (B, ...)."""
    return delta.flatten(1).abs().amax(1)


def l2(delta: Tensor) -> Tensor:
    """(B,) Euclidean norm of (B, ...)."""
    return torch.linalg.vector_norm(delta.flatten(1), dim=1)  # type: ignore[no-any-return]


def l0(delta: Tensor) -> Tensor:
    """(B,) number of pixels of (B, C, H, W) at which any channel differs from zero."""
    return (delta != 0).any(1).flatten(1).sum(1)


def _spoken(eps: float, norm: str) -> str:
    levels = eps * GREY_LEVELS
    # only in L-infinity does a component's grey level mean something
    if norm == "linf" and 0 < eps < 1 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{eps:g}"
