"""Exports: numbers in full for programs, columns that people can read for people, nothing that breaks out."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from harness.catalog import Entry, Plugin
from harness.errors import ResultsError
from harness.export import FORMATS, export, terminal
from harness.results import read_results
from harness.specs import MetricSpec
from tests.leaderboard import board_fixture as tiny
from tests.leaderboard.board_fixture import broken, cell, record

STRANGE = "a|b_{1} <script>alert('x')</script> & 100% $ # ~ ^ \\ \"q\""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, one tied with the other when left alone, an error, a stand-in, no PASS."""
    some = [record(f"{i}.jpg", success=i < 3, linf=3 / 255) for i in range(40)]
    most = [record(f"{i}.jpg", success=i < 37, linf=3 / 255) for i in range(39)] + [broken("39.jpg")]
    return tiny.write(
        tmp_path / "tiny",
        [cell(some, model="robust", stand_in_for="celeba"), cell(most, model="weak", stand_in_for="celeba")],
    )


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Names with everything that some format gives a meaning to."""
    records = [broken("a", error=STRANGE), record("b")]
    names = {"model": STRANGE, "attack": STRANGE, "dataset": STRANGE, "threat": STRANGE}
    return tiny.write(
        tmp_path / "strange", [cell(records, cell="1", **names)], tiny.SUITE | {"name": STRANGE}
    )


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """No cell at all, and a suite.json that says next to nothing."""
    return tiny.write(tmp_path / "empty", [], {"schema": 1})


@pytest.fixture
def flagged(tmp_path: Path) -> Path:
    """A model whose gradients are zero, which loses images by rounding, and another that raises no flag."""
    sees = {"access": "gradients", "norm": "linf", "eps": 8 / 255, "budget": "fixed", "traits": ""}
    plain = [record(f"{i}.jpg", success=i < 20, backwards=5, zero_gradients=0) for i in range(40)]
    blind = [row | {"zero_gradients": 5} for row in plain]
    lossy = [row | {"reached_unrounded": i < 30} for i, row in enumerate(plain)]
    return tiny.write(
        tmp_path / "flagged",
        [
            cell(plain, model="honest", **sees),
            cell(blind, model="masked", **sees),
            cell(lossy, model="masked", attack="cw", **sees),
        ],
    )


class Page(HTMLParser):
    """The cells of a page's table, its tags, which must be closed in order, and where its links lead."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[dict[str, str]] = []
        self.ids: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "a":
            self.links.append(dict(attrs))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & {*self.open}:
            self.rows[-1][-1] += data


def shown(table: Table, width: int) -> str:
    """A table as the terminal shows it."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_csv_holds_every_column_in_full(folder: Path) -> None:
    board = read_results(folder).leaderboard()
    rows = list(csv.DictReader(io.StringIO(export(folder, "csv"))))
    assert list(rows[0]) == list(board.columns)
    assert [float(row["robust_accuracy_low"]) for row in rows] == board["robust_accuracy_low"].tolist()
    assert rows[0]["success_rate"] == ""
    assert rows[0]["rank"] == "1"


def test_json_is_strict_and_in_full(folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(export(folder, "json"), parse_constant=refuse)
    assert document["suite"] == "tiny"
    assert document["versions"]["face-robustness-harness"] == "0.1.0"
    board = read_results(folder).leaderboard()
    assert len(document["leaderboard"]) == len(board)
    for row, expected in zip(document["leaderboard"], board.to_dict("records"), strict=True):
        assert list(row) == list(board.columns)
        for name, value in row.items():
            assert value is None if pd.isna(expected[name]) else value == expected[name]
    assert document["leaderboard"][0]["tied"] is True


def test_json_of_what_is_not_finite_is_null(folder: Path) -> None:
    from harness.export import json as format

    board = read_results(folder).leaderboard()
    board["mean_l2"] = float("inf")
    assert json.loads(format.render(board, {}))["leaderboard"][0]["mean_l2"] is None


def test_markdown_is_readable(folder: Path) -> None:
    text = export(folder, "md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len(lines) == 2 + 6
    clean, attacked, _ = lines[2:5]
    assert "synthetic" not in text
    assert attacked.startswith(r"| 1 | faces (stand-in for celeba) | robust | pgd | linf 8/255 | flip | 40 |")
    assert "| 100.0 [91.2–100.0] | 92.5 [80.1–97.4] | 7.5 [2.6–19.9] |" in attacked
    assert clean.startswith("| 1= |")
    assert "| 3.00 |" in attacked  # in units of 1/255
    assert "PASS |" not in lines[0]
    assert "1 of 40 cases: RuntimeError: no" in text


def test_latex_is_readable(folder: Path) -> None:
    text = export(folder, "latex")
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + 6
    assert len({row.count("&") for row in rows}) == 1
    assert r"92.5 {[}80.1--97.4{]}" in text
    assert text.count(r"\midrule") == 2
    assert r"coverage \%" in text


def test_html_is_one_whole_page(folder: Path) -> None:
    text = export(folder, "html")
    page = Page(text)
    assert len(page.rows) == 1 + 6
    assert len({len(row) for row in page.rows}) == 1
    assert "92.5 [80.1–97.4]" in page.rows[2]
    assert page.rows[1][0] == "1="
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"https?://|url\(|@import", text)
    caption = re.search(r"<caption>(.*)</caption>", text)
    assert caption is not None
    assert "2026-01-02" in caption[1]
    assert "face-robustness-harness 0.1.0" in caption[1]


def test_strange_names_stay_names(strange: Path) -> None:
    page = Page(export(strange, "html"))
    assert "script" not in page.tags
    assert page.rows[1][2] == " ".join(STRANGE.split())
    assert next(csv.DictReader(io.StringIO(export(strange, "csv"))))["model"] == STRANGE
    assert json.loads(export(strange, "json"))["leaderboard"][0]["model"] == STRANGE
    markdown = [line for line in export(strange, "md").splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown}) == 1
    assert "<script" not in re.sub(r"\\<", "", "\n".join(markdown))
    for row in (line for line in export(strange, "latex").splitlines() if line.endswith(r"\\")):
        assert not re.search(r"(?<!\\)[#%_~^]", row)
    results = read_results(strange)
    assert "script" in shown(terminal.table(results.leaderboard(), results.suite, 200), 200)


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_board_exports(empty: Path, format: str) -> None:
    assert export(empty, format)


def test_a_metric_of_a_plugin_is_shown(folder: Path) -> None:
    from harness.export import markdown

    board = read_results(folder).leaderboard().assign(auroc=0.5, auroc_low=0.4, auroc_high=0.6)
    assert markdown.render(board, {}).count("| 0.500 |") >= 6
    assert "auroc" in markdown.render(board, {})


def test_a_metric_of_a_plugin_is_shown_as_its_spec_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.export import markdown

    def described(name: str, **shown: Any) -> Entry[MetricSpec]:
        spec = MetricSpec(name=name, summary="", run="", columns=(), **shown)
        return Entry(spec, Plugin("mine", "mine", "1"))

    entries = {
        "au-roc": described("au-roc", heading="AU-ROC %", digits=1, scale=100.0, explanation="an area."),
        "other": described("other", interval=False, shown="always", importance=14),
        "hidden": described("hidden", shown="never"),
    }
    monkeypatch.setattr("harness.export.columns.plugin_metrics", lambda: entries)
    results = read_results(folder)
    board = results.leaderboard().assign(au_roc=0.5, au_roc_low=0.4, au_roc_high=0.6, hidden=1.0)
    board = board.assign(hidden_low=0.5, hidden_high=1.5, other=np.nan)
    head, *_ = [line for line in markdown.render(board, {}).splitlines() if line.startswith("|")]
    assert head.endswith("| AU-ROC % [low–high] | other |")
    assert markdown.render(board, {}).count("| 50.0 [40.0–60.0] | – |") == 6
    assert "- **AU-ROC %**: an area." in markdown.render(board, {})
    narrow = shown(terminal.table(board, results.suite, 90), 90)
    assert "other" in narrow
    assert "AU-ROC" not in narrow


def test_unknown_format_is_told(folder: Path) -> None:
    with pytest.raises(ResultsError, match=r'format "markdwn" is unknown; valid: csv, html, json, latex, md'):
        export(folder, "markdwn")
    with pytest.raises(ResultsError, match=r'did you mean "latex"\?'):
        export(folder, "latx")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_terminal_fits_and_keeps_what_matters(folder: Path, width: int) -> None:
    results = read_results(folder)
    text = shown(terminal.table(results.leaderboard(), results.suite, width), width)
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "faces (stand-in for celeba) · flip" in lines[0]
    rows = [line for line in lines if re.match(r" +(\d=?|–) ", line)]
    assert len(rows) == 6  # nothing is folded
    assert [("clean" in row, "worst-case" in row) for row in rows] == [
        *((True, False), (False, False), (False, True)) * 2
    ]
    assert "92.5 [80.1–97.4]" in rows[1]
    assert ("seconds" in text) == (width == 200)
    assert "1 of 40 cases" in text


def test_terminal_names_data_sets_where_there_are_several(tmp_path: Path) -> None:
    cells = [cell([record("a")], dataset=dataset) for dataset in ("faces", "mnist")]
    results = read_results(tiny.write(tmp_path / "two", cells))
    text = shown(terminal.table(results.leaderboard(), results.suite, 80), 80)
    assert text.splitlines()[0].strip() == "tiny"
    assert "faces" in text
    assert "mnist" in text


FLAGS = ("zero-gradients", "lost-by-rounding")


def test_programs_get_the_names_of_flags(flagged: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(export(flagged, "csv"))))
    document = json.loads(export(flagged, "json"))["leaderboard"]
    for told in (rows, document):
        by = {(row["model"], row["attack"]): row["flags"] for row in told}
        assert by["honest", "pgd"] == by["masked", "clean"] == ""
        assert by["masked", "pgd"] == "zero-gradients"
        assert by["masked", "worst-case"] == ", ".join(FLAGS)


def test_documents_name_and_explain_flags(flagged: Path, folder: Path) -> None:
    for form in ("md", "latex"):
        text = export(flagged, form)
        for name in FLAGS:
            assert name in text
            assert f"docs/flags/{name}.md" in text
        assert "not-converged" not in text
        assert "flags" not in export(folder, form).split("\n- **")[0]  # no column where nothing is flagged


def test_a_page_links_each_flag_to_what_it_means(flagged: Path, folder: Path) -> None:
    page = Page(export(flagged, "html"))
    at = page.rows[0].index("flags")
    assert page.rows[0][at - 1] == "success % [low–high]"  # beside what they make doubtful
    assert page.rows[-1][at].split() == ["⚑", "zero-gradients", "⚑", "lost-by-rounding"]
    assert {link["href"] for link in page.links} == {f"#{name}" for name in FLAGS}
    assert all("docs/flags/" in link["title"] for link in page.links)
    assert page.ids == list(FLAGS)
    assert Page(export(folder, "html")).ids == []


@pytest.mark.parametrize("width", [80, 100, 150, 240])
def test_the_terminal_marks_flags_and_says_what_they_are(flagged: Path, folder: Path, width: int) -> None:
    results = read_results(flagged)
    text = shown(terminal.table(results.leaderboard(), results.suite, width), width)
    board, _, caption = text.partition("⚑a")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    rows = [line for line in board.splitlines() if "8/255" in line]
    assert [re.search(r"8/255 +([a-z]*) *\d", row)[1] for row in rows] == ["", "", "b", "a", "ab"]  # type: ignore[index]
    assert "zero-gradients" not in board
    for letter, name in zip("ab", FLAGS, strict=True):
        assert f"⚑{letter} {name}: " in text
    assert "docs/flags" in caption
    results = read_results(folder)
    assert "⚑" not in shown(terminal.table(results.leaderboard(), results.suite, width), width)


@pytest.mark.parametrize("form", FORMATS)
def test_boards_of_earlier_versions_export(flagged: Path, form: str) -> None:
    import importlib

    board = read_results(flagged).leaderboard()
    old = board.drop(columns=["flags", *(name for name in board.columns if name.endswith("_per_success"))])
    text = importlib.import_module(FORMATS[form]).render(old, {})
    assert "zero-gradients" not in text
    assert "/ success" not in text.replace("“/ success”", "")


def test_a_flag_of_a_later_version_is_shown(flagged: Path) -> None:
    from harness.export import html

    board = read_results(flagged).leaderboard()
    board["flags"] = "brand-new"
    assert "brand-new" in Page(html.render(board, {})).ids
    assert "⚑a brand-new" in shown(terminal.table(board, {}, 100), 100)
