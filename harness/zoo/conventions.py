"""A wrong convention shows in clean comparisons: another one tells persons apart better than the one given.

Networks of embeddings were trained on RGB or on BGR, on pixels from 0 to 1, 0 to 255 or -1 to 1. One that is
given another order or range still answers, but tells persons apart less well, or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.dataset import Dataset
from harness.errors import ContractError, ModelError, UnwritableError
from harness.files import write_text
from harness.metrics.estimates import FEWEST
from harness.metrics.resampling import Compared, Resampled
from harness.metrics.verification import auc_roc
from harness.model import Model, Preprocessed, Preprocessing, exact
from harness.model.preprocessing import Channels
from harness.options import cache_folder
from harness.parameters import digest_of

PERSONS, IMAGES = 24, 4
"""The most persons, and images of each, that are compared: the passes cost less than an attack on them."""
LEAST = 0.02
"""A smaller difference of AU-ROC is nobody's convention."""
ERROR = 0.01
"""How often a right convention may be doubted, over all alternatives together."""
NEARLY = 0.02
"""Ranges as near as this are the same: (x - 127.5) / 128 is from -1 to 1."""
AT_ONCE = 8192
"""Pairs whose distances are computed at once."""
BATCH = 16
RANGES = {
    "from 0 to 1": Preprocessing(),
    "from 0 to 255": Preprocessing(scale=255),
    "from -1 to 1": Preprocessing(mean=0.5, std=0.5),
}

Ask = Callable[[Tensor], Tensor]
"""Returns embeddings (B, D) of images (B, C, H, W) in [0, 1]."""


@dataclass(frozen=True)
class BetterConvention:
    """A BetterConvention separates genuine from impostor pairs clearly better than the one given."""

    name: str
    """Such as "channels in the order BGR, pixels from 0 to 255"."""
    auc_roc: float
    given: float
    """The AU-ROC of the convention that the model has."""
    low: float
    """The lower end of the interval of their difference, over persons and for all alternatives at once."""
    persons: int

    @property
    def line(self) -> str:
        """Return what was found, and what to do."""
        return (
            f"clean comparisons of {self.persons} persons are told apart better with {self.name}: AU-ROC "
            f"{self.auc_roc:.3f} in place of {self.given:.3f} (better by at least {self.low:.3f}); correct "
            "the model's preprocessing"
        )


def better_convention(
    model: Model, images: Tensor, identities: npt.NDArray[np.int64]
) -> BetterConvention | None:
    """Return the convention that is clearly better than a model's own; None where there is none.

    The order of channels, the range of pixels, and flips are varied. Of the alternative with the largest
    AU-ROC, the difference to the model's own has an interval by resampling persons, at a level that holds
    for all alternatives together; it must exclude 0, and the difference be at least 0.02. Fewer than five
    persons tell nothing.

    Args:
        images: (B, C, H, W) in [0, 1].
        identities: (B,) the person in each image; of some there must be two images.
    """
    persons, codes = np.unique(identities, return_inverse=True)
    if model.head != "embedding" or len(persons) < FEWEST or np.bincount(codes).max() < 2:
        return None
    given = compared(model, partial(model.scores, batch_size=BATCH), images, codes)
    found: dict[tuple[str, ...], Resampled] = {}
    for name, ask in _alternatives(model, images.shape[1]):
        with suppress(ModelError, ContractError):  # it refuses such images
            found[name] = compared(model, ask, images, codes)
    if not found:
        return None
    areas = {name: float(auc_roc(resampled.counts)) for name, resampled in found.items()}
    top = max(areas.values())
    # Of those that are as good, the one that changes least is likelier.
    name = min(areas, key=lambda one: (areas[one] < top - LEAST, len(one), -areas[one]))
    best, own = areas[name], float(auc_roc(given.counts))
    if not best - own >= LEAST:
        return None
    from scipy.special import stdtrit

    spread = float(np.nanstd(auc_roc(found[name].replications) - auc_roc(given.replications), ddof=1))
    low = best - own - float(stdtrit(len(persons) - 1, 1 - ERROR / len(found))) * spread
    return BetterConvention(", ".join(name), best, own, low, len(persons)) if low > 0 else None


def convention_on_card(model: Model, dataset: Dataset, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what the card of a model with weights of others says of its convention; kept in the cache.

    Args:
        identity: everything beside the data set that the model's answers depend on.
    """
    rows = compared_rows(dataset) if model.head == "embedding" else None
    if rows is None:
        return {}
    key = digest_of({**identity, "dataset": dataset.fingerprint, "rows": rows.tolist()})
    file = cache_folder() / "zoo" / "conventions" / f"{key}.json"
    with suppress(OSError, ValueError):
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return kept
    try:
        found = convention_of(model, dataset, rows)
    except Exception:  # whatever fails here fails again, and is reported, where the model is attacked
        return {}
    said = {} if found is None else {"better_convention": {**asdict(found), "line": found.line}}
    with suppress(UnwritableError):
        write_text(file, json.dumps(said))
    return said


def compared_rows(dataset: Dataset) -> npt.NDArray[np.intp] | None:
    """Return some images of some persons, of the test partition if there is one; None of too few."""
    if dataset.identities is None:
        return None
    have = set() if dataset.partitions is None else set(dataset.partitions.tolist())
    rows = dataset.rows(next((name for name in ("test", "validation") if name in have), "all"))
    of: dict[int, list[int]] = {}
    for row in rows.tolist():
        of.setdefault(int(dataset.identities[row]), []).append(row)
    chosen = [own[:IMAGES] for own in of.values() if len(own) > 1][:PERSONS]
    return np.array(list(chain(*chosen)), np.intp) if len(chosen) >= FEWEST else None


def convention_of(model: Model, dataset: Dataset, rows: npt.NDArray[np.intp]) -> BetterConvention | None:
    """Return the convention that is clearly better on some images of a data set with identities."""
    assert dataset.identities is not None
    images = torch.from_numpy(dataset.images(rows)).float() / 255
    return better_convention(model, images, dataset.identities[rows])


def compared(model: Model, ask: Ask, images: Tensor, codes: npt.NDArray[np.intp]) -> Resampled:
    """Compare all pairs of images (B, C, H, W) of persons (B,): the distances of what ``ask`` returns."""
    embeddings = ask(images).cpu()
    first, second = np.triu_indices(len(images), 1)
    parts = []
    with torch.no_grad(), exact(embeddings.device):
        for start in range(0, len(first), AT_ONCE):
            pair = (embeddings[side[start : start + AT_ONCE]] for side in (first, second))
            parts.append(model.distance(*pair))
    distances = torch.cat(parts).double().numpy()
    a, b = codes[first], codes[second]
    return Resampled(Compared(distances, a == b, a, b, int(codes.max()) + 1))


def _alternatives(model: Model, channels: int) -> Iterator[tuple[tuple[str, ...], Ask]]:
    """Yield other conventions by what they change, with what asks the model in them."""
    module = model.module
    if isinstance(module, Preprocessed):
        for names, value in _other_values(module.preprocessing, channels):
            other = replace(model, module=value.wrap(module.network))
            yield names, partial(other.scores, batch_size=BATCH)
    else:
        orders = {"": False} | ({"channels in the other order": True} if channels == 3 else {})
        ranges = (("", 1.0, 0.0), *_other_ranges())
        for (order, swapped), (name, scale, shift) in product(orders.items(), ranges):
            if order or name:
                ask = partial(_asked, model, swapped=swapped, scale=scale, shift=shift)
                yield tuple(filter(None, (order, name))), ask
    yield ("images upside down",), lambda x: model.scores(x.flip(2), batch_size=BATCH)
    yield ("mirrored images",), lambda x: model.scores(x.flip(3), batch_size=BATCH)


def _asked(model: Model, x: Tensor, *, swapped: bool, scale: float, shift: float) -> Tensor:
    return model.scores((x.flip(1) if swapped else x) * scale + shift, batch_size=BATCH)


def _other_values(given: Preprocessing, channels: int) -> Iterator[tuple[tuple[str, ...], Preprocessing]]:
    """Yield the values that differ in the order of channels, in the range of pixels, or in both."""
    other: Channels = "RGB" if given.channels == "BGR" else "BGR"
    turned = replace(given, channels=other, mean=_turned(given.mean), std=_turned(given.std))
    orders = {"": given} | ({f"channels in the order {other}": turned} if channels == 3 else {})
    for order, value in orders.items():
        if order:
            yield (order,), value
        for name, of in RANGES.items():
            if not np.allclose(_ends(of), _ends(given), rtol=NEARLY, atol=NEARLY):
                ranged = replace(value, scale=of.scale, mean=of.mean, std=of.std)
                yield tuple(filter(None, (order, f"pixels {name}"))), ranged


def _other_ranges() -> Iterator[tuple[str, float, float]]:
    """Yield name, scale and shift of pixels for a module that brings them from 0 to 1 to an unknown range."""
    for (own, has), (name, wants) in product(RANGES.items(), RANGES.items()):
        if own != name:
            (black, white), (other_black, other_white) = _ends(has)[0], _ends(wants)[0]
            scale = (other_white - other_black) / (white - black)
            yield (
                f"pixels {name} in place of {own.removeprefix('from ')}",
                scale,
                (other_black - black) / (white - black),
            )


def _ends(preprocessing: Preprocessing) -> tuple[tuple[float, float], ...]:
    """Return what a black and a white pixel become, of each channel."""
    means, stds = (
        one if isinstance(one, tuple) else (one,) * 3 for one in (preprocessing.mean, preprocessing.std)
    )
    return tuple(
        (-mean / std, (preprocessing.scale - mean) / std) for mean, std in zip(means, stds, strict=True)
    )


def _turned(value: float | tuple[float, float, float]) -> float | tuple[float, float, float]:
    return (value[2], value[1], value[0]) if isinstance(value, tuple) else value
