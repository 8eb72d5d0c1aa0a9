"""What the processes of attacks tell the judge, right or wrong, without a process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import AttackError, HarnessError, ModelError
from harness.options import Options
from harness.results import read_results
from harness.session.session import run_suite
from harness.shards.channel import Channel
from harness.shards.records import ToldError, ToldMemoryError, failure
from harness.shards.wire import Array
from harness.shards.worker import Worker, told_error
from tests.cli.conftest import SUITE

Answer = tuple[dict[str, Any], list[Array]]
Forge = Callable[[Answer], Answer]


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Callable[[Forge], None]:
    """Lets the worker answer in this process; what it tells of attacks can be forged."""
    forged: list[Forge] = []

    def ask(channel: Channel, head: Mapping[str, Any], arrays: Sequence[Array] = (), most: int = 0) -> Answer:
        worker = channel.__dict__.setdefault("worker", Worker())
        asked = json.loads(json.dumps(head))
        try:
            told, sent = worker.answer(asked, [np.array(array) for array in arrays])
        except BaseException as error:
            told, sent = told_error(error), []
        answer = json.loads(json.dumps(told)), [np.array(array) for array in sent]
        assert sum(array.nbytes for array in answer[1]) <= most
        return forged[0](answer) if forged and head["do"] == "attack" else answer

    monkeypatch.setattr(Channel, "begin", lambda channel: None)
    monkeypatch.setattr(Channel, "ask", ask)
    return forged.append


def test_wrong_parameters_are_the_errors_that_they_are_here(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path
) -> None:
    for wrong, message in {
        "sise = 2": '"sise" is unknown; did you mean "size"?',
        'size = "much"': "size = 'much' must be float",
        "size = []": "size = [] is empty",
        'norm = "l3"': 'norm "l3" is unknown',
    }.items():
        suite.write_text(SUITE.replace('use = "step"', f'use = "step"\n{wrong}'))
        told = []
        for judge in ("here", "apart"):
            with pytest.raises(HarnessError) as caught:
                run_suite(suite, Options(out=tmp_path / "out", judge=judge))  # type: ignore[arg-type]
            told.append((type(caught.value), str(caught.value)))
        assert message in told[0][1]
        assert told[0] == told[1]


def found_by(answer: Answer, number: int) -> Answer:
    answer[1][1][4] = number
    return answer


def named(answer: Answer, finders: Any) -> Answer:
    return {**answer[0], "finders": finders}, answer[1]


def counts(answer: Answer, value: int) -> Answer:
    answer[1][1][0] = value
    return answer


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda answer: (answer[0], []), "their shapes or types are others"),
        (lambda answer: (answer[0], [answer[1][0][:1], answer[1][1]]), "their shapes or types are others"),
        (lambda answer: (answer[0], [answer[1][1], answer[1][0]]), "their shapes or types are others"),
        (lambda answer: counts(answer, -1), "its passes cannot be counted"),
        (lambda answer: counts(answer, 1 << 40), "its passes cannot be counted"),
        (lambda answer: ({"seconds": -1.0}, answer[1]), "it took no time"),
        (lambda answer: ({"seconds": float("nan")}, answer[1]), "it took no time"),
        (lambda answer: ({}, answer[1]), "it took no time"),
        (lambda answer: ({**answer[0], "finders": None}, answer[1]), "what found its images is not told"),
        (lambda answer: found_by(answer, 0), "what found its images is not told"),
        (lambda answer: found_by(answer, -2), "its passes cannot be counted"),
        (lambda answer: named(answer, ["a"] * 65), "what found its images is not told"),
        (lambda answer: named(answer, "abc"), "what found its images is not told"),
        (lambda answer: named(answer, ["a" * 65]), "what found its images has no name"),
        (lambda answer: ({**answer[0], "finders": [7]}, answer[1]), "what found its images has no name"),
        (lambda answer: ({**answer[0], "finders": [""]}, answer[1]), "what found its images has no name"),
        (lambda answer: ({"error": 3}, []), "AttackError: the attack's process told of an error that cannot"),
        (
            lambda answer: ({"error": ["the model's output is not finite", ""]}, []),
            "AttackError: the attack's process told of an error that cannot",
        ),
        (lambda answer: ({"error": ["Odd", " a \n b "]}, []), "Odd: a b"),
    ],
)
def test_an_answer_that_cannot_be_is_an_error(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path, forge: Forge, message: str
) -> None:
    near(forge)
    run = run_suite(suite, Options(out=tmp_path / "out", judge="apart", limit=3))
    errors = read_results(run.folder).samples()["error"]
    assert errors.notna().all()
    assert errors.str.contains(message, regex=False).all()


def test_images_and_costs_are_taken_from_the_answer(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path
) -> None:
    def forge(answer: Answer) -> Answer:
        answer[1][0][:] = 1.0
        return counts(answer, 7)

    near(forge)
    records = read_results(run_suite(suite, Options(out=tmp_path / "out", judge="apart")).folder).samples()
    assert set(records["forwards"]) == {7}
    assert records["found_by"].isna().all()
    assert set(records["fault"]) == {"over the budget"}


def test_what_found_an_image_is_taken_from_the_answer(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path
) -> None:
    """The longest list of the longest names, and of each batch another member for each case."""

    def forge(answer: Answer) -> Answer:
        answer[1][1][4] = np.arange(answer[1][1].shape[1]) - 1
        return named(answer, [f"{number:064}" for number in range(64)])

    near(forge)
    records = read_results(run_suite(suite, Options(out=tmp_path / "out", judge="apart")).folder).samples()
    assert set(records["found_by"].dropna()) == {f"{number:064}" for number in range(7)}, "in batches of 8"
    assert records["found_by"].isna().sum() * 8 == len(records)
    assert records["error"].isna().all()


def test_what_found_an_image_is_told_here_and_apart(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path
) -> None:
    ensemble = 'use = "standard"\nsteps = 2\nqueries = 2\nnorm = "linf"\neps = "40/255"'
    suite.write_text(SUITE.replace('use = "step"\neps = "40/255"', ensemble))
    found = {}
    for judge in ("here", "apart"):
        run = run_suite(suite, Options(out=tmp_path / judge, judge=judge))  # type: ignore[arg-type]
        records = read_results(run.folder).samples().sort_values(["attack", "target", "sample_id"])
        found[judge] = records["found_by"].fillna("").tolist()
    assert found["here"] == found["apart"]
    assert "apgd-ce" in found["here"]


def test_options_of_gradient_attacks_are_heeded_apart(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path
) -> None:
    """An expectation over three evaluations costs three times as much, here and there, in its own cell."""
    plain = suite.read_text()
    suite.write_text(plain.replace('use = "step"', 'use = "step"\neot = [1, 3]'))
    costs = {}
    for judge in ("here", "apart"):
        run = run_suite(suite, Options(out=tmp_path / judge, judge=judge))  # type: ignore[arg-type]
        records = read_results(run.folder).samples()
        assert records["error"].isna().all()
        costs[judge] = sorted(set(records["backwards"]))
    assert costs["here"] == costs["apart"] == [0, 1, 3]


def test_a_process_in_which_the_contract_was_broken_is_ended(
    near: Callable[[Forge], None], suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[Channel] = []
    monkeypatch.setattr(Channel, "close", lambda channel: ended.append(channel))
    told: dict[str, Any] = {"error": ["ContractError", "x"], "harm": False}
    near(lambda answer: (told, []))
    run_suite(suite, Options(out=tmp_path / "one", judge="apart", limit=3))
    assert len(ended) == 1  # at the end
    told["harm"] = True
    run_suite(suite, Options(out=tmp_path / "other", judge="apart", limit=3))
    assert len(ended) == 1 + 2 + 1  # after each batch, and at the end


def test_errors_are_told_by_name_and_say_what_follows() -> None:
    def told(error: BaseException) -> tuple[str, bool, bool]:
        found = told_error(error)
        return ": ".join(found["error"]), found["memory"], found["harm"]

    assert told(ValueError("a\nb")) == ("ValueError: a b", False, False)
    assert told(MemoryError()) == ("MemoryError: ", True, False)
    assert told(torch.OutOfMemoryError("no")) == ("OutOfMemoryError: no", True, False)
    assert told(ModelError("no")) == ("ModelError: no", False, False)
    from harness.errors import NO_IMAGES, ContractError

    assert told(ContractError(f"{NO_IMAGES} None")) == (f"ContractError: {NO_IMAGES} None", False, False)
    assert told(ContractError("changed")) == ("ContractError: changed", False, True)
    assert told(SystemExit(0)) == ("SystemExit: the attack tried to end its process (0)", False, True)
    assert failure(ToldError("ValueError: a b")) == "ValueError: a b"
    assert isinstance(ToldMemoryError("x"), MemoryError)
    assert failure(AttackError("x")) == "AttackError: x"
