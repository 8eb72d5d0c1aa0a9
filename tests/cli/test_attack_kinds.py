"""Suites with regions, with one change for many images, and with batches that must fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results import read_results
from tests.cli.conftest import SUITE, Command

HEAD = SUITE.partition("[[attack]]")[0]
IMAGES = 24


def suite_of(folder: Path, *attacks: str, head: str = HEAD) -> Path:
    path = folder / "kinds.toml"
    path.write_text(head + "".join(f"[[attack]]\n{attack}\n\n" for attack in attacks))
    return path


def test_a_region_is_the_threat_and_its_parameters_are_keys(harness: Command, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 'use = "corner"\nshare = [0.25, 0.5]\nshade = 1.0')
    assert harness("run", suite, "--out", "out").status == 0
    results = read_results(Path("out"))
    samples = results.samples(columns=["valid", "l0", "success", "reached_unrounded"])
    assert samples["valid"].all()
    sizes = samples.groupby("attack")["l0"].max()
    assert sorted(sizes) == [6 * 5, 12 * 10]
    cells = results.cells()
    assert set(cells["threat"]) == {"corner"}
    assert cells["norm"].isna().all()
    assert set(cells["budget"]) == {"fixed"}
    assert set(cells["access"]) == {"decisions"}
    assert not cells["randomised"].any()
    assert harness("verify", "out").status == 0


@pytest.mark.parametrize(
    ("attack", "fault"),
    [
        ('use = "corner"\neps = 0.1', 'attack "corner": eps = 0.1 bounds nothing: only its region bounds it'),
        ('use = "corner"\nshare = "wide"', "share = 'wide' must be float"),
        ('use = "corner"\nfit = 0.5', 'attack "corner".fit = 0.5: it learns on no images; leave it out'),
        ('use = "shared"\neps = 0.1\nfit = 1', ".fit = 1.0 must be a share between 0 and 1"),
        ('use = "shared"\neps = 0.1\nfit = "most"', ".fit = 'most' must be float"),
        ('use = "corner"\nheight = 3', '"height" is unknown'),
    ],
)
def test_wrong_keys_are_one_line(
    refused: Callable[..., str], tmp_path: Path, attack: str, fault: str
) -> None:
    assert fault in refused("plan", suite_of(tmp_path, attack))


def test_a_region_without_pixels_fails_its_cell(harness: Command, tmp_path: Path) -> None:
    ran = harness("run", suite_of(tmp_path, 'use = "corner"\nshare = 0.01'), "--out", "out")
    assert ran.status == 1
    errors = set(read_results(Path("out")).samples(columns=["error"])["error"])
    assert errors == {"AttackError: the region of tiny/corner holds no pixel of 24x20 images"}


def test_one_change_for_many_is_judged_on_the_others(harness: Command, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 'use = "shared"\neps = "40/255"', 'use = "step"\neps = "40/255"')
    assert harness("run", suite, "--out", "out").status == 0
    results = read_results(Path("out"))
    samples = results.samples(columns=["sample_id", "target", "forwards", "success"])
    shared = samples[samples["attack"] == "shared"]
    held = shared.groupby("target")["sample_id"].apply(set)
    assert held["Bright"] == held["Red"]  # an image is on one side, whatever is asked about it
    assert 4 <= len(held["Bright"]) <= IMAGES - 4
    # Those that were learned on made a pass each, which the others share.
    learned = IMAGES - len(held["Bright"])
    assert set(shared["forwards"]) == {-(-learned // len(held["Bright"]))}
    assert shared["success"].mean() > 0.8
    board = results.leaderboard()
    row = board[board["attack"] == "shared"].iloc[0]
    assert row["n"] == len(shared)
    assert row["coverage"] == 1.0
    cells = results.cells().set_index("attack")
    assert cells.loc["shared", "traits"] == "universal"
    assert harness("verify", "out").status == 0
    again = harness("run", suite, "--out", "out")
    assert "nothing was left to do" in again.out + again.err


def test_the_share_is_a_key_and_part_of_the_identity(harness: Command, tmp_path: Path) -> None:
    counts, ids = [], []
    for share in (0.2, 0.7):
        out = tmp_path / str(share)
        suite = suite_of(tmp_path, f'use = "shared"\neps = "40/255"\nfit = {share}')
        assert harness("run", suite, "--out", out).status == 0
        results = read_results(out)
        counts.append(len(results.samples(columns=["success"])))
        ids.append(results.cells()["cell"].iloc[0])
    assert counts[0] > counts[1]
    assert ids[0] != ids[1]


def test_nothing_held_out_fails_the_cell_in_one_line(harness: Command, tmp_path: Path) -> None:
    ran = harness("run", suite_of(tmp_path, 'use = "shared"\neps = 0.1'), "--limit", 1, "--out", "out")
    assert ran.status == 1
    error = read_results(Path("out")).cells()["error"].iloc[0]
    assert error.startswith("AttackError: shared learns on some images and is judged on others, but has one ")
    assert "take a larger sample" in error


@pytest.mark.parametrize("size", ["8", '"auto"'])
def test_batches_that_do_not_fit_are_halved(harness: Command, tmp_path: Path, size: str) -> None:
    head = HEAD.replace("batch_size = 8", f"batch_size = {size}")
    suite = suite_of(tmp_path, 'use = "greedy"\neps = 0.1', head=head)
    assert harness("run", suite, "--out", "out").status == 0
    assert read_results(Path("out")).samples(columns=["error"])["error"].isna().all()


def test_a_batch_size_is_a_number_or_auto(refused: Callable[..., str], tmp_path: Path) -> None:
    head = HEAD.replace("batch_size = 8", 'batch_size = "large"')
    line = refused("plan", suite_of(tmp_path, 'use = "still"\neps = 0.1', head=head))
    assert "batch_size = 'large' must be int or \"auto\"" in line
