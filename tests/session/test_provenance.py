"""The git revision of a run is that of the folder that it was started in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.session.provenance import _revision


def git(folder: Path, *arguments: str) -> str:
    """Run git there, as somebody."""
    person = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    ran = subprocess.run(["git", *person, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_a_revision_is_that_of_the_checkout_and_marks_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "checkout" / "one" / "two"
    inside.mkdir(parents=True)
    root, file = tmp_path / "checkout", tmp_path / "checkout" / "file"
    file.write_text("before")
    git(root, "init", "--quiet")
    git(root, "add", "file")
    git(root, "commit", "--quiet", "--message", "first")
    head = git(root, "rev-parse", "HEAD")
    for folder in (root, inside):
        monkeypatch.chdir(folder)
        assert _revision() == head
    file.write_text("after")
    assert _revision() == f"{head}+"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_DIR", str(root / ".git"))
    assert _revision() == f"{head}+"


def test_outside_of_a_checkout_git_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise AssertionError("git was asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GIT_DIR", raising=False)
    monkeypatch.setattr(subprocess, "run", refuse)
    assert _revision() is None
