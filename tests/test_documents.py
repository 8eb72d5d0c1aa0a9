"""What the documents show is what there is: their manifests plan, their code is the tested package's."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from harness.analysis.claims import FAILS, HOLDS, OPEN
from harness.catalog import catalog
from harness.cli import VERBS, parser
from harness.manifest import read_suite
from harness.plan.planner import plan
from harness.results import read_results
from tests.leaderboard.board_fixture import cell, record, write

ROOT = Path(__file__).parent.parent
EXTRAS = ROOT / "tests/thirdparty/face_extras"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize(
    "file", ["pyproject.toml", "face_extras/__init__.py", "face_extras/ridge.py", "face_extras/one_step.py"]
)
def test_the_readme_shows_the_tested_package(file: str) -> None:
    source = (EXTRAS / file).read_text(encoding="utf-8").strip()
    language = "toml" if file.endswith("toml") else "python"
    assert f"# {file}\n{source}" in [block.strip() for block in blocks(README, language)]


def test_models_and_attacks_take_25_lines() -> None:
    for file in ("ridge.py", "one_step.py"):
        assert len((EXTRAS / "face_extras" / file).read_text(encoding="utf-8").splitlines()) <= 25


def test_the_readmes_python_runs() -> None:
    (example,) = [block for block in blocks(README, "python") if "wrap_model" in block]
    names: dict[str, object] = {}
    torch.manual_seed(0)  # some random networks answer all eight images alike, and are warned of
    exec(example.replace("print(", "("), names)
    assert names["outcome"].success.shape == (8,)  # type: ignore[attr-defined]


def test_the_python_of_the_attacks_page_runs() -> None:
    (example,) = blocks((ROOT / "docs/attacks.md").read_text(encoding="utf-8"), "python")
    names: dict[str, object] = {}
    exec(example.replace("print(", "("), names)
    assert names["outcome"].rows.tolist() == [4, 5, 6, 7]  # type: ignore[attr-defined]


def test_the_analysis_of_the_plugins_page_runs(tmp_path: Path) -> None:
    (example,) = [
        block
        for block in blocks((ROOT / "docs/plugins.md").read_text(encoding="utf-8"), "python")
        if "CLAIMS" in block
    ]
    names: dict[str, Any] = {"__name__": "spread"}
    exec(compile(example, "spread.py", "exec", dont_inherit=True), names)
    cells = [
        cell([record(name, success=name in fooled) for name in "abcdefghij"], attack=attack)
        for attack, fooled in (("pgd", "abcdefgh"), ("noise", "a"))
    ]
    found = names["run"](read_results(write(tmp_path, cells)))
    assert found.table["verdict"].tolist() == ["holds", "holds"]
    assert "noise: 10.0 % [" in found.table["ours"][0]
    assert [axes.get_title() for axes in found.figure.axes] == ["moon"]


def test_the_attacks_page_names_every_attack_of_ours() -> None:
    text = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", text.partition("## CW-L2")[0]))
    assert {name for name, entry in catalog().attacks.items() if entry.plugin.name == "attacks"} <= named


def test_the_manifest_of_the_documents_plans_as_it_says() -> None:
    text, *_ = blocks((ROOT / "docs/manifest.md").read_text(encoding="utf-8"), "toml")
    planned = plan(read_suite(tomllib.loads(text), environment={}), catalog())
    assert [(cell.model.label, cell.attack.threat.label) for cell in planned.cells] == [
        ("moon", "linf 2/255"),
        ("moon", "linf 8/255"),
    ]
    assert [item.reason for item in planned.skipped] == ["excluded by suite"]


def test_the_other_tables_of_the_documents_plan_too() -> None:
    _, *more = blocks((ROOT / "docs/manifest.md").read_text(encoding="utf-8"), "toml")
    crossed = {
        "schema": 1,
        "name": "fragments",
        "dataset": [{"use": "synthetic-faces", "sample": 5}],
        "model": [{"use": "separate", "attributes": ["Smiling"]}, {"use": "moon"}],
        "attack": [{"use": "ffa"}],
    }
    fragments = [text for text in more if "[[source]]" not in text]
    assert len(fragments) == len(more) - 1
    planned = plan(read_suite(crossed | tomllib.loads("\n".join(fragments))), catalog())
    (transfer,) = [cell for cell in planned.cells if cell.source]
    assert (transfer.model.label, transfer.attack_label) == ("moon", "ffa from separate")
    (measure,) = planned.measures
    assert (measure.column, measure.at_least) == ("pass", 0.95)
    (analysis,) = planned.analyses
    assert analysis.parameters["thresholds"] == [0, 0.9, 0.95, 0.99]


def test_the_data_sets_of_the_documents_that_are_made_from_others_plan_too() -> None:
    _, *more = blocks((ROOT / "docs/manifest.md").read_text(encoding="utf-8"), "toml")
    (fragment,) = [text for text in more if "[[source]]" in text]
    crossed = {"schema": 1, "name": "made", "model": [{"use": "cnn"}], "attack": [{"use": "cw-l2"}]}
    planned = plan(read_suite(crossed | tomllib.loads(fragment), environment={}), catalog())
    assert [(cell.dataset.label, cell.dataset.stand_in_for) for cell in planned.cells] == [
        ("mfa-symmetric[attribute=Male]", "celeba"),
        ("mfa-symmetric[attribute=Smiling]", "celeba"),
    ]


def test_the_tables_of_the_page_of_data_sets_plan() -> None:
    crossed = {"schema": 1, "name": "sets", "model": [{"use": "moon"}], "attack": [{"use": "ffa"}]}
    tables = blocks((ROOT / "docs/data-sets.md").read_text(encoding="utf-8"), "toml")
    environment = {"CELEBA_ROOT": "nowhere", "CUB_ROOT": "nowhere"}
    suite = read_suite(crossed | tomllib.loads("\n".join(tables)), environment=environment)
    planned = plan(suite, catalog())
    labels = [cell.dataset.label for cell in planned.cells]
    assert labels == ["celeba-unaligned", "unaligned-faces", "cub-200"]


def test_the_python_of_the_page_of_data_sets_runs() -> None:
    *_, text = blocks((ROOT / "docs/data-sets.md").read_text(encoding="utf-8"), "python")
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["boxes"].shape == (100, 4)


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_every_suite_plans(path: Path) -> None:
    assert plan(read_suite(path, environment={}), catalog()).cells


def test_every_command_of_the_documents_is_one() -> None:
    verbs = {verb.__name__.rpartition(".")[2] for verb in VERBS}
    shown = set()
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        shown |= set(
            re.findall(r"(?:^    |`)harness (\w+)", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
        )
    assert shown <= verbs
    assert verbs <= set(re.findall(r"^    (\w+) ", parser().format_help(), flags=re.MULTILINE)) | {"train"}


def test_every_reference_result_is_named_with_its_command() -> None:
    text = (ROOT / "results/README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    kept = [path.name for path in (ROOT / "results/reference").iterdir()]
    assert sorted(named) == sorted(kept)
    for row in rows:
        suite = re.search(r"suites/[a-z-]+\.toml", row)
        assert suite is None or (ROOT / suite.group()).exists()
        assert suite or ".parquet`" in row


def test_links_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")]
    for document in (*pages, *(ROOT / "docs").rglob("*.md")):
        prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


STUDIES = {
    "Rozsa et al.": "facial-attributes-subset-claims.csv",
    "Richardson and Weiss": "bayes-optimal-subset-claims.csv",
    "Arvinte et al.": "verification-subset-claims.csv",
    "Ding et al.": "paw-subset-claims.csv",
    "FaceNet": "facenet-subset-claims.csv",
}


def test_the_tally_of_verdicts_is_that_of_the_committed_claims() -> None:
    for study, file in STUDIES.items():
        counts = pd.read_csv(ROOT / "results/reference" / file)["verdict"].value_counts()
        hold, fail, open_ = (int(counts.get(name, 0)) for name in (HOLDS, FAILS, OPEN))
        not_ = "does not" if fail == 1 else "do not"
        sentence = f"{study}: {hold} hold, {fail} {not_}, {open_} cannot be judged"
        for page in ("README.md", "docs/papers.md"):
            assert sentence in " ".join((ROOT / page).read_text(encoding="utf-8").split()), page


def test_ratios_on_the_page_of_papers_are_those_of_the_committed_claims() -> None:
    page = (ROOT / "docs/papers.md").read_text(encoding="utf-8").partition("Richardson and Weiss")[2]
    table = pd.read_csv(ROOT / "results/reference/bayes-optimal-subset-claims.csv")
    known = "; ".join(table["ours"].dropna())
    ratios = re.findall(r"\d\.\d\d / \d\.\d\d = \d\.\d\d", page)
    assert len(ratios) > 20
    assert [ratio for ratio in ratios if f"L2 {ratio} " not in known] == []


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text))


@pytest.mark.parametrize(
    ("study", "ours"), [("Rozsa et al.", slice(2, 3)), ("Richardson and Weiss", slice(2, 6))]
)
def test_figures_on_the_page_of_papers_are_those_of_one_committed_claim(study: str, ours: slice) -> None:
    """Every cell of ours, and the verdict beside it: all its numbers stand in the row of one claim."""
    half = (ROOT / "docs/papers.md").read_text(encoding="utf-8").partition(f"({study})\n")[2]
    table = pd.read_csv(ROOT / "results/reference" / STUDIES[study]).astype(object).fillna("")
    known = [_numbers(" ".join(map(str, row))) for row in table.drop(columns="paper").itertuples(index=False)]
    lines = half.partition("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| ")]
    cells = [cell for row in rows[1:] for cell in row[1:-1][ours]]
    assert sum(map(bool, cells)) > 20
    assert [cell for cell in cells if not any(_numbers(cell) <= told for told in known)] == []
    verdicts = [re.findall(r"(\d+) of (\d+)(?:, (\d+) against)?", row[-2]) for row in rows[1:]]
    counts = {(str(row.held), str(row.comparisons), str(row.against)) for row in table.itertuples()}
    for held, comparisons, against in (found for row in verdicts for found in row):
        assert (held, comparisons, against or "0") in counts, (held, comparisons, against)


def _ties(board: pd.DataFrame) -> str:
    """Of neighbours on a board, models under one attack, then attacks on one model: how many share a rank."""
    alike = pairs = 0
    for rank, same in (
        ("rank", ["dataset", "attack", "threat", "goal"]),
        ("attack_rank", ["dataset", "model", "goal"]),
    ):
        for _, group in board.dropna(subset=[rank]).groupby(same):
            ranks = sorted(group[rank])
            pairs += len(ranks) - 1
            alike += sum(one == other for one, other in pairwise(ranks))
    return f"{alike} of {pairs}"


def test_the_share_of_ties_is_that_of_the_committed_boards() -> None:
    page = " ".join((ROOT / "results/README.md").read_text(encoding="utf-8").split())
    boards = sorted((ROOT / "results/reference").glob("*.md"))
    assert len(boards) == 9
    for board in boards:
        told = f"{_ties(pd.read_csv(board.with_suffix('.csv')))} on `{board.stem}`"
        assert told in page, told


def test_the_python_of_the_verification_metrics_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks((ROOT / "docs/verification-metrics.md").read_text(encoding="utf-8"), "python")
    exec(example, {})
    assert "Estimate(value=0." in capsys.readouterr().out
