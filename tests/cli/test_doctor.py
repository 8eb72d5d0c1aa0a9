"""What a machine has, as a doctor tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .conftest import Command


def told(harness: Command, *more: str, status: int = 0) -> dict[str, list[str]]:
    """The lines on each subject."""
    ran = harness("doctor", "--json", *more)
    assert ran.status == status, ran.out
    found: dict[str, list[str]] = {}
    for line in ran.json:
        found.setdefault(line["subject"], []).append(line["text"])
    return found


def test_what_a_run_will_use(harness: Command, cache: Path) -> None:
    found = told(harness)
    assert found["threads"][0].startswith(f"a run computes in {torch.get_num_threads()}")
    assert str(cache) in found["cache"][0]
    assert f"torch {torch.__version__}" in found["versions"][0]
    assert found["device"] == ['a run uses cpu ("auto")'] or torch.cuda.is_available()
    out = harness("doctor").out
    assert all(text in out for texts in found.values() for text in texts)


def test_what_a_run_will_suffer_from(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CELEBA_ROOT", str(tmp_path / "nowhere"))
    monkeypatch.setattr("harness.session.machine.locks_work", lambda file: False)
    found = told(harness, "--device", "cuda:99", status=1)
    assert "cannot be used" in found["device"][0]
    assert any("which is no folder" in line for line in found["data"])
    assert "no locks" in found["results"][0]
    marked = [line for line in harness("doctor", "--device", "cuda:99").out.splitlines() if line[0] == "!"]
    assert len(marked) >= 3
    assert not list(tmp_path.glob(".doctor-*"))


def test_a_folder_that_cannot_be_written(
    harness: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.session.machine.os.access", lambda place, how: False)
    assert "cannot be written" in told(harness, status=1)["cache"][0]
