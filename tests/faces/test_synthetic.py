"""synthetic-faces: determinism, rates and correlations, visible attributes, landmarks, parameters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from harness.errors import DatasetError
from harness_faces.attribute_model import COLUMN, apply_rules, sample_attributes
from harness_faces.attribute_names import CELEBA_ATTRIBUTES
from harness_faces.attribute_table import RATES
from harness_faces.canvas import Canvas
from harness_faces.contact_sheet import contact_sheet
from harness_faces.drawing import LAYERS, draw
from harness_faces.identities import identity_of
from harness_faces.measures import face, measure, traits
from harness_faces.streams import normals, uniforms
from harness_faces.synthetic import load

SMALL = (44, 36)

# The strongest of CelebA's correlations, and some between an identity's and a moment's attributes.
CORRELATIONS = [
    ("Wearing_Lipstick", "Male", -0.80),
    ("Wearing_Lipstick", "Heavy_Makeup", 0.75),
    ("Smiling", "High_Cheekbones", 0.74),
    ("Mustache", "Goatee", 0.67),
    ("No_Beard", "Male", -0.65),
    ("Male", "Heavy_Makeup", -0.63),
    ("No_Beard", "5_o_Clock_Shadow", -0.59),
    ("Smiling", "Mouth_Slightly_Open", 0.57),
    ("No_Beard", "Goatee", -0.56),
    ("Heavy_Makeup", "Arched_Eyebrows", 0.52),
    ("Male", "Big_Nose", 0.49),
    ("Heavy_Makeup", "Attractive", 0.46),
    ("Double_Chin", "Chubby", 0.44),
    ("Attractive", "Young", 0.38),
    ("Wearing_Necktie", "Male", 0.36),
    ("Straight_Hair", "Wavy_Hair", -0.35),
    ("Young", "Gray_Hair", -0.29),
]


@pytest.fixture(scope="module")
def labels() -> Any:
    """Labels of 60,000 images, so that what is left of the deviation is the model's."""
    return sample_attributes(3, np.arange(60_000)).labels


def test_dataset_has_everything_that_celeba_has() -> None:
    dataset = load(size=(88, 72), count=50)
    images = dataset.images(np.array([4, 0, 49]))
    assert images.shape == (3, 3, 88, 72)
    assert images.dtype == np.uint8
    assert dataset.attribute_names == CELEBA_ATTRIBUTES
    assert dataset.attributes is not None
    assert dataset.attributes.dtype == np.bool_
    assert dataset.identities is not None
    assert dataset.identities.dtype == np.int64
    assert dataset.landmarks is not None
    assert dataset.landmarks.dtype == np.float32
    assert dataset.landmarks.shape == (50, 5, 2)
    assert len(dataset.landmark_names) == 5
    assert len(set(dataset.ids)) == 50
    assert dataset.ids[0] == "synthetic-000001"


def test_image_does_not_depend_on_batch_order_or_count() -> None:
    few, many = load(size=SMALL, count=30), load(size=SMALL, count=700)
    together = many.read(np.arange(30))
    shuffled = np.random.default_rng(0).permutation(30)
    assert np.array_equal(many.read(shuffled), together[shuffled])
    assert np.array_equal(few.read(np.array([17])), together[17:18])
    assert np.array_equal(few.read(np.array([5, 5, 29])), together[[5, 5, 29]])
    for column in ("attributes", "identities", "partitions", "landmarks"):
        assert np.array_equal(getattr(few, column), getattr(many, column)[:30])


def test_read_is_the_same_from_several_threads() -> None:
    dataset = load(size=SMALL, count=24)
    expected = dataset.read(np.arange(24))
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(dataset.read, np.array_split(np.arange(24), 6)))
    assert np.array_equal(np.concatenate(parts), expected)


def test_seed_and_index_make_a_difference() -> None:
    first, other = load(size=SMALL, count=8), load(size=SMALL, count=8, seed=1)
    rows = np.arange(8)
    images = first.read(rows).reshape(8, -1)
    assert len(np.unique(images, axis=0)) == 8
    assert not (images == other.read(rows).reshape(8, -1)).all(axis=1).any()


def test_streams_are_independent_and_uniform() -> None:
    values = uniforms(0, 1, np.arange(20_000), 4)
    assert 0 < values.min() < values.max() < 1
    assert np.abs(values.mean(axis=0) - 0.5).max() < 0.01
    others = np.concatenate(
        [
            values,
            uniforms(0, 2, np.arange(20_000), 4),
            uniforms(1, 1, np.arange(20_000), 4),
            np.roll(values, 1, axis=0),
        ],
        axis=1,
    )
    correlations = np.corrcoef(others.T) - np.eye(16)
    assert np.abs(correlations).max() < 0.035
    assert abs(normals(0, 1, np.arange(20_000), 1).std() - 1) < 0.03


def test_partitions_divide_identities_as_the_real_subset_does() -> None:
    dataset = load(size=SMALL)
    assert [len(dataset.rows(part)) for part in ("train", "validation", "test")] == [4560, 780, 660]
    assert dataset.identities is not None
    people = [set(dataset.identities[dataset.rows(part)]) for part in ("train", "validation", "test")]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    assert (np.unique(dataset.identities, return_counts=True)[1] == 30).all()


def test_twenty_images_hold_all_partitions() -> None:
    dataset = load(size=SMALL, count=20)
    assert all(len(dataset.rows(part)) > 0 for part in ("train", "validation", "test"))


def test_rates_are_those_of_celeba(labels: Any) -> None:
    assert np.abs(labels.mean(axis=0) - RATES).max() < 0.02


def test_default_data_set_keeps_the_rates() -> None:
    dataset = load(size=SMALL)
    assert dataset.attributes is not None
    assert np.abs(dataset.attributes.mean(axis=0) - RATES).max() < 0.05


@pytest.mark.parametrize(("first", "second", "expected"), CORRELATIONS)
def test_correlations_are_those_of_celeba(labels: Any, first: str, second: str, expected: float) -> None:
    found = np.corrcoef(labels[:, COLUMN[first]], labels[:, COLUMN[second]])[0, 1]
    assert abs(found - expected) < 0.15


def test_identity_decides_sex_but_not_smile(labels: Any) -> None:
    def share_between(name: str) -> float:
        values = labels[:, COLUMN[name]].astype(float)
        rates = np.bincount(identity_of(np.arange(len(values))), values) / 30
        return float(rates.var() / values.var())

    assert share_between("Male") > 0.75
    assert share_between("Smiling") < 0.4


def test_rules_hold(labels: Any) -> None:
    has = {name: labels[:, column] for name, column in COLUMN.items()}
    colours = np.stack([has[name] for name in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")])
    assert colours.sum(axis=0).max() == 1
    assert not (has["Bald"] & (colours.any(axis=0) | has["Bangs"] | has["Wavy_Hair"])).any()
    assert not (has["Straight_Hair"] & has["Wavy_Hair"]).any()
    assert not (has["No_Beard"] & (has["Goatee"] | has["Sideburns"])).any()
    assert not (~has["Male"] & ~has["No_Beard"]).any()
    assert not (has["Male"] & has["Wearing_Lipstick"]).any()


def test_rules_only_lower_what_they_exclude() -> None:
    margins = np.full((1, 40), 0.5)
    ruled = apply_rules(margins)[0]
    assert ruled[COLUMN["Male"]] == 0.5
    assert ruled[COLUMN["Heavy_Makeup"]] < 0
    assert ruled[COLUMN["No_Beard"]] < 0
    assert (margins == 0.5).all()


def test_strength_agrees_with_label_except_near_the_threshold() -> None:
    sample = sample_attributes(0, np.arange(6000))
    agreement = ((sample.strengths > 0.5) == sample.labels).mean()
    assert 0.95 < agreement < 0.995


_MANS = {"5_o_Clock_Shadow", "Bald", "Goatee", "Mustache", "No_Beard", "Sideburns", "Wearing_Necktie"}


def _pair(name: str, index: int) -> tuple[Any, Any]:
    """The same face without and with an attribute, float (3, 88, 72)."""
    strengths = np.zeros((1, 40))
    strengths[0, [COLUMN["Young"], COLUMN["No_Beard"], COLUMN["Attractive"]]] = 1
    strengths[0, COLUMN["Male"]] = float(name in _MANS)
    pictures = []
    for strength in (0.0, 1.0):
        strengths[0, COLUMN[name]] = strength
        described = measure(strengths, traits(0, np.array([index])))
        pictures.append(draw(face(described, 0), (88, 72)).astype(float))
    return pictures[0], pictures[1]


@pytest.mark.parametrize("name", CELEBA_ATTRIBUTES)
def test_every_attribute_is_seen(name: str) -> None:
    for index in (3, 12):
        without, present = _pair(name, index)
        changed = np.abs(without - present).max(axis=0)
        # lipstick and lips are the smallest: some thirty pixels of 6336 change by a visible amount
        assert (changed > 12).sum() >= 25


@pytest.mark.parametrize("roll", [-0.35, 0.0, 0.35])
def test_layers_keep_to_the_person(roll: float) -> None:
    # everything at once, so that every layer paints; small and turned, so that patches reach far
    described = measure(np.full((1, 40), 0.7), traits(0, np.array([5])))
    values = face(described, 0)
    canvas = Canvas((218, 178), (89.0, 109.0, 16.0, roll))
    LAYERS[0](canvas, values)
    before = canvas.rgb.copy()
    for layer in LAYERS[1:]:
        layer(canvas, values)
        changed = (canvas.rgb != before).any(axis=0)
        beside = (np.abs(canvas.x) > 2.7) & (canvas.y < 1.9)
        assert not changed[(canvas.y < -2.8) | beside].any(), layer.__name__
    assert changed.mean() > 0.1


def test_blurry_is_blurred() -> None:
    sharp, blurred = _pair("Blurry", 3)
    # the features, without the grain that the film lays over both
    edges = [
        np.abs(cv2.Laplacian(image[:, 35:70, 20:52].mean(axis=0), cv2.CV_64F)).mean()
        for image in (sharp, blurred)
    ]
    assert edges[1] < 0.6 * edges[0]


def test_nothing_but_hair_changes_colour_with_the_hair() -> None:
    without, present = _pair("Black_Hair", 3)
    # mouth and chin, right below the eyes' middle
    assert np.array_equal(without[:, 55:68, 32:40], present[:, 55:68, 32:40])


def test_aligned_eyes_lie_where_celebas_do() -> None:
    points = load(count=600).landmarks
    assert points is not None
    assert np.abs(points[:, 0].mean(axis=0) - (69.0, 111.0)).max() < 1.0
    assert np.abs(points[:, 1].mean(axis=0) - (107.5, 112.0)).max() < 1.0
    assert points[:, :2].std(axis=0).max() < 2.0


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("size", [(88, 72), (218, 178), (64, 64)])
def test_landmarks_lie_in_the_frame_and_in_order(size: tuple[int, int], aligned: bool) -> None:
    points = load(size=size, count=3000, aligned=aligned).landmarks
    assert points is not None
    assert points.min() > 0
    assert (points.max(axis=(0, 1)) < (size[1] - 1, size[0] - 1)).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = np.moveaxis(points, 1, 0)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()
    assert (left_mouth[:, 0] < right_mouth[:, 0]).all()
    assert (nose[:, 1] > (left_eye[:, 1] + right_eye[:, 1]) / 2).all()


@pytest.mark.parametrize("aligned", [True, False])
def test_pupils_are_drawn_at_the_landmarks(aligned: bool) -> None:
    dataset = load(size=(218, 178), count=80, aligned=aligned)
    assert dataset.attributes is not None
    assert dataset.landmarks is not None
    bare = [COLUMN[name] for name in ("Eyeglasses", "Narrow_Eyes", "Blurry")]
    rows = np.flatnonzero(~dataset.attributes[:, bare].any(axis=1))[:12]
    images, points = dataset.read(rows).astype(float).mean(axis=1), dataset.landmarks[rows]
    for image, eyes in zip(images, points[:, :2], strict=True):
        span = np.linalg.norm(eyes[1] - eyes[0])
        for x, y in eyes:
            near = image[
                int(y - 0.08 * span) : int(y + 0.08 * span) + 2,
                int(x - 0.08 * span) : int(x + 0.08 * span) + 2,
            ]
            assert near.min() < 70


def test_unaligned_faces_are_smaller_and_elsewhere() -> None:
    aligned, loose = load(size=SMALL, count=300), load(size=SMALL, count=300, aligned=False)
    assert aligned.landmarks is not None
    assert loose.landmarks is not None

    def spans(points: Any) -> Any:
        return np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)

    assert spans(loose.landmarks).max() < spans(aligned.landmarks).min()
    assert loose.landmarks[:, 2].std(axis=0).min() > 3 * aligned.landmarks[:, 2].std(axis=0).max()
    assert np.array_equal(np.asarray(aligned.attributes), np.asarray(loose.attributes))


@pytest.mark.parametrize("size", [(16, 16), (33, 71), (112, 96), (300, 200)])
@pytest.mark.parametrize("aligned", [True, False])
def test_any_size(size: tuple[int, int], aligned: bool) -> None:
    dataset = load(size=size, count=3, aligned=aligned)
    assert dataset.images(np.arange(3)).shape == (3, 3, *size)


def test_sizes_show_the_same_picture() -> None:
    row = np.array([3])
    large = load(size=(176, 144), count=4).read(row)[0].transpose(1, 2, 0).copy()
    small = load(size=(88, 72), count=4).read(row)[0].transpose(1, 2, 0)
    shrunk = cv2.resize(large, (72, 88), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - small).mean() < 10


def test_list_from_a_manifest_is_a_size() -> None:
    assert load(size=[20, 30], count=1).shape == (3, 20, 30)  # type: ignore[arg-type]


def test_fingerprint_follows_every_parameter() -> None:
    loads: list[dict[str, Any]] = [{}, {"size": (45, 36)}, {"count": 5}, {"seed": 1}, {"aligned": False}]
    base: dict[str, Any] = {"size": SMALL, "count": 4}
    prints = [load(**{**base, **changed}).fingerprint for changed in loads]
    assert len(set(prints)) == len(prints)
    assert load(**base).fingerprint == prints[0]


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"size": (0, 10)}, "size = (0, 10)"),
        ({"size": (88,)}, "size = (88,)"),
        ({"size": 88}, "size = 88"),
        ({"size": (88.0, 72.0)}, "size = (88.0, 72.0)"),
        ({"size": (88, 100_000)}, "from 16 to 4096"),
        ({"count": 0}, "count = 0"),
        ({"count": True}, "count = True"),
        ({"count": 10**9}, "count = 1000000000"),
        ({"seed": -1}, "seed = -1"),
        ({"aligned": 1}, "aligned = 1"),
    ],
)
def test_wrong_parameters_are_one_line_that_names_them(parameters: dict[str, Any], fault: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load(**parameters)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_outside_the_data_set_are_an_error() -> None:
    dataset = load(size=SMALL, count=3)
    for row in (3, -1):
        with pytest.raises(DatasetError, match="from 0 to 2"):
            dataset.read(np.array([row]))


def test_no_rows_are_no_images() -> None:
    assert load(size=SMALL, count=3).images(np.array([], dtype=np.intp)).shape == (0, 3, *SMALL)


def test_contact_sheet_sets_images_side_by_side() -> None:
    dataset = load(size=SMALL, count=5)
    sheet = contact_sheet(dataset, np.arange(5), columns=3, gap=1)
    assert sheet.shape == (2 * 44 + 1, 3 * 36 + 2, 3)
    assert np.array_equal(sheet[45:, 37:73], dataset.read(np.array([4]))[0].transpose(1, 2, 0))
    assert (sheet[45:, 74:] == 255).all()
    with pytest.raises(DatasetError):
        contact_sheet(dataset, np.arange(5), columns=0)
