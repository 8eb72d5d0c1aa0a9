"""Support vector machines work on pixels, linear or with a Gaussian kernel (appendix B.4 and B.5).

scikit-learn's SVC finds the support vectors. The kernels are computed by matrix products, which take a
fraction of the time of its own loops over pixels. The trained machine runs in torch, and is differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from harness.dataset import Dataset
from harness.errors import ModelError
from harness.training import Context, StateDict, Task
from harness_bayes.derived_buffers import DerivedBuffers
from harness_bayes.kernel import inner_products, pixels, squared_distances, widths
from harness_bayes.support_vectors import SupportVectors, support_vectors
from harness_bayes.two_class_images import TwoClassImages, check_task, two_class_images

COARSEST = 1 / 16
"""The smallest gamma that is tried, in units of 1 / the median squared distance of two training images."""
FINEST = 4.0
"""The largest gamma that is tried, for which the kernel of two typical images is e^-4; the paper states
neither. With a larger gamma, clean accuracy may stay high, but away from the training images f is almost its
intercept: one class is the decision everywhere, and smaller and smaller changes fool images of the other."""
PER_OCTAVE = 2
"""The number of values of gamma per factor of 2."""
KEEPS = 0.05
"""The accuracy that may be lost for a larger gamma: table 1 reports 86 to 100 %, with a mean of 96 %."""
VALIDATED = 1000
"""The largest number of validation images for the choice of gamma."""


class LinearSvm(nn.Module):
    """LinearSvm maps images (B, C, H, W) in [0, 1] to logits (B, 2), -f/2 and f/2 with f = w x + b.

    The margin is f. It is computed in float64, and cast at the end.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(prod(shape), dtype=torch.float64))  # (D,)
        self.register_buffer("bias", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return _logits(x.flatten(1).to(torch.float64) @ self.weight + self.bias, x)


@dataclass(frozen=True, eq=False)
class _Centred:
    """_Centred holds the support vectors minus their mean, in float64."""

    centre: Tensor  # (D,)
    vectors: Tensor  # (S, D)
    squares: Tensor  # (S,)


class RbfSvm(DerivedBuffers[_Centred]):
    """RbfSvm has f = sum_s a_s exp(-gamma |x - s|^2) + b, over support vectors s, which are 8-bit images.

    Squared distances are sums that cancel, so they are computed around the mean of the support vectors and in
    float64: f is then exact to the last digit of a float32. Products in float32 take half the time, but have
    an error in f of 1e-5 for 64 x 64 x 3, which would disturb searches for the boundary.

    Away from all support vectors, the gradient decreases as exp(-gamma |x - s|^2). With the default choice of
    gamma, this exponent stays below 25 in all of [0, 1] (measured on faces of 64 x 64 and digits of 8 x 8),
    and the gradient above 1e-11. As a float32, it is 0 for exponents beyond about 100.
    """

    support_vectors: Tensor
    coefficients: Tensor
    intercept: Tensor
    gamma: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.hold("support_vectors", (0, *shape), torch.uint8)  # (S, C, H, W)
        self.hold("coefficients", (0,), torch.float64)  # (S,)
        self.hold("intercept", (), torch.float64)
        self.hold("gamma", (), torch.float64)

    def derive(self) -> _Centred:
        """Return the support vectors in the form that ``forward`` multiplies.

        Raises:
            ModelError: there are none yet.
        """
        if not len(self.support_vectors):
            raise ModelError("rbf-svm has no support vectors; train it, or load its weights")
        vectors = pixels(self.support_vectors)
        centre = vectors.mean(0)
        vectors -= centre
        return _Centred(centre, vectors, vectors.square().sum(1))

    def forward(self, x: Tensor) -> Tensor:
        ready = self.derived()
        moved = x.flatten(1).to(torch.float64) - ready.centre  # (B, D)
        squares = moved.square().sum(1, keepdim=True) + ready.squares - 2 * (moved @ ready.vectors.T)
        kernel = (-self.gamma * squares).exp()  # (B, S)
        return _logits(kernel @ self.coefficients + self.intercept, x)


def build_linear(task: Task) -> LinearSvm:
    """Build a linear support vector machine with f = 0 for all images.

    Raises:
        ModelError: the task names another number of classes than two.
    """
    check_task(task)
    return LinearSvm(task.shape)


def build_rbf(task: Task) -> RbfSvm:
    """Build a support vector machine without support vectors.

    Raises:
        ModelError: the task names another number of classes than two.
    """
    check_task(task)
    return RbfSvm(task.shape)


def train_linear(
    module: LinearSvm,
    dataset: Dataset,
    context: Context,
    *,
    images: Annotated[int, Ge(2)] | None = None,
    c: Annotated[float, Gt(0), Lt(1e6)] = 1.0,
) -> None:
    """Find the plane, in place.

    Args:
        images: the largest number of training images to use, the first of each class; None: all. Memory grows
            with their square: 10,000 take 2 GB.
        c: the cost of a training image on the wrong side of the margin.

    Raises:
        DatasetError: there is no training set.
        ModelError: the data set does not have two classes, or its images are all equal.
    """
    found = two_class_images(dataset, "train", images)

    def make() -> StateDict:
        context.report(0.0, f"products of {len(found)} images")
        rows, centre = _rows(found)
        vectors = support_vectors(inner_products(rows, rows, centre), found.labels, c)
        weight = vectors.coefficients @ (rows[vectors.rows] - centre)
        return {"weight": weight, "bias": vectors.intercept - weight @ centre}

    module.load_state_dict(context.unit({"kernel": "linear", "images": len(found), "c": c}, make))
    context.report(1.0, f"plane between {len(found)} images")


def train_rbf(
    module: RbfSvm,
    dataset: Dataset,
    context: Context,
    *,
    images: Annotated[int, Ge(2)] | None = None,
    c: Annotated[float, Gt(0), Lt(1e6)] = 1.0,
    gamma: Annotated[float, Gt(0), Lt(1e9)] | None = None,
    keeps: Annotated[float, Ge(0), Lt(1)] = KEEPS,
    finest: Annotated[float, Gt(0), Lt(1e6)] = FINEST,
) -> None:
    """Find the support vectors, in place, with the largest gamma that keeps the accuracy.

    Args:
        images: the largest number of training images to use, the first of each class; None: all. Memory grows
            with their square: 10,000 take 4 GB.
        c: the cost of a training image on the wrong side of the margin.
        gamma: 1 / (2 sigma^2) of the Gaussian kernel, for pixels in [0, 1]; None: it is searched.
        keeps: the accuracy on validation images, relative to the best gamma, that may be lost for a larger
            gamma.
        finest: the largest gamma that is tried, in units of 1 / the median squared distance of two training
            images.

    Raises:
        DatasetError: there is no training set, or no validation set although gamma is searched.
        ModelError: the data set does not have two classes, or its images are all equal.
    """
    found = two_class_images(dataset, "train", images)
    judged = two_class_images(dataset, "validation", VALIDATED) if gamma is None else None

    def make() -> StateDict:
        context.report(0.0, f"distances of {len(found)} images")
        rows, centre = _rows(found)
        distances = squared_distances(rows, rows, centre)
        if judged is None:
            chosen = gamma or 0.0
            vectors = support_vectors((distances * -chosen).exp_(), found.labels, c)
        else:
            others = squared_distances(pixels(judged.all()), rows, centre)
            trials = _trials(distances, found, others, judged, c, finest, context)
            best = max(trial.accuracy for trial in trials)
            last = [trial for trial in trials if trial.accuracy >= best - keeps][-1]
            chosen, vectors = last.gamma, last.vectors
        return {
            "support_vectors": torch.from_numpy(found.read(vectors.rows.numpy())),
            "coefficients": vectors.coefficients,
            "intercept": vectors.intercept,
            "gamma": torch.tensor(chosen, dtype=torch.float64),
        }

    known = {"images": len(found), "c": c, "gamma": gamma, "keeps": keeps, "finest": finest}
    module.take(context.unit({"kernel": "rbf", **known}, make))
    context.report(1.0, f"gamma {float(module.gamma):.3g}, {len(module.coefficients)} support vectors")


@dataclass(frozen=True, eq=False)
class _Trial:
    gamma: float
    vectors: SupportVectors
    accuracy: float
    """The accuracy on validation images."""


def _trials(
    distances: Tensor,
    found: TwoClassImages,
    others: Tensor,
    judged: TwoClassImages,
    c: float,
    finest: float,
    context: Context,
) -> list[_Trial]:
    """Find the support vectors for each gamma of the grid, the smallest first.

    Args:
        distances: (N, N) the squared distances of the training images ``found``.
        others: (M, N) the squared distances of the validation images ``judged`` from these.
    """
    trials: list[_Trial] = []
    grid = widths(distances, COARSEST, finest, PER_OCTAVE)
    for gamma in grid:
        vectors = support_vectors((distances * -gamma).exp_(), found.labels, c)
        kernel = (others[:, vectors.rows] * -gamma).exp_()
        decided = (kernel @ vectors.coefficients + vectors.intercept > 0).numpy()
        trials.append(_Trial(gamma, vectors, float((decided == judged.labels).mean())))
        context.report(
            len(trials) / (len(grid) + 1),
            f"gamma {gamma:.3g}: accuracy {trials[-1].accuracy:.3f}, {len(vectors.rows)} support vectors",
        )
    return trials


def _rows(found: TwoClassImages) -> tuple[Tensor, Tensor]:
    """Return images as rows (N, D), and their mean (D,).

    Raises:
        ModelError: they are all equal.
    """
    rows = pixels(found.all())
    if (rows == rows[0]).all():
        raise ModelError(f"all training images of {found.dataset.name} are equal; give images that differ")
    return rows, rows.mean(0)


def _logits(f: Tensor, x: Tensor) -> Tensor:
    """Return the logits (B, 2) of decision values (B,), in float32, or in float64 if the images are."""
    both = torch.stack([-f / 2, f / 2], 1)
    return both if x.dtype == torch.float64 else both.float()
