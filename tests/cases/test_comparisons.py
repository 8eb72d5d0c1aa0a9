"""Comparisons of faces: what is drawn, how far apart, and the thresholds, against plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from harness.cases.comparisons import Drawn, Verifier, distances as products, draw_comparisons
from harness.cases.comparisons.distances import distances, mean_distances
from harness.cases.comparisons.examined import separation, some_people
from harness.cases.comparisons.thresholds import allowed, threshold_at
from harness.cases.pairs import count_pairs, pairs_of
from harness.dataset import Dataset
from harness.errors import DatasetError, ModelError
from harness.goals import mirrored
from harness.model import cosine_distance, euclidean, squared_euclidean, wrap_model
from harness.plan.comparisons import Comparisons

PEOPLE, EACH = 12, 10


def faces(*, partitions: bool = True, each: int = EACH, **more: Any) -> Dataset:
    """Random images of some persons, who take turns."""
    count = PEOPLE * each
    who = np.arange(count) % PEOPLE
    names = np.array(["train", "validation", "test"])[who % 3] if partitions else None
    pixels = np.random.default_rng(3).integers(0, 256, (count, 3, 4, 4)).astype(np.uint8)
    return Dataset(
        "faces",
        [f"{number:03d}.png" for number in range(count)],
        (3, 4, 4),
        lambda rows: pixels[rows],
        "print",
        identities=more.pop("identities", who),
        partitions=names,
        **more,
    )


def drawn(dataset: Dataset | None = None, *, seed: int = 0, limit: int | None = None, **keys: Any) -> Drawn:
    return draw_comparisons(Comparisons(**keys), dataset or faces(), seed, limit, "x")


class Looks(nn.Module):
    """The pixels of an image, in steps so coarse that many distances are equal."""

    def __init__(self, steps: int = 2) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) * self.steps).round()


def verifier(one: Drawn, module: nn.Module | None = None, distance: Any = None) -> Verifier:
    plain = wrap_model(module or Looks(), "embedding", distance=distance)
    model = mirrored(plain) if one.settings.mirror else plain

    def answers(rows: np.ndarray) -> Tensor:
        return model.scores(torch.from_numpy(one.dataset.images(rows)) / 255)

    return Verifier(model, plain.distance, one, answers, "x: model")


def cases(one: Drawn, *, same: bool, **how: Any) -> list[tuple[str, str, str | None]]:
    class Cell:
        goal = "evade" if same else "impersonate"

    found = pairs_of(Cell(), one.dataset, verifier(one, **how), same=same)  # type: ignore[arg-type]
    assert found.references is not None
    assert len(found) == count_pairs(one, same=same) == len(set(found.keys))
    ids = one.dataset.ids
    return [(ids[a], ids[b], t) for a, b, t in zip(found.rows, found.references, found.targets, strict=True)]


def people_of(one: Drawn, rows: np.ndarray) -> set[str]:
    return {one.people[int(row)] for row in rows}


# --- who is compared --------------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [True, False])
def test_nobody_who_is_attacked_calibrates(partitions: bool) -> None:
    one = drawn(faces(partitions=partitions))
    attacked, calibration = (people_of(one, split.pool) for split in (one.attacked, one.calibration))
    assert attacked
    assert calibration
    assert not attacked & calibration
    if partitions:
        assert calibration == {"1", "4", "7", "10"}
    else:
        assert len(attacked) == len(calibration) == PEOPLE // 2


def test_one_partition_for_both_is_divided_by_person() -> None:
    one = drawn(attacked="test", calibration="test")
    attacked, calibration = (people_of(one, split.pool) for split in (one.attacked, one.calibration))
    assert attacked | calibration == {"2", "5", "8", "11"}
    assert len(attacked) == len(calibration) == 2


def test_people_of_both_partitions_do_not_calibrate() -> None:
    names = np.where(np.arange(PEOPLE * EACH) < 60, "validation", "test")
    dataset = faces(partitions=False)
    object.__setattr__(dataset, "partitions", names)
    with pytest.raises(DatasetError, match='all persons of "validation" are in "test", too'):
        drawn(dataset)


def test_without_identities_nobody_is_compared() -> None:
    with pytest.raises(DatasetError, match=r"who its images show; .* name a file of pairs"):
        drawn(faces(identities=None))


def test_a_number_of_persons_that_must_be_met_is_not_shrunk() -> None:
    """Of the 12 persons, 4 are in each partition."""
    told = (
        'x.comparisons.targets = 5, but of the 4 persons of "test" 4 have the 9 images .* write targets = 4'
    )
    with pytest.raises(DatasetError, match=told):
        drawn(targets=5, exact=("targets",))
    with pytest.raises(DatasetError, match=r'calibration_targets = 6, but of the 4 persons of "validation"'):
        drawn(targets=5, calibration_targets=6, exact=("calibration_targets",))
    for met in (4, "all"):
        assert len(drawn(targets=met, exact=("targets",), limit=1).attacked.targets) == 4
    few = drawn(targets=5, calibration_targets=4)
    assert few.persons == {
        "targets": {"asked": 5, "drawn": 4},
        "calibration_targets": {"asked": 4, "drawn": 4},
    }
    assert few.shortage == ["targets = 5, but only 4 persons have enough images; all are taken"]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DatasetError, match="of 4 persons of the attacked images 0 have 12 images"):
        drawn(genuine=11)


@pytest.mark.parametrize("same", [True, False])
def test_fewer_cases_are_part_of_more(same: bool) -> None:
    """Fewer persons, fewer images, and a limit."""
    whole = cases(drawn(), same=same)
    for fewer in ({"targets": 2}, {"intruders": 3, "genuine": 3}, {"cases": 5}, {"limit": 5}):
        few = cases(drawn(**fewer), same=same)  # type: ignore[arg-type]
        assert set(few) < set(whole), fewer
        assert few
    assert len(cases(drawn(cases=5), same=same)) == 5
    assert whole != cases(drawn(seed=1, targets=2), same=same)


def test_more_images_in_a_data_set_keep_the_order_of_the_others() -> None:
    """The order in which images are drawn for a person does not depend on what else there is."""
    orders = []
    for one in (drawn(faces(each=6), genuine=4), drawn(faces())):
        person = next(person for person in one.attacked.targets if person.name == "2")
        order = one.order(person, one.others(one.attacked, person))
        orders.append([one.dataset.ids[row] for row in order])
    small, large = orders
    assert small == [name for name in large if name in small]
    assert small != sorted(small)
    assert len(small) < len(large)


def test_cases_are_pairs_of_the_goal() -> None:
    one = drawn(references=2, genuine=4, intruders=5)
    who = {
        name: str(identity) for name, identity in zip(one.dataset.ids, one.dataset.identities, strict=True)
    }  # type: ignore[arg-type]
    for same in (True, False):
        found = cases(one, same=same)
        assert all((who[probe] == target) == same for probe, _, target in found)
        assert all(who[reference] == target and probe != reference for probe, reference, target in found)
        enrolled = {(reference, target) for _, reference, target in found}
        assert len(enrolled) == 2 * 4
        # A reference is never a probe of its own person.
        assert not same or not {probe for probe, _, _ in found} & {reference for reference, _ in enrolled}


def test_every_probe_may_be_known_before_the_model() -> None:
    for keys in ({}, {"genuine": 3, "references": 2}, {"selection": "first"}):
        one = drawn(**keys)  # type: ignore[arg-type]
        names = {one.dataset.ids[row] for row in one.probes}
        for same in (True, False):
            assert {probe for probe, _, _ in cases(one, same=same)} <= names


# --- references and distances -----------------------------------------------------------------------------


def test_the_reference_is_nearest_to_the_persons_others() -> None:
    one = drawn(references=2, mirror=True)
    found = verifier(one)
    for person in one.attacked.targets:
        plain = one.dataset.images(person.rows).reshape(EACH, -1) / 255
        plain = np.round(plain.astype(np.float32) * 2)
        mean = np.sqrt(((plain[:, None] - plain[None]) ** 2).sum(-1)).sum(1) / (EACH - 1)
        nearest = person.rows[np.argsort(mean.round(4), kind="stable")[:2]]
        assert found.references(one.attacked, person).tolist() == nearest.tolist()
    first = verifier(drawn(references=2, selection="first"))
    for person in first.drawn.attacked.targets:
        assert first.references(first.drawn.attacked, person).tolist() == person.rows[:2].tolist()


def city_block(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().sum(1)


@pytest.mark.parametrize(
    "distance", [euclidean, squared_euclidean, cosine_distance, F.pairwise_distance, city_block]
)
def test_distances_of_many_pairs_are_those_of_each(distance: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(40, 32, generator=generator) + 3
    references = torch.randn(7, 32, generator=generator) + 3
    probes[5], probes[6] = references[2], references[2] + 1e-4
    found = distances(distance, probes, references)
    wanted = torch.stack([distance(probes, reference.expand_as(probes)) for reference in references], 1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found[5, 2] <= 1e-5
    turned = probes.flip(1)
    again = torch.stack([distance(turned, reference.expand_as(turned)) for reference in references], 1)
    both = mean_distances(distance, torch.cat([probes, turned], 1), references, mirrored=True)
    torch.testing.assert_close(both, (wanted + again) / 2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("distance", [euclidean, squared_euclidean, cosine_distance])
@pytest.mark.parametrize("offset", [0.0, 1.0, 80.0, 300.0])
def test_blocks_and_distant_centres_lose_no_digits(
    distance: Callable[..., Tensor], offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against float64, in blocks of two probes; some are as near as a rounding, in one view or in both."""
    monkeypatch.setattr(products, "BLOCK", 60)
    generator = torch.Generator().manual_seed(1)
    probes, references = (torch.randn(count, 64, generator=generator) + offset for count in (9, 15))
    mirrored = probes[:, torch.randperm(64, generator=generator)].clone()
    probes[3], mirrored[3] = references[2] + 1e-3, references[2]
    probes[4] = references[5]
    found = mean_distances(distance, torch.cat([probes, mirrored], 1), references, mirrored=True)
    sides = [
        torch.stack([distance(side, other.expand_as(side)) for other in references.double()], 1)
        for side in (probes.double(), mirrored.double())
    ]
    torch.testing.assert_close(found.double(), (sides[0] + sides[1]) / 2, atol=2e-5, rtol=1e-4)
    alone = distances(distance, probes, references)
    torch.testing.assert_close(alone.double(), sides[0], atol=2e-5, rtol=1e-4)


def test_embeddings_that_are_all_alike_are_no_distance_apart() -> None:
    same = torch.full((5, 64), 7.3)
    assert (distances(squared_euclidean, same, same) == 0).all()


def test_a_distance_that_fails_is_an_error_of_the_model() -> None:
    def broken(a: Tensor, b: Tensor) -> Tensor:
        raise ValueError("no such pairs")

    with pytest.raises(ModelError, match="distance failed: ValueError: no such pairs"):
        distances(broken, torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ModelError, match=r"\(2, 2\), not \(B,\)"):
        distances(torch.mm, torch.zeros(2, 2), torch.zeros(2, 2))


# --- all clean comparisons --------------------------------------------------------------------------------


def told(one: Drawn, split: str, **how: Any) -> list[tuple[int, int, bool, float]]:
    found = verifier(one, **how)
    rows = []
    for block in found.clean(getattr(one, split)):
        rows += list(
            zip(
                block.probes.tolist(),
                block.references.tolist(),
                block.same.tolist(),
                block.distances.tolist(),
                strict=True,
            )
        )
    return rows


@pytest.mark.parametrize("mirror", [True, False])
def test_clean_comparisons_are_those_of_a_double_loop(mirror: bool) -> None:
    one = drawn(references=2, mirror=mirror, targets=3)
    found = verifier(one)
    identities = one.dataset.identities
    assert identities is not None
    images = one.dataset.images(np.arange(len(one.dataset))).astype(np.float32) / 255
    plain, turned = (np.round(part.reshape(len(part), -1) * 2) for part in (images, images[..., ::-1]))
    wanted = {}
    for person in one.attacked.targets:
        enrolled = found.references(one.attacked, person)
        for reference in enrolled:
            for probe in one.attacked.pool:
                own = str(identities[probe]) == person.name
                if own and probe in enrolled:
                    continue
                apart = [np.linalg.norm(side[probe] - plain[reference]) for side in (plain, turned)]
                wanted[probe, reference, own] = np.mean(apart) if mirror else apart[0]
    made = told(one, "attacked")
    assert len(made) == len(wanted)
    for probe, reference, own, apart in made:
        assert apart == pytest.approx(wanted[probe, reference, own], abs=1e-4)


def test_so_many_clean_comparisons_are_made_as_are_asked_for() -> None:
    made = told(drawn(clean_intruders=7, clean_genuine=3, calibration_targets=2), "calibration")
    assert len(made) == 2 * (7 + 3)
    assert sum(own for _, _, own, _ in made) == 2 * 3
    whole = told(drawn(), "calibration")
    assert {(a, b) for a, b, _, _ in made} < {(a, b) for a, b, _, _ in whole}


def test_chunks_change_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(drawn(mirror=True), "calibration", distance=city_block)
    monkeypatch.setattr("harness.cases.comparisons.verifier.PAIRS", 50)
    monkeypatch.setattr(products, "PAIRS", 50)
    assert told(drawn(mirror=True), "calibration", distance=city_block) == whole


def test_each_image_is_embedded_once() -> None:
    """The answers are asked for row by row; what they cost is the business of who keeps them."""
    one = drawn(mirror=True, fmr=(0.1, 0.2, 0.3))
    found = verifier(one)
    asked: list[int] = []

    def answers(rows: np.ndarray) -> Tensor:
        asked.extend(rows.tolist())
        return found.answers(rows)

    noted = Verifier(found.model, found.distance, one, answers, "x")
    assert noted.points
    assert set(asked) == set(one.rows.tolist())


# --- thresholds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmr", [0.5, 0.1, 0.29, 0.01, 1e-3, 1e-4])
@pytest.mark.parametrize("count", [1, 7, 100, 1000])
@pytest.mark.parametrize("ties", [True, False])
def test_a_threshold_is_the_largest_with_its_rate(fmr: float, count: int, ties: bool) -> None:
    generator = np.random.default_rng([count, int(1e6 * fmr)])
    apart = generator.random(count).astype(np.float32)
    apart = np.sort(np.round(apart * 9) if ties else apart)
    found = threshold_at(apart, allowed(fmr, count))
    assert np.count_nonzero(apart < found) / count <= fmr
    # The next larger distance accepts more than are allowed.
    higher = np.nextafter(np.float32(found), np.float32(np.inf))
    assert np.count_nonzero(apart < higher) / count > fmr


def test_rates_are_counted_exactly() -> None:
    assert allowed(0.29, 100) == 29  # 0.29 * 100 is 28.999999999999996
    assert allowed(0.001, 3000) == 3


class Bits(nn.Module):
    """A few bits of an image, so that most distances are equal to many others."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :12].round() + 0.5


def apart_of(one: Drawn, split: str, distance: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distances of impostors and genuine comparisons."""
    made = told(one, split, module=Bits(), distance=distance)
    found = np.array([apart for *_, apart in made], np.float32)
    own = np.array([own for _, _, own, _ in made])
    return found[~own], found[own]


@pytest.mark.parametrize("mirror", [True, False])
def test_operating_points_are_those_of_plain_numpy(mirror: bool) -> None:
    """With ties, in the model's distance, its square and the cosine."""
    rates = (0.5, 0.05, 0.001)
    one = drawn(mirror=mirror, fmr=rates, selection="first")  # whatever the distance is
    impostors, genuine = apart_of(one, "calibration", city_block)
    squares, cosines = (
        apart_of(one, "calibration", each)[0] for each in (squared_euclidean, cosine_distance)
    )
    here, own = apart_of(one, "attacked", city_block)
    assert len(np.unique(impostors)) < len(impostors) / 4

    def largest(values: np.ndarray, fmr: float) -> float:
        return float(max(value for value in values if (values < value).mean() <= fmr))

    for point, fmr in zip(verifier(one, Bits(), city_block).points, rates, strict=True):
        matches = int((impostors < point.threshold).sum())
        assert (point.fmr, point.threshold) == (fmr, largest(impostors, fmr))
        assert point.squared_euclidean == largest(squares, fmr)
        assert point.cosine == 1 - largest(cosines, fmr)
        assert (point.false_matches, point.empirical_fmr) == (matches, matches / len(impostors))
        assert point.empirical_fmr <= fmr
        assert point.empirical_fnmr == pytest.approx((genuine >= point.threshold).mean())
        assert point.fmr_here == pytest.approx((here < point.threshold).mean())
        assert point.fnmr_here == pytest.approx((own >= point.threshold).mean())
        assert (point.impostors, point.genuine, point.identities) == (len(impostors), len(genuine), 4)
        assert point.flag == ("few-false-matches" if matches < 30 else "")
    assert {point.flag for point in verifier(one, Bits(), city_block).points} == {"", "few-false-matches"}


def test_of_unit_vectors_squares_and_cosines_say_the_same() -> None:
    class Unit(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(x.flatten(1) - 0.5, dim=1)

    for mirror in (True, False):
        for point in verifier(drawn(mirror=mirror), Unit()).points:
            assert point.squared_euclidean == pytest.approx(2 - 2 * point.cosine, abs=1e-5)
            assert mirror or point.squared_euclidean == pytest.approx(point.threshold**2, abs=1e-5)


def test_a_given_threshold_stands_first_and_has_its_rates() -> None:
    found = verifier(drawn(threshold=5.0, fmr=(0.1,)))
    given, chosen = found.points
    assert (given.fmr, given.threshold, found.threshold) == (None, 5.0, 5.0)
    assert chosen.fmr == 0.1
    assert given.empirical_fmr == given.false_matches / given.impostors
    made = told(found.drawn, "calibration")
    apart = np.array([value for _, _, own, value in made if not own])
    assert given.false_matches == (apart < 5).sum()


def test_embeddings_that_are_not_finite_have_no_threshold() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) / 0.0 - x.flatten(1) / 0.0

    with pytest.raises(ModelError, match="x: model: its embeddings are not finite"):
        assert verifier(drawn(), Broken()).points


def test_a_constant_embedding_accepts_nobody() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 6), 0.7)

    for point in verifier(drawn(), Constant(), squared_euclidean).points:
        assert (point.threshold, point.false_matches, point.empirical_fnmr) == (0.0, 0, 1.0)


# --- examination ------------------------------------------------------------------------------------------


def test_persons_are_separated_where_their_images_are_nearer() -> None:
    apart = torch.tensor([[0.0, 1, 5, 5], [1, 0, 5, 5], [5, 5, 0, 9], [5, 5, 9, 0]])
    assert separation(apart, [2, 2]).tolist() == [1.0, 0.0]
    assert separation(torch.zeros(4, 4), [2, 2]).tolist() == [0.5, 0.5]


def test_those_who_are_examined_are_not_attacked() -> None:
    one = drawn()
    for rows in some_people(one, 16):
        assert len(people_of(one, rows)) == 1
        assert not people_of(one, rows) & people_of(one, one.attacked.pool)
