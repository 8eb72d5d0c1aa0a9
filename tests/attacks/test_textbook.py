"""FFA and FGS on quick networks that have learnt something, against plain loops of steps.

The loops are written from the paper's equations, in NumPy and bare torch, and share nothing with the plugin;
some are run on one image at a time. In float64 both must end at the same image. In float32 a score that is
all but 0, and a kink of the network, depend on the last bits, and those on the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

import harness
from harness.dataset import Dataset
from harness.goals import FlipAttribute
from harness.handle import Handle
from harness.judge.trial import Trial, attempt
from harness.model import Model
from harness.specs import Compute
from harness.threat import Minimal
from harness.training import Context, Task
from harness_attacks.ffa import ffa
from harness_attacks.fgs import fgs
from harness_attributes import moon, separate
from harness_faces import synthetic
from tests.flat import flat

Image = npt.NDArray[np.floating[Any]]  # (C, H, W), or several (N, C, H, W), in [0, 1]
Rows = npt.NDArray[np.int64]  # of some of the cases
ATTRIBUTES = ["Male", "Smiling", "Eyeglasses"]
CASES = 72  # of each network: two batches
MOST_STEPS = 20
MOST_ITERATIONS = 20
NOISE = 1e-5  # of scores of size 1: by how much a decision must hold


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, and cases to attack."""

    model: Model
    x: Tensor  # (N, 3, H, W) on the 8-bit grid
    columns: Tensor  # (N,)
    present: Tensor  # (N,) the truth

    @property
    def module(self) -> nn.Module:
        return self.model.module

    @property
    def right(self) -> Tensor:
        """(N,) whether the network is right about the case."""
        scores = self.model.scores(self.x).gather(1, self.columns[:, None])[:, 0]
        return (scores > 0) == self.present

    def goal(self, rows: Tensor) -> FlipAttribute:
        return FlipAttribute(self.columns[rows], self.present[rows])

    def attacked(self, attack: Any, cases: int, compute: Compute = "float32", **params: Any) -> list[Trial]:
        """In batches of 64, as a suite does."""
        return [
            attempt(
                self.model,
                attack,
                self.x[rows],
                self.goal(rows),
                MINIMAL,
                seed=0,
                keys=[str(row) for row in rows.tolist()],
                parameters=params,
                compute=compute,
            )
            for rows in torch.arange(cases).split(64)
        ]

    def attacked_in_double(self, attack: Any, rows: Tensor, **params: Any) -> tuple[Tensor, Tensor]:
        """The images (N, C, H, W) that the attack itself returns in float64, and whether they are others."""
        x = torch.round(self.x[rows].double() * 255) / 255
        self.module.double()
        try:
            objective = self.goal(rows).objective(self.model, self.model.scores(x))
            found = attack(Handle(self.model, len(rows)), x, objective, MINIMAL, rng=None, **params)
        finally:
            self.module.float()
        return found, (found != x).flatten(1).any(1)


def network(kind: str, faces: Dataset, cases: int, layers: dict[str, int], **recipe: Any) -> Network:
    """A quick preset trained on drawn faces, and cases drawn from images that it has not seen."""
    context = Context(0, torch.device("cpu"), lambda share, word: None, lambda identity, make: make())
    task = Task.of(faces)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "moon":
            module: Any = moon.build(task, **layers)
            flat(moon.train)(module, faces, context, **recipe)
        else:
            module = separate.build(task, attributes=ATTRIBUTES, loss=kind, **layers)  # type: ignore[arg-type]
            flat(separate.train)(module, faces, context, **recipe)
    module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    model = harness.wrap_model(module, "attributes")
    rows = faces.rows("test")
    draws = np.random.default_rng(1)
    chosen = rows[draws.integers(0, len(rows), cases)]
    columns = draws.integers(0, len(model.names), cases)
    assert faces.attributes is not None
    truth = faces.attributes[chosen, [faces.attribute_names.index(model.names[column]) for column in columns]]
    x = torch.from_numpy(faces.images(chosen)).float() / 255
    return Network(model, x, torch.from_numpy(columns), torch.from_numpy(truth))


MINIMAL = Minimal("linf")
KINDS = ["moon", "euclidean", "softmax"]


@pytest.fixture(scope="module", params=["short", pytest.param("trained", marks=pytest.mark.slow)])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def networks(size: str) -> dict[str, Network]:
    """A few seconds' training on few images, or that of the quick presets: sharper networks."""
    made = {}
    images, recipe = (500, {"epochs": 4}) if size == "short" else (800, {})
    faces = synthetic.load(size=(24, 20), count=images)
    for kind in KINDS:
        # the joint network, by far the largest, is made smaller
        layers = {"width": 8} | ({"depth": 1} if size == "short" else {}) if kind == "moon" else {}
        made[kind] = network(kind, faces, CASES, layers, **recipe)
        right = made[kind].right.float().mean()
        assert 0.6 < right < 1, "neither untrained nor without natural adversarials"
    return made


# --- the textbook: a loop of steps, in which the cases know nothing of each other --------------------------


@dataclass(frozen=True, eq=False)
class Faces:
    """Cases: the network's score of one attribute of each image."""

    module: nn.Module
    columns: npt.NDArray[np.int64]  # (N,)
    truth: npt.NDArray[np.floating[Any]]  # (N,) -1 or +1
    x: Image  # (N, C, H, W)

    def __len__(self) -> int:
        return len(self.x)

    def outputs(self, x: Tensor, rows: Rows) -> Tensor:
        """The score (n, 1), or the two logits (n, 2), of images (n, C, H, W) of some cases."""
        columns = torch.from_numpy(self.columns[rows])
        logits = getattr(self.module, "logits", None)
        if logits is not None:
            return logits(x, columns)
        if isinstance(self.module, separate.Separate):  # of which the network of the attribute is one
            found = [(columns == column).nonzero()[:, 0] for column in range(len(self.module.networks))]
            parts = [self.module.networks[column](x[at]) for column, at in enumerate(found) if len(at)]
            return torch.cat(parts)[torch.cat(found).argsort()]
        return self.module(x).gather(1, columns[:, None])

    def score(self, images: Image, rows: Rows) -> npt.NDArray[np.floating[Any]]:
        with torch.no_grad():
            outputs = self.outputs(torch.from_numpy(images), rows).numpy()
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]

    @cached_property
    def clean(self) -> npt.NDArray[np.floating[Any]]:
        return self.score(self.x, np.arange(len(self)))

    def flips(self, images: Image, rows: Rows) -> npt.NDArray[np.bool_]:
        score = self.score(images, rows)
        return np.where(self.clean[rows] > 0, score < -NOISE, score > NOISE)

    def ffa(self, images: Image, rows: Rows) -> Image:
        """-∇ 1/2 ||t - f||^2, with t = f but for 0 in place of the score, or of the larger logit."""
        x = torch.from_numpy(images).requires_grad_()
        outputs = self.outputs(x, rows)
        target = outputs.detach().clone()
        target[torch.arange(len(rows)), target.argmax(1)] = 0
        (slope,) = torch.autograd.grad(((target - outputs) ** 2).sum() / 2, x)
        return -slope.numpy()

    def fgs(self, images: Image, rows: Rows) -> Image:
        """sign ∇J of the loss on the true label, against it where the network was wrong on the original."""
        x = torch.from_numpy(images).requires_grad_()
        outputs, truth = self.outputs(x, rows), torch.from_numpy(self.truth[rows])
        if outputs.shape[1] == 2:
            loss = -torch.log_softmax(outputs, 1)[torch.arange(len(rows)), (truth > 0).long()]
        else:
            loss = (outputs[:, 0] - truth) ** 2
        (slope,) = torch.autograd.grad(loss.sum(), x)
        right = (self.clean[rows] > 0) == (self.truth[rows] > 0)
        return np.sign(slope.numpy()) * np.where(right, 1, -1)[:, None, None, None].astype(images.dtype)


def stored(image: Image) -> Image:
    """As an 8-bit file holds it."""
    return np.round(np.clip(image, 0, 1) * 255) / 255


def largest(images: Image) -> npt.NDArray[np.floating[Any]]:
    """Of each image (n, C, H, W)."""
    return np.abs(images).max(axis=(1, 2, 3))


def line_search(faces: Faces, direction: Image, whole: bool) -> list[Image | None]:
    """The image where each binary search ends, or None."""
    size = largest(direction)
    alive = np.flatnonzero(size > 0)
    unit = direction / np.where(size > 0, size, 1)[:, None, None, None]
    low, high, step = np.zeros(len(faces)), np.ones(len(faces)), np.ones(len(faces))

    def at(eps: npt.NDArray[np.float64], rows: Rows) -> Image:
        return stored(
            faces.x[rows] + (eps[rows] / 255).astype(faces.x.dtype)[:, None, None, None] * unit[rows]
        )

    left, flipped = alive, []
    for _ in range(8 if whole else MOST_STEPS):
        there = faces.flips(at(high, left), left) if len(left) else np.zeros(0, np.bool_)
        flipped.append(left[there])
        left = left[~there]
        step[left] *= 2
        low[left], high[left] = high[left], high[left] + step[left]
    found = left = np.concatenate(flipped)
    for _ in range(24):
        if whole:
            wide = high[left] - low[left] > 1
        else:
            wide = np.abs(at(high, left) - at(low, left)).sum(axis=(1, 2, 3)) * 255 >= 1.5
        left = left[wide]
        if not len(left):
            break
        middle = (low + high) // 2 if whole else (low + high) / 2
        there = faces.flips(at(middle, left), left)
        high[left[there]], low[left[~there]] = middle[left[there]], middle[left[~there]]
    ends: list[Image | None] = [None] * len(faces)
    for row, image in zip(found.tolist(), at(high, found), strict=True):
        ends[row] = image
    return ends


def iterations(faces: Faces, follow: Callable[[Image, Rows], Image]) -> list[Image | None]:
    """The image on which the steps of one level end, or None."""
    image, left = faces.x.copy(), np.arange(len(faces))
    ends: list[Image | None] = [None] * len(faces)
    for _ in range(MOST_ITERATIONS):
        direction = follow(image[left], left)
        size = largest(direction)
        left, direction, size = left[size > 0], direction[size > 0], size[size > 0]
        if not len(left):
            break
        step = direction / size[:, None, None, None] / np.asarray(255, image.dtype)
        image[left] = np.clip(image[left] + step, 0, 1)
        there = faces.flips(stored(image[left]), left)
        for row in left[there].tolist():
            ends[row] = stored(image[row])
        left = left[~there]
        if not len(left):
            break
    return ends


def plain(faces: Faces, attack: Any, search: str) -> list[Image | None]:
    follow = faces.fgs if attack is fgs else faces.ffa
    if search == "iterative":
        # the sign keeps images on the grid
        return iterations(faces, follow)
    return line_search(faces, follow(faces.x, np.arange(len(faces))), attack is fgs)


# --- comparisons ------------------------------------------------------------------------------------------

FFA_AND_FGS = [("moon", ffa), ("euclidean", ffa), ("softmax", ffa), ("euclidean", fgs), ("softmax", fgs)]
"""FGS is not applied to joint networks."""
SEARCHES = ["line", "iterative"]


@dataclass(frozen=True, eq=False)
class Pair:
    """The images of both, or None where the decision did not flip."""

    x: Image
    ours: Image | None
    plain: Image | None

    @property
    def levels(self) -> tuple[int | None, int | None]:
        """The largest change in 8-bit levels, of both."""
        return self._levels(self.ours), self._levels(self.plain)

    def _levels(self, image: Image | None) -> int | None:
        return None if image is None else round(float(np.abs(image - self.x).max()) * 255)

    @property
    def apart(self) -> float:
        """8-bit levels of all components together; 0 where neither flipped."""
        if self.ours is None or self.plain is None:
            return 0.0 if self.ours is self.plain else np.inf
        return float(np.abs(np.round(self.ours * 255) - np.round(self.plain * 255)).sum())


def textbook(net: Network, attack: Any, search: str, rows: Tensor, dtype: Any, alone: bool) -> list[Pair]:
    """The textbook's images of some cases, all at once or one after the other; ours are still to come."""
    made = []
    for part in rows.split(1 if alone else max(len(rows), 1)):
        x = (np.round(net.x[part].numpy() * 255) / np.asarray(255, dtype)).astype(dtype)
        truth = np.where(net.present[part].numpy(), 1, -1).astype(dtype)
        faces = Faces(net.module, net.columns[part].numpy(), truth, x)
        made += [Pair(*pair) for pair in zip(x, x, plain(faces, attack, search), strict=True)]
    return made


def pairs_in_double(net: Network, attack: Any, search: str, rows: Tensor, alone: bool = False) -> list[Pair]:
    """Of both in float64."""
    params = {"max_iterations": MOST_ITERATIONS} if search == "iterative" else {}
    images, changed = net.attacked_in_double(attack, rows, search=search, **params)
    net.module.double()
    try:
        made = textbook(net, attack, search, rows, np.float64, alone)
    finally:
        net.module.float()
    return [
        replace(pair, ours=image.numpy() if there else None)
        for pair, image, there in zip(made, images, changed, strict=True)
    ]


def pairs(net: Network, attack: Any, search: str, cases: int) -> list[Pair]:
    """Of both in float32; where their images differ, they are the same in float64."""
    params = {"max_iterations": MOST_ITERATIONS} if search == "iterative" else {}
    trials = net.attacked(attack, cases, search=search, **params)
    assert all(trial.verdict.valid.all() for trial in trials)
    images = [image.numpy() for trial in trials for image in trial.verdict.adversarials]
    success = [there for trial in trials for there in trial.verdict.success.tolist()]
    made = [
        replace(pair, ours=image if there else None)
        for pair, image, there in zip(
            textbook(net, attack, search, torch.arange(cases), np.float32, alone=False),
            images,
            success,
            strict=True,
        )
    ]
    apart = torch.tensor([case for case, pair in enumerate(made) if pair.apart > 0], dtype=torch.long)
    if len(apart):
        assert all(pair.apart == 0 for pair in pairs_in_double(net, attack, search, apart))
    return made


def tell(name: str, made: list[Pair]) -> None:
    found = sum(pair.plain is not None for pair in made)
    steps = sum(pair.levels[0] == pair.levels[1] for pair in made)
    images = sum(pair.apart == 0 for pair in made)
    print(f"{name}: {found} of {len(made)} flip; {steps} same steps, {images} same images")


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize(("kind", "attack"), FFA_AND_FGS)
def test_the_same_image_in_double(networks: dict[str, Network], kind: str, attack: Any, search: str) -> None:
    made = pairs_in_double(networks[kind], attack, search, torch.arange(18))
    made += pairs_in_double(networks[kind], attack, search, torch.arange(18, 22), alone=True)
    tell(f"{attack.__name__} {search} {kind} float64", made)
    assert any(pair.plain is not None for pair in made)
    assert [pair.levels[0] for pair in made] == [pair.levels[1] for pair in made]
    assert all(pair.apart == 0 for pair in made)


@pytest.mark.parametrize(("kind", "attack"), FFA_AND_FGS)
def test_the_same_smallest_step(networks: dict[str, Network], size: str, kind: str, attack: Any) -> None:
    """72 cases of each network, in batches of 64.

    Images may differ where the score crosses 0 several times within a few components, and where a tie in a
    max-pool or the last bits of a gradient send the line elsewhere: those that do are the same in float64,
    which ``pairs`` checks. How many do is up to the networks' weights; one in ten would be too many.
    With sharper, fully trained networks two cases in a hundred may end at another step.
    """
    net = networks[kind]
    made = pairs(net, attack, "line", CASES)
    tell(f"{attack.__name__} line {kind}", made)
    other = sum(pair.levels[0] != pair.levels[1] for pair in made)
    assert other <= (0.02 * CASES if size == "trained" else 0)
    assert sum(pair.apart > 0 for pair in made) <= 0.1 * CASES
    flipped = torch.tensor([pair.plain is not None for pair in made])
    right = net.right
    assert (flipped & right).sum() >= 10
    assert (flipped & ~right).sum() >= (3 if size == "short" else 1)
    coarse = net.attacked(attack, CASES, "bfloat16")
    for pair, image, there in zip(
        made,
        [image for trial in coarse for image in trial.verdict.adversarials],
        [there for trial in coarse for there in trial.verdict.success.tolist()],
        strict=True,
    ):
        assert there == (pair.ours is not None)
        assert pair.ours is None or np.array_equal(image.numpy(), pair.ours)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "attack"), FFA_AND_FGS)
def test_the_same_number_of_levels_step_by_step(networks: dict[str, Network], kind: str, attack: Any) -> None:
    """72 cases of each network, in batches of 64.

    Last bits decide at a kink of the network where the next step goes; and FFA's target, once a temporary
    image has crossed the boundary before its rounding has, swings about it. MOON has the most kinks. Images
    that differ for that reason are the same in float64.
    """
    made = pairs(networks[kind], attack, "iterative", CASES)
    tell(f"{attack.__name__} iterative {kind}", made)
    differ = [pair.levels for pair in made if pair.levels[0] != pair.levels[1]]
    assert len(differ) <= (0.08 if kind == "moon" else 0.02) * CASES
    for ours, theirs in differ:
        assert ours is None or theirs is None or abs(ours - theirs) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_interpolation_flips_the_same_cases_in_fewer_passes(networks: dict[str, Network], kind: str) -> None:
    net = networks[kind]
    forwards, success, steps = [], [], []
    for root in ("bisect", "interpolate"):
        trials = net.attacked(ffa, CASES, root=root)
        forwards.append(torch.cat([trial.forwards for trial in trials]))
        success.append(torch.cat([trial.verdict.success for trial in trials]))
        steps.append(torch.cat([trial.verdict.linf for trial in trials]) * 255)
    found = success[0]
    assert torch.equal(*success)
    assert torch.equal(forwards[0][~found], forwards[1][~found])
    assert forwards[1][found].float().mean() < forwards[0][found].float().mean() - 1.5
    # Where the score crosses 0 more than once in the last section, it may find another crossing of it.
    assert (steps[0].round() == steps[1].round()).float().mean() >= 0.9
