"""Weights that users have are fitted to a FaceNet, whatever their prefix and whichever names they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from harness.errors import ModelError
from harness.training import StateDict, read_weights
from harness_facenet.network import FaceNet

LAST = ("embedding", "fc", "fc.0", "fc.1", "last_linear", "logits", "head", "linear")
"""What others call the layer that answers the embedding."""
UNCOUNTED = "num_batches_tracked"
"""A count of batch norms that says nothing of the weights, and that old files lack."""


@dataclass(frozen=True)
class Fit:
    """A Fit says which tensors of a file a network took, and which it did not."""

    weights: StateDict
    """All weights of the network: taken, and its own where the file had none that fit."""
    taken: int
    prefix: str
    left: tuple[str, ...]
    """The names in the file that the network has no place for, or a place of another shape."""
    own: tuple[str, ...]
    """The network's layers that begin as they were."""

    @property
    def line(self) -> str:
        """Return the outcome in one line."""
        told = [f"{self.taken} tensors taken"]
        if self.prefix:
            told[0] += f' under "{self.prefix}"'
        for what, names in (("left in the file", self.left), ("not in it", self.own)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                told.append(f"{what}: {', '.join(names[:3])}{more}")
        return "; ".join(told)


def fit_weights(net: FaceNet, path: Path) -> Fit:
    """Fit a file's tensors to a network; nothing is unpickled, and the network is not changed.

    The names of the backbone are this network's, or torchvision's ("layer1.0.conv1.weight"), after any prefix
    such as "module." or "model.". The layer of the embedding is taken where one of the usual names has its
    shape; a classifier is left.

    Raises:
        ModelError: the file is missing or refused, or lacks a tensor of the backbone, or has it in another
            shape.
    """
    given = read_weights(path, "start weights")
    own = net.state_dict()
    body = [name.removeprefix("body.") for name in own if name.startswith("body.")]
    prefix = _prefix(given, body[0], path)
    found: StateDict = {}
    used: set[str] = set()
    for name in body:
        place, theirs = f"body.{name}", prefix + name
        if theirs in given:
            if given[theirs].shape != own[place].shape:
                there, here = tuple(given[theirs].shape), tuple(own[place].shape)
                raise ModelError(
                    f"start weights {path} have {theirs} of shape {there}, but it needs {here}; "
                    "give the backbone and width that they are of"
                )
            found[place] = given[theirs]
            used.add(theirs)
        elif not name.endswith(UNCOUNTED):
            raise ModelError(
                f"start weights {path} lack {theirs}; give weights of the backbone {net.design.backbone} "
                "under torchvision's names"
            )
    last = _last(given, prefix, own)
    for kind in ("weight", "bias"):
        if last is not None and f"{last}.{kind}" in given:
            found[f"embedding.{kind}"] = given[f"{last}.{kind}"]
            used.add(f"{last}.{kind}")
    if last is not None and f"{last}.bias" not in given:
        found["embedding.bias"] = own["embedding.bias"] * 0  # it had none
    return Fit(
        {**own, **{name: tensor.to(own[name].dtype) for name, tensor in found.items()}},
        len(used),
        prefix,
        tuple(name for name in given if name not in used and not name.endswith(UNCOUNTED)),
        tuple(name for name in own if name not in found and not name.endswith(UNCOUNTED)),
    )


def _prefix(given: Mapping[str, Tensor], first: str, path: Path) -> str:
    """Return what stands before the names of the backbone; the shortest, where there are several."""
    found = [name.removesuffix(first) for name in given if name == first or name.endswith(f".{first}")]
    if not found:
        named = ", ".join(list(given)[:3])
        raise ModelError(
            f"start weights {path} have no {first}, under any prefix; they have {named}, …; "
            "give a backbone under torchvision's names"
        )
    return min(found, key=len)  # blocks have a first convolution, too


def _last(given: Mapping[str, Tensor], prefix: str, own: Mapping[str, Tensor]) -> str | None:
    """Return the name of a layer with the shape of the embedding's; None where there is none."""
    above = prefix.removesuffix("body.")
    for name in dict.fromkeys((*(prefix + last for last in LAST), *(above + last for last in LAST), *LAST)):
        weight = given.get(f"{name}.weight")
        if weight is not None and weight.shape == own["embedding.weight"].shape:
            return name
    return None
