"""Flags are signs that a row tells more of the attack, or of masked gradients, than of a robust model.

After Athalye, Carlini and Wagner 2018, section 3.1 (https://arxiv.org/abs/1802.00420), Carlini et al. 2019,
sections 3 and 5 (https://arxiv.org/abs/1902.06705) and Pintor et al. 2022 (https://arxiv.org/abs/2106.09947).
A flag is raised on evidence in the records alone, counted over the cases that were classified correctly
before the attack; what the records do not say raises none. Each flag has a page in docs/flags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from harness.leaderboard.evidence import Evidence, clearly_more, paired


@dataclass(frozen=True)
class Flag:
    """What a flag says."""

    sign: str
    """What was seen."""
    remedy: str
    """What to do before the row is believed."""


FLAGS: Mapping[str, Flag] = {
    "randomised-model": Flag(
        "the model gave different answers to the same images",
        "every number of it is one random sample; fix its random numbers, or attack its expectation",
    ),
    "batch-dependent": Flag(
        "the model's answer to an image depends on the other images of the batch",
        "no rate of it can be repeated; let batch normalisation use running statistics, and normalise each "
        "image by itself",
    ),
    "constant-decisions": Flag(
        "the model's decisions are the same for every image",
        "nothing can attack what never changes; look at its outputs, their signs and its input's range",
    ),
    "probabilities": Flag(
        "every output of the model is between 0 and 1, as those of a sigmoid or softmax",
        "return the scores before it: attributes are present above 0, and saturated outputs mask gradients",
    ),
    "worse-than-chance": Flag(
        "the model is right no more often than a guess",
        "look at its weights, at the range of its input, [0, 1], and at the order of its outputs",
    ),
    "zero-gradients": Flag(
        "the attack asked for gradients, and in some cases never got one that was not zero",
        "no robustness is shown; attack a differentiable substitute for what blocks the gradient, "
        "or without gradients",
    ),
    "noise-as-strong": Flag(
        "random noise of the same budget, or on the same pixels, succeeds as often as this gradient attack",
        "its gradients lead nowhere; look for masked gradients, or for a mistake in the attack",
    ),
    "black-box-stronger": Flag(
        "an attack that sees no gradients succeeds clearly more often than all that see them",
        "believe the black-box attack; look for masked gradients",
    ),
    "not-rising-with-budget": Flag(
        "the attack succeeds no more often with a larger budget than with a smaller one",
        "look for masked gradients, or for a step size that does not grow with the budget",
    ),
    "unbounded-below-100": Flag(
        "an attack that may change everything does not succeed on every case",
        "attack longer; what is left is out of this attack's reach, and not robust",
    ),
    "not-converged": Flag(
        "the attack still succeeded on new cases in its last forward passes",
        "give it more iterations or restarts, until the rate stays the same",
    ),
    "lost-by-rounding": Flag(
        "images that reached the goal lost it when they were rounded to 8 bits",
        "let the attack check rounded images or go further past the boundary; the model is weaker than shown",
    ),
    "few-false-matches": Flag(
        "the verifier's threshold rests on fewer than 30 false matches",
        "its false match rate is not known to a third of it; calibrate on more persons, or at a larger rate",
    ),
}
"""All flags by name, in the order in which boards name them."""

OF_MODELS = frozenset(list(FLAGS)[:5])
"""Flags of the model itself, which come of its clean answers. It is given no rank among the others."""

# What counts as evidence. The pages of docs/flags give the reasons at length.
FEWEST = 2
"""A single case is an accident."""
ZERO_SHARE = 0.05
"""zero-gradients: an exact zero is hardly ever met by chance; a dead unit or two stay below this."""
NOISE_SHARE = 0.05
"""noise-as-strong: below, noise succeeds only on images that lie at the decision boundary."""
LEVEL = 0.01
"""The level of the sign tests; a board makes dozens of them."""
CLEAR_SHARE = 0.01
"""black-box-stronger: a significant difference of fewer cases would change no conclusion."""
RATIO = 1.5
"""not-rising-with-budget: the least ratio of two budgets that are compared."""
EXPECTED = 5.0
"""not-rising-with-budget: the number of clusters (persons where known, else images) on which more
successes were expected.

Where five are expected, there is none with a probability of e^-5, 0.7 %.
"""
UNBOUNDED_LINF = 0.5
"""unbounded-below-100: a budget in L-infinity within which every image can become the same grey one."""
LATE_SHARE = 0.025
"""not-converged: a share of the cases.

Attacks whose rate has settled still find up to so many successes in the last tenth of their forward passes,
since the cases at the edge of the budget take that long.
"""
LATE_IMAGES = 3
LOST_SHARE = 0.01
"""lost-by-rounding: less does not change a rate's first decimals."""

Rows = Sequence[Evidence]


def raised(rows: Rows) -> list[frozenset[str]]:
    """Return the flags of each row, of the rows of one dataset, model and goal."""
    alone = [{name for name, rule in _ALONE.items() if rule(row)} for row in rows]
    for name, compare in _COMPARED.items():
        for at in compare(rows):
            alone[at].add(name)
    return [frozenset(found) for found in alone]


def of_models(cells: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Return the flags that each data set and model of some cells has by the model's clean answers."""
    found: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        told = found.setdefault((cell["dataset"], cell["model"]), set())
        told.update(name for name in (cell.get("model_flags") or "").split(",") if name)
        if cell.get("randomised") is True:
            told.add("randomised-model")
    return found


def label(names: Iterable[str]) -> str:
    """Write flags as the board's column has them, "zero-gradients, not-converged"; none are an empty text."""
    names = set(names)
    return ", ".join(name for name in FLAGS if name in names)


def _zero_gradients(row: Evidence) -> bool:
    found = row.traces
    return row.sees_gradients and found.zero_gradients >= max(FEWEST, ZERO_SHARE * found.gradients_asked)


def _lost_by_rounding(row: Evidence) -> bool:
    return row.traces.lost_by_rounding >= max(FEWEST, LOST_SHARE * row.traces.rounded)


def _unbounded_below_100(row: Evidence) -> bool:
    if row.regional or row.transferred or "universal" in row.traits:
        return False
    unbounded = "unbounded" in row.traits and row.eps is None
    wide = row.budget is not None and row.norm == "linf" and row.budget[1] >= UNBOUNDED_LINF
    fixed = row.sees_gradients and row.budget_kind != "minimal"
    return row.traces.not_reached > 0 and (unbounded or (wide and fixed))


def _not_converged(row: Evidence) -> bool:
    # An attack that looks for the smallest perturbation improves until it ends, and is meant to. One that
    # learns on many images at once finds them all at once.
    if not row.sees_gradients or row.budget_kind in (None, "minimal") or "universal" in row.traits:
        return False
    if row.eps is None and not row.regional:
        return False
    found = row.traces
    # Where the attack has succeeded on nearly all cases, more iterations cannot help.
    if found.late_images < LATE_IMAGES or found.cases - found.successes < LATE_SHARE * found.cases:
        return False
    return found.late_share > LATE_SHARE


def _noise_as_strong(rows: Rows) -> set[int]:
    """Find gradient attacks that do no better than noise of the same norm and budget, or on the same pixels.

    Noise must have a share of successes that counts, and successes that the gradient attack does not have, no
    fewer than the other way round. Where both succeed on the same cases, these may be all that can be had.
    """
    found = set()
    for noise in rows:
        if "random" not in noise.traits or noise.transferred or noise.bounds is None:
            continue
        for at, row in enumerate(rows):
            if not _for_each_image(row) or row.bounds != noise.bounds:
                continue
            pair = paired(noise, [row])
            wins, losses = pair.wins()
            strong = pair.one.sum() >= NOISE_SHARE * pair.one.size
            if strong and wins >= max(FEWEST, losses):
                found.add(at)
    return found


def _black_box_stronger(rows: Rows) -> set[int]:
    """Find gradient attacks in whose budget a black-box attack does better than all that see gradients.

    Images are compared by their distances, so that attacks under other threats count where they kept to this
    budget. Without a budget only attacks are flagged that reach everything if anything can.
    """
    seeing = [row for row in rows if row.sees_gradients]
    found = set()
    for budget in dict.fromkeys(row.budget for row in seeing if not row.regional):
        flagged = [
            at
            for at, row in enumerate(rows)
            if _anywhere(row) and row.budget == budget and (budget is not None or "unbounded" in row.traits)
        ]
        if not flagged:
            continue
        for row in rows:
            if not row.is_black_box:
                continue
            pair = paired(row, seeing, budget)
            more = int(pair.one.sum()) - int(pair.other.sum())
            if more >= CLEAR_SHARE * pair.one.size and clearly_more(*pair.wins(), LEVEL):
                found.update(flagged)
                break
    return found


def _not_rising(rows: Rows) -> set[int]:
    """Find attacks that do no better with a larger budget, although they should.

    How many more successes are expected follows from the smaller budget's rate r: if each unit of the budget
    succeeded on the same share of the cases that are left, (1 - r)^k of all would be left at k times the
    budget. An attack is found, too, where the larger budget has clearly fewer successes.
    """
    found = set()
    for (_, small), (at, large) in permutations(enumerate(rows), 2):
        if small.attack != large.attack or small.norm != large.norm or small.regional != large.regional:
            continue
        if not small.eps or not large.eps or large.eps < RATIO * small.eps * (1 - 1e-9):
            continue
        if small.transferred or large.transferred or "random" in large.traits:
            continue
        pair = paired(large, [small])
        if not pair.other.any() or pair.other.all():
            continue
        rate = pair.other.mean()
        expected = pair.open_clusters() * (1 - (1 - rate) ** (large.eps / small.eps - 1))
        wins, losses = pair.wins()
        flat = pair.one.sum() <= pair.other.sum() and expected >= EXPECTED
        if flat or clearly_more(losses, wins, LEVEL):
            found.add(at)
    return found


def _for_each_image(row: Evidence) -> bool:
    """Say whether an attack follows each image's own gradients: one change for all is weaker by design."""
    return row.sees_gradients and "universal" not in row.traits


def _anywhere(row: Evidence) -> bool:
    """Say whether an attack follows each image's own gradients, anywhere in it."""
    return _for_each_image(row) and not row.regional


_ALONE: Mapping[str, Callable[[Evidence], bool]] = {
    "zero-gradients": _zero_gradients,
    "unbounded-below-100": _unbounded_below_100,
    "not-converged": _not_converged,
    "lost-by-rounding": _lost_by_rounding,
}
_COMPARED: Mapping[str, Callable[[Rows], set[int]]] = {
    "noise-as-strong": _noise_as_strong,
    "black-box-stronger": _black_box_stronger,
    "not-rising-with-budget": _not_rising,
}
