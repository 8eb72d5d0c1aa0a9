"""Recipes and attacks of the paper are recognised by their parameters here; its numbers are quoted.

Arvinte et al., Robust Face Verification via Disentangled Representations.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.analysis.comparisons import CLEAN, Attacked, Verifier

PROPOSED, WEAK, DOA, NONE = "proposed", "weak", "doa", "none"
RECIPES = (PROPOSED, WEAK, DOA, NONE)
PATCHES = ("eyeglasses", "square", "universal-patch")
"""The attacks of tables 1 and 2."""
NAMES = {
    CLEAN: "no attack",
    "eyeglasses": "eyeglasses",
    "square": "square patch",
    "universal-patch": "eye patch",
}
DIRECT, INDIRECT = "direct", "indirect"


@dataclass(frozen=True)
class Published:
    """A row of table 1 or 2: AU-ROC without an attack, and AU-ROC and AU-PR under each of ``PATCHES``."""

    name: str
    place: str
    clean: float
    attacked: tuple[tuple[float, float], ...]

    def areas(self, condition: str) -> tuple[float, float | None]:
        """Return AU-ROC and AU-PR. No clean AU-PR is known: that of table 2 repeats the eyeglasses'."""
        return (self.clean, None) if condition == CLEAN else self.attacked[PATCHES.index(condition)]


TABLE_1 = (
    Published("Ours, Basic", "table 1", 0.957, ((0.773, 0.809), (0.742, 0.785), (0.775, 0.789))),
    Published("Ours, Mirroring", "table 1", 0.959, ((0.812, 0.845), (0.789, 0.825), (0.791, 0.804))),
    Published("Ours, Selection", "table 1", 0.976, ((0.831, 0.868), (0.809, 0.848), (0.884, 0.895))),
    Published("Ours, Both", "table 1", 0.978, ((0.868, 0.896), (0.850, 0.882), (0.893, 0.903))),
    Published("Weak AT", "table 1", 0.886, ((0.704, 0.726), (0.700, 0.722), (0.571, 0.556))),
    Published("DOA, C = 4", "table 1", 0.972, ((0.830, 0.873), (0.836, 0.873), (0.826, 0.844))),
    Published("DOA, C = 10", "table 1", 0.967, ((0.843, 0.878), (0.831, 0.864), (0.879, 0.886))),
)
OURS = {
    (False, False): "Ours, Basic",
    (True, False): "Ours, Mirroring",
    (False, True): "Ours, Selection",
    (True, True): "Ours, Both",
}
"""The rows of the proposed recipe, with mirroring and with selection of the reference."""
TABLE_2 = (Published("Without AT", "table 2", 0.977, ((0.590, 0.669), (0.695, 0.757), (0.657, 0.608))),)


def recipe_of(verifier: Verifier) -> str | None:
    """Return by which of the paper's recipes a model was trained; None where by none."""
    recipe = verifier.parameters.get("recipe")
    return recipe if recipe in RECIPES else None


def places_of(verifier: Verifier) -> int | None:
    """Return C, the number of places that DOA tries."""
    return int(verifier.parameters.get("places", 0)) or None


def mirrors(verifier: Verifier) -> bool:
    """Say whether probes are compared together with their mirror images; where it is not told, they are."""
    return bool(verifier.settings.get("mirror", True))


def selects(verifier: Verifier) -> bool:
    """Say whether the reference is the image nearest to the person's others; where it is not told, it is."""
    return not verifier.settings or verifier.settings.get("selection") == "nearest"


def published_of(verifier: Verifier) -> Published | None:
    """Return the paper's row of a model's recipe; other recipes than the proposed one have one for both.

    "Both" are mirroring and selection of the reference.
    """
    recipe, both = recipe_of(verifier), (mirrors(verifier), selects(verifier))
    if recipe != PROPOSED and not all(both):
        return None
    name = {PROPOSED: OURS[both], WEAK: "Weak AT", NONE: "Without AT"}.get(recipe or "")
    if recipe == DOA:
        name = f"DOA, C = {places_of(verifier)}"
    return next((row for row in (*TABLE_1, *TABLE_2) if row.name == name), None)


def anchor_of(attacked: Attacked) -> str:
    """Return whose embedding an attack approaches: the reference's, or that of an image drawn of it."""
    return str(attacked.parameters.get("anchor") or DIRECT)


def patches_on(verifier: Verifier) -> list[Attacked]:
    """Return the impersonations of tables 1 and 2 that have an outcome."""
    found = [one for one in verifier.of("impersonate") if one.kind in PATCHES and anchor_of(one) == DIRECT]
    return [one for one in found if len(one.cases)]
