"""A threat model says what an attacker may change, by how much, and what they may see.

Distances are between images in [0, 1]: ``linf`` and ``l2`` are taken over all components, ``l0`` counts
pixels (positions at which any channel changed).
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
"""What float32 arithmetic may add to a norm or a pixel; it is far below the rounding to 8 bits."""
LARGEST_EPS = 1e6
"""The largest eps: no change inside [0, 1] is larger, and float32 can still hold its square."""


@dataclass(frozen=True)
class Threat:
    """A Threat is a frozen value; make it with ``Linf``, ``L2``, ``Minimal`` or ``Region``."""

    norm: str | None = None
    """The norm of the budget, or the one that a minimum-norm attack minimises; None: only the mask counts."""
    eps: float | None = None
    """The budget in the units of the norm; None: the smallest change that works."""
    mask: Tensor | None = field(default=None, compare=False)
    """True where pixels may change: (H, W); (B, 1, H, W), one mask per case; or (P, H, W), P places of which
    each case may use one. None: everywhere."""
    region: str = ""
    """The name of the mask on leaderboards, such as "eyeglasses"."""
    access: Access = "gradients"
    levels: int | None = GREY_LEVELS
    """Adversarials are rounded to k/levels before they are judged; None: they are not rounded."""

    def __post_init__(self) -> None:
        if self.norm is not None and self.norm not in NORMS:
            raise AttackError(f'norm "{self.norm}" is unknown; {nearest(self.norm, NORMS)}')
        if self.eps is not None and not 0 <= self.eps <= LARGEST_EPS:
            raise AttackError(f"eps = {self.eps:g} must be from 0 to {LARGEST_EPS:g}; pixels are in [0, 1]")
        if self.norm == "linf" and self.eps is not None and self.eps > 1:
            levels = (
                f"; {self.eps:g} of 255 grey levels are {self.eps:g}/255" if self.eps <= GREY_LEVELS else ""
            )
            raise AttackError(
                f"eps = {self.eps:g} is above 1 in L-infinity, but pixels are in [0, 1]{levels}"
            )
        if self.eps is not None and self.norm is None:
            raise AttackError(f"eps = {self.eps} needs a norm; {nearest('', NORMS)}")
        if self.access not in ACCESS_ORDER:
            raise AttackError(f'access "{self.access}" is unknown; {nearest(self.access, ACCESS_ORDER)}')
        if self.levels is not None and self.levels < 1:
            raise AttackError(f"levels = {self.levels} must be 1 or more, or None")

    @property
    def label(self) -> str:
        """Return the name on leaderboards: "linf 8/255", "l2 0.5", "linf minimal", "eyeglasses", "region"."""
        parts = [self.norm] if self.norm else []
        if self.norm:
            parts.append("minimal" if self.eps is None else _eps_label(self.eps, self.norm))
        if self.region or self.mask is not None:
            parts.append(self.region or "region")
        return " ".join(parts) or "unbounded"

    @property
    def places(self) -> int:
        """Return the number of places of which each case may use one; 0 if the mask offers no choice."""
        return len(self.mask) if self.mask is not None and self.mask.ndim == 3 else 0

    def at(self, places: Tensor) -> Threat:
        """Return the threat in which each case has the mask of its place (B,), out of (P, H, W)."""
        if self.mask is None or not self.places:
            raise AttackError("there are no places to choose from; give a mask of shape (P, H, W)")
        return replace(self, mask=self.mask[places.to(self.mask.device)][:, None])

    def take(self, cases: Tensor) -> Threat:
        """Return the threat of the given cases (K,), with their masks if each case has its own."""
        if self.mask is None or self.mask.ndim != 4:
            return self
        return replace(self, mask=self.mask[cases.to(self.mask.device)])

    def part(self, rows: slice) -> Threat:
        """Return the threat of some of the images, with their masks if each case has its own."""
        if self.mask is None or self.mask.ndim != 4:
            return self
        return replace(self, mask=self.mask[rows])

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Bring ``x_adv`` (B, C, H, W) into the budget around ``x``, the region and the pixel range [0, 1].

        Pixels are clipped last: that can only bring them nearer to ``x``, which lies inside the range.

        Raises:
            AttackError: no place of the mask has been chosen yet, with ``at``.
        """
        if self.places:
            raise AttackError(f"choose one of the {self.places} places of the mask first: threat.at(places)")
        delta = x_adv - x  # a tensor of its own, which is then changed in place: attacks do this at each step
        if self.mask is not None:
            delta = delta * self.mask.to(delta)
        if self.eps is not None and self.norm == "linf":
            delta = delta.clamp_(-self.eps, self.eps)
        elif self.eps is not None and self.norm == "l2":
            norm = l2(delta)
            delta = delta * (self.eps / norm.clamp_min(1e-12)).clamp_max(1).view(-1, 1, 1, 1)
        return delta.add_(x).clamp_(0, 1)

    def round(self, x: Tensor) -> Tensor:
        """Round images (B, C, H, W) in [0, 1] to the grid on which they are judged."""
        return x if self.levels is None else pixels(x.clamp(0, 1).mul_(self.levels).round_(), self.levels)

    def rounding_slack(self, components: int) -> float:
        """Return how much the rounding of so many components may add to a distance in this norm.

        In L-infinity this is half an 8-bit level, in L2 the root mean square of a uniform rounding error.
        """
        if self.levels is None:
            return 0.0
        return 0.5 / self.levels if self.norm == "linf" else (components / 12) ** 0.5 / self.levels

    def settle(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Round images (B, C, H, W) to the grid, and pull back those that rounding took out of the budget.

        An attack keeps its real-valued perturbation inside the budget, and rounding can push it out (most
        often in L2). Components that were rounded away from ``x``, which lies on the grid, then move back by
        one level: in L-infinity those over eps; in L2 only as many as are needed, first those for which this
        adds least to the rounding error. So the judged image never exceeds eps, and an attack that kept to
        the budget loses no more than it must. The region is not enforced.
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
        """Return whole levels (B, C, H, W) near ``wanted`` ones, which lie inside the budget; so do they."""
        rounded = wanted.round()
        back = rounded - rounded.sign()
        if self.norm == "linf":
            return torch.where(rounded.abs() > eps + FLOAT_TOLERANCE, back, rounded)
        saved = (rounded.square() - back.square()).flatten(1)  # (B, N) of the squared norm
        outward = (rounded.abs() - wanted.abs()).flatten(1)  # (B, N), up to half a level
        # What a step back adds to the squared rounding error, per unit of the squared norm that it saves. If
        # all that was rounded outward went back, no component would exceed its wanted value: this is enough.
        price = torch.where(outward > 0, (1 - 2 * outward) / saved, torch.inf)
        order = price.argsort(dim=1, stable=True)
        before = saved.gather(1, order).cumsum(1) - saved.gather(1, order)
        excess = rounded.flatten(1).square().sum(1, keepdim=True) - eps**2
        chosen = torch.zeros_like(order, dtype=torch.bool).scatter(1, order, before < excess)
        return torch.where(chosen.view_as(wanted), back, rounded)

    def outside(self, delta: Tensor) -> Tensor:
        """Return (B,) the largest change (B, C, H, W) outside the mask; with places, outside the best one."""
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
        """Return (B,) the norm of perturbations (B, C, H, W); L-infinity if the threat names no norm."""
        return l2(delta) if self.norm == "l2" else linf(delta)


def Linf(eps: float, *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """Return a threat in which every component may change by eps, on the scale of [0, 1]: ``Linf(8/255)``."""
    return Threat("linf", eps, access=access, levels=levels)


def L2(eps: float, *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """Return a threat in which the Euclidean norm of the whole perturbation may be eps."""
    return Threat("l2", eps, access=access, levels=levels)


def Minimal(norm: Norm = "l2", *, access: Access = "gradients", levels: int | None = GREY_LEVELS) -> Threat:
    """Return a threat without a budget: the attack looks for the smallest perturbation in this norm."""
    return Threat(norm, None, access=access, levels=levels)


def Region(
    mask: Tensor,
    *,
    norm: Norm | None = None,
    eps: float | None = None,
    access: Access = "gradients",
    levels: int | None = GREY_LEVELS,
) -> Threat:
    """Return a threat in which only pixels inside the mask may change.

    Args:
        mask: bool (H, W); (B, 1, H, W) with one mask per case; or (P, H, W), P places of which each case may
            use one.
    """
    if mask.ndim not in (2, 3, 4):
        shape = tuple(mask.shape)
        raise AttackError(f"mask has shape {shape}; expected (H, W), (P, H, W) or (B, 1, H, W)")
    return Threat(norm, eps, mask.bool(), access=access, levels=levels)


def pixels(levels: Tensor, highest: int = GREY_LEVELS) -> Tensor:
    """Return whole levels as pixels in [0, 1], the same to the last bit on every device.

    The divisor is a tensor: torch divides by a number on a GPU by multiplying by its inverse, which may give
    another last bit.
    """
    return levels / torch.full((), highest, dtype=levels.dtype, device=levels.device)


def linf(delta: Tensor) -> Tensor:
    """Return (B,) the largest absolute component of (B, ...)."""
    return delta.flatten(1).abs().amax(1)


def l2(delta: Tensor) -> Tensor:
    """Return (B,) the Euclidean norm of (B, ...)."""
    return torch.linalg.vector_norm(delta.flatten(1), dim=1)  # type: ignore[no-any-return]


def l0(delta: Tensor) -> Tensor:
    """Return (B,) the number of pixels of (B, C, H, W) at which any channel differs from zero."""
    # octets: torch looks for the largest of them many times as fast as for a True
    return (delta != 0).view(torch.uint8).amax(1).flatten(1).sum(1)


def _eps_label(eps: float, norm: str) -> str:
    levels = eps * GREY_LEVELS
    # only in L-infinity is eps the change of one component, and so a number of 8-bit levels
    if norm == "linf" and 0 < eps < 1 and abs(levels - round(levels)) < 1e-6:
        return f"{round(levels)}/255"
    return f"{eps:g}"
