"""The manifest: what is read, and the one line that every mistake gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.catalog import Catalog
from harness.errors import ManifestError
from harness.manifest import parse_value, read_suite
from harness.plan.planner import plan
from tests.plan.documents import document, planned

SUITE = """\
schema = 1
name = "tiny"

[[dataset]]
use = "drawn"

[[model]]
use = "linear"

[[attack]]
use = "pgd"
eps = "8/255"
"""
NAME, DATASET, MODEL, ATTACK, EPS = (
    'name = "tiny"',
    'use = "drawn"',
    'use = "linear"',
    'use = "pgd"',
    'eps = "8/255"',
)


def complaint(path: Path, catalog: Catalog, **more: Any) -> str:
    """What is said of a manifest when it is planned: one line."""
    with pytest.raises(ManifestError) as caught:
        plan(read_suite(path, environment={}, **more), catalog)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_defaults(path: Path) -> None:
    suite = read_suite(path)
    assert (suite.name, suite.seed, suite.keep, suite.compute) == ("tiny", 0, False, "float32")
    assert suite.place == str(path)
    assert [table.use for table in (*suite.datasets, *suite.models, *suite.attacks)] == [
        "drawn",
        "linear",
        "pgd",
    ]
    assert suite.measures == suite.excludes == suite.analyses == ()


def test_a_mapping_is_read_like_a_file_and_left_alone(path: Path) -> None:
    given = document(seed=3)
    suite = read_suite(given, overrides={"dataset.drawn.count": 5, "seed": 4})
    assert suite.seed == 4
    assert given == document(seed=3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "", '{path}: "schema" is missing; it must be int'),
        ("schema = 1", "schema = 2", "{path}: schema = 2 is unknown; this version reads schema = 1"),
        ("schema = 1", "schema = true", "{path}.schema = True must be int"),
        ("schema = 1", 'schema = "1"', "{path}.schema = '1' must be int"),
        (NAME, "", '{path}: "name" is missing; it must be str'),
        (NAME, "name = 3", "{path}.name = 3 must be str"),
        (NAME, 'name = "../up"', '{path}: name = "../up" names a folder'),
        (NAME, 'name = ""', '{path}: name = "" names a folder'),
        (NAME, 'name = "tiny"\nsed = 1', '{path}: "sed" is unknown; did you mean "seed"?'),
        (NAME, 'name = "tiny"\nseed = 1.5', "{path}.seed = 1.5 must be int"),
        (NAME, 'name = "tiny"\nseed = -1', "{path}: seed = -1 must be from 0 to"),
        (NAME, f'name = "tiny"\nseed = {2**63}', f"{{path}}: seed = {2**63} must be from 0 to"),
        (NAME, 'name = "tiny"\nkeep = "perhaps"', "{path}.keep = 'perhaps' must be bool"),
        (NAME, 'name = "tiny"\nkeep = "no"', "{path}.keep = 'no' must be bool"),
        (NAME, 'name = "tiny"\nbatch_size = 0', "{path}: batch_size = 0 must be at least 1"),
        (NAME, 'name = "tiny"\nshard_size = -4', "{path}: shard_size = -4 must be at least 1"),
        (NAME, 'name = "tiny"\ncompute = "half"', "{path}.compute = 'half' must be"),
        ("[[dataset]]", "[[datasets]]", '{path}: "datasets" is unknown; did you mean "dataset"?'),
        ("[[attack]]", "[attack]", "{path}: attack must be written as [[attack]] tables"),
        ('[[attack]]\nuse = "pgd"\neps = "8/255"', "", "{path}: there is no [[attack]] table"),
        ('[[model]]\nuse = "linear"', "", "{path}: there is no [[model]] table"),
        (ATTACK, "", '{path}: attack 1: "use" is missing'),
        (ATTACK, 'usse = "pgd"', '{path}: attack 1: "use" is missing; did you mean "use"?'),
        (ATTACK, "use = 3", "{path}: attack 1.use = 3 must be a string"),
        (ATTACK, 'use = "pgd"\nid = 3', "{path}: attack 1.id = 3 must be a string"),
        (ATTACK, 'use = "pdg"', '{path}: attack "pdg" is unknown; did you mean "pgd"?'),
        (MODEL, 'use = "liner"', '{path}: model "liner" is unknown; did you mean "linear"?'),
        (DATASET, 'use = "draw"', '{path}: dataset "draw" is unknown; did you mean "drawn"?'),
        (EPS, 'epss = "8/255"', '{path}: attack "pgd": "epss" is unknown; did you mean "eps"?'),
        (EPS, "", '{path}: attack "pgd": "eps" is missing'),
        (EPS, 'eps = "8/0"', '{path}: attack "pgd".eps = "8/0" is no number and no fraction'),
        (EPS, 'eps = "a/b"', '{path}: attack "pgd".eps = "a/b" is no number and no fraction'),
        (EPS, 'eps = "1/2/3"', '{path}: attack "pgd".eps = "1/2/3" is no number and no fraction'),
        (EPS, 'eps = "8"', "{path}: attack \"pgd\".eps = '8' must be float"),
        (EPS, "eps = true", '{path}: attack "pgd".eps = True must be float'),
        (EPS, 'eps = ["2/255", "x/y"]', '{path}: attack "pgd".eps = "x/y" is no number'),
        (EPS, "eps = 0", '{path}: attack "pgd": eps = 0.0 must be above zero'),
        (EPS, "eps = -1.0", '{path}: attack "pgd": eps = -1.0 must be above zero'),
        (EPS, "eps = nan", '{path}: attack "pgd".eps = nan is not a number'),
        (EPS, "eps = inf", '{path}: attack "pgd": eps = inf must be above zero, and at most 1e+06'),
        (EPS, "eps = []", '{path}: attack "pgd".eps = [] is empty'),
        (EPS, "eps = 0.1\nsteps = []", '{path}: attack "pgd".steps = [] is empty'),
        (EPS, "eps = 0.1\nattributes = []", '{path}: attack "pgd".attributes = [] is empty'),
        (EPS, "eps = 0.1\nsteps = 1.5", '{path}: attack "pgd".steps = 1.5 must be int'),
        (EPS, 'eps = 0.1\nsteps = "9"', "{path}: attack \"pgd\".steps = '9' must be int"),
        (EPS, "eps = 0.1\nsteps = [3, true]", '{path}: attack "pgd".steps = True must be int'),
        (
            'eps = "8/255"',
            'eps = 0.1\nstart = "zero"',
            '{path}: attack "pgd".start = \'zero\' must be "random"',
        ),
        (
            'eps = "8/255"',
            'eps = 0.1\nearly_stop = "no"',
            "{path}: attack \"pgd\".early_stop = 'no' must be bool",
        ),
        (
            'eps = "8/255"',
            'eps = 0.1\nsizes = ["3"]',
            "{path}: attack \"pgd\".sizes = ['3'] must be list of int",
        ),
        (EPS, 'eps = 0.1\nnorm = "l3"', '{path}: attack "pgd": norm "l3" is unknown to it'),
        (EPS, 'eps = 0.1\npreset = "stong"', 'preset "stong" is unknown; did you mean "strong"?'),
        (
            'eps = "8/255"',
            'eps = 0.1\nattributes = "Young"',
            "\"pgd\".attributes = 'Young' must be list of str",
        ),
        (EPS, "eps = 0.1\nrng = 3", '{path}: attack "pgd": "rng" is unknown'),
        (
            'eps = "8/255"',
            "eps = 1979-05-27",
            '{path}: attack "pgd".eps = datetime.date(1979, 5, 27) must be',
        ),
        (ATTACK, 'use = "demanding"', '{path}: attack "demanding": "victims" is missing; it must be int'),
        (
            'use = "linear"',
            'use = "linear"\nepohcs = 3',
            '{path}: model "linear": "epohcs" is unknown; did you',
        ),
        (
            'use = "linear"',
            'use = "linear"\npreset = "papr"',
            'model "linear": preset "papr" is unknown; did you',
        ),
        (
            'use = "linear"',
            'use = "linear"\nweights = 3',
            '{path}: model "linear".weights = 3 must be str or none',
        ),
        (
            'use = "linear"',
            'use = "joint"\npreset = "quick"',
            '{path}: model "joint": preset "quick" is unknown',
        ),
        (
            'use = "drawn"',
            'use = "drawn"\nsample = 0',
            '{path}: dataset "drawn".sample = 0 must be at least 1',
        ),
        (
            'use = "drawn"',
            'use = "drawn"\nsample = "all"',
            "{path}: dataset \"drawn\".sample = 'all' must be int",
        ),
        (
            'use = "drawn"',
            'use = "drawn"\npartition = "tset"',
            '"drawn".partition = \'tset\' must be "train"',
        ),
        (
            'use = "drawn"',
            'use = "drawn"\nsize = [8]',
            '{path}: dataset "drawn".size = [8] must be tuple of int',
        ),
        (
            'use = "drawn"',
            'use = "drawn"\nsize = [8, true]',
            '{path}: dataset "drawn".size = [8, True] must be',
        ),
        (DATASET, 'use = "files"', '{path}: dataset "files": "root" is missing; it must be str'),
        (DATASET, 'use = "files"\nroot = 3', '{path}: dataset "files".root = 3 must be str'),
    ],
)
def test_every_mistake_is_one_line_with_place_fault_and_remedy(
    path: Path, fakes: Catalog, old: str, new: str, message: str
) -> None:
    assert old in SUITE
    path.write_text(SUITE.replace(old, new, 1))
    found = complaint(path, fakes)
    assert message.format(path=path) in found
    assert str(path) in found


def test_a_measure_is_checked(path: Path, fakes: Catalog) -> None:
    path.write_text(SUITE + '[[measure]]\nuse = "likeness"\nwindow = "big"\n')
    assert complaint(path, fakes).startswith(f"{path}: measure \"likeness\".window = 'big' must be int")
    path.write_text(SUITE + '[[measure]]\nuse = "likenes"\n')
    assert 'measure "likenes" is unknown; did you mean "likeness"?' in complaint(path, fakes)


@pytest.mark.parametrize(
    ("tables", "column"),
    [
        ('[[measure]]\nuse = "likeness"\n[[measure]]\nuse = "likeness"\nwindow = 7\n', "likeness"),
        ('[[measure]]\nuse = "likeness"\nid = "pass"\n[[measure]]\nuse = "perceived"\n', "pass"),
        ('[[measure]]\nuse = "likeness"\nid = "l2"\n', "l2"),
    ],
)
def test_no_two_columns_of_the_records_share_a_name(
    path: Path, fakes: Catalog, tables: str, column: str
) -> None:
    path.write_text(SUITE + tables)
    message = complaint(path, fakes)
    assert f'column "{column}"' in message
    assert "give it an id" in message


def test_repeated_measures_take_their_columns_from_their_ids(fakes: Catalog) -> None:
    measures = [{"use": "likeness"}, {"use": "likeness", "id": "coarse", "window": 21}, {"use": "perceived"}]
    chosen = planned(fakes, measure=measures).measures
    assert [choice.column for choice in chosen] == ["likeness", "coarse", "pass"]
    assert chosen[1].parameters == {"window": 21}


def test_an_analysis_is_looked_up(path: Path, fakes: Catalog) -> None:
    path.write_text(SUITE + '[[analysis]]\nuse = "histgram"\n')
    assert complaint(path, fakes).endswith('analysis "histgram" is unknown; did you mean "histogram"?')


# --- files ------------------------------------------------------------------------------------------------


def test_a_missing_file_comes_with_the_nearest(path: Path, fakes: Catalog) -> None:
    wrong = path.with_name("tinny.toml")
    assert complaint(wrong, fakes) == f'{wrong}: no such suite; did you mean "{path}"?'


def test_a_missing_folder_comes_with_the_suites_of_this_one(
    path: Path, fakes: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    (path.parent / "suites").mkdir()
    path.rename(path.parent / "suites" / "tiny.toml")
    assert complaint(Path("nowhere/suite.toml"), fakes).endswith("no such suite; valid: suites/tiny.toml")
    assert "no such suite" in complaint(Path("suites/tiny.toml/more.toml"), fakes)


def test_a_folder_is_no_manifest(path: Path, fakes: Catalog) -> None:
    assert complaint(path.parent, fakes) == f"{path.parent} is a folder; name a manifest in it"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"schema = 1\nname = tiny\n", "line 2"),
        (b"schema = 1\nschema = 1\n", "line 2"),
        (b"\xff\xfe", "utf-8"),
        (b"[[attack]\n", "line 1"),
        (b"a" * 10 + b"\0", "line 1"),
    ],
)
def test_text_that_is_no_toml_is_told_by_its_line(
    path: Path, fakes: Catalog, content: bytes, fault: str
) -> None:
    path.write_bytes(content)
    message = complaint(path, fakes)
    assert message.startswith(f"{path} is not valid TOML: ")
    assert fault in message


# --- environment variables --------------------------------------------------------------------------------

FILES = {"use": "files", "root": "$FACES"}
DRAWN_INSTEAD = FILES | {"stand_in": "drawn"}


@pytest.mark.parametrize("root", ["$FACES", "${FACES}"])
def test_a_variable_is_replaced(fakes: Catalog, root: str) -> None:
    (choice,) = planned(fakes, environment={"FACES": "/data"}, dataset=FILES | {"root": root}).datasets
    assert choice.parameters["root"] == "/data"
    assert choice.stand_in_for is None


def test_a_variable_may_be_a_part_of_a_value(fakes: Catalog) -> None:
    root = "${FACES}/of/$WHOM"
    environment = {"FACES": "/data", "WHOM": "me"}
    (choice,) = planned(fakes, environment=environment, dataset=FILES | {"root": root}).datasets
    assert choice.parameters["root"] == "/data/of/me"


@pytest.mark.parametrize("environment", [{}, {"FACES": ""}])
def test_an_unset_variable_without_a_stand_in(fakes: Catalog, environment: dict[str, str]) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(fakes, environment=environment, dataset=FILES)
    assert str(caught.value) == (
        'suite: dataset "files": root = "$FACES": the environment variable FACES is unset; set it, '
        "or --set dataset.files.root=PATH"
    )


@pytest.mark.parametrize("environment", [{}, {"FACES": ""}])
def test_an_unset_variable_with_a_stand_in(fakes: Catalog, environment: dict[str, str]) -> None:
    table = DRAWN_INSTEAD | {"size": [16, 16], "crop": 3, "partition": "test", "sample": 5}
    (choice,) = planned(fakes, environment=environment, dataset=table).datasets
    assert (choice.label, choice.entry.spec.name, choice.stand_in_for) == ("drawn", "drawn", "files")
    assert choice.parameters == {"size": (16, 16), "count": 10}
    assert (choice.partition, choice.sample) == ("test", 5)


def test_the_stand_in_is_not_given_what_is_unset(fakes: Catalog) -> None:
    (choice,) = planned(fakes, dataset=FILES | {"stand_in": "shelved"}).datasets
    assert choice.parameters == {"root": "nowhere"}


def test_the_stand_in_is_not_used_where_the_variable_is_set(fakes: Catalog) -> None:
    (choice,) = planned(fakes, environment={"FACES": "/data"}, dataset=DRAWN_INSTEAD).datasets
    assert (choice.label, choice.stand_in_for) == ("files", None)


def test_the_stand_in_is_not_used_where_the_root_is_given(fakes: Catalog) -> None:
    (choice,) = planned(fakes, {"dataset.files.root": "/given"}, dataset=DRAWN_INSTEAD).datasets
    assert (choice.label, choice.stand_in_for, choice.parameters["root"]) == ("files", None, "/given")


def test_a_key_that_neither_knows_is_an_error_in_spite_of_the_stand_in(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match='dataset "files": "sise" is unknown; did you mean "size"'):
        planned(fakes, dataset=DRAWN_INSTEAD | {"sise": 3})


def test_an_unknown_stand_in(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match=r'^suite: dataset "drwan" is unknown; did you mean "drawn"'):
        planned(fakes, dataset=FILES | {"stand_in": "drwan"})


def test_variables_elsewhere_have_no_stand_in(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match=r'model "linear": weights = "[$]FACES" needs .* FACES, which is'):
        planned(fakes, model={"use": "linear", "weights": "$FACES"})


# --- --set ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pgd", "fakes/pgd", "mine"])
def test_a_value_is_set_by_use_id_or_qualified_name(fakes: Catalog, name: str) -> None:
    table = {"use": "fakes/pgd", "eps": 0.1, "id": "mine"}
    (choice,) = planned(fakes, {f"attack.{name}.steps": 7}, attack=table).attacks
    assert choice.parameters["steps"] == 7


def test_a_value_is_set_in_every_table_of_that_name(fakes: Catalog) -> None:
    attacks = [{"use": "pgd", "eps": 0.1}, {"use": "pgd", "eps": 0.2, "id": "far"}, {"use": "flipper"}]
    chosen = planned(fakes, {"attack.pgd.steps": 7}, attack=attacks).attacks
    assert [choice.parameters.get("steps") for choice in chosen] == [7, 7, None]
    chosen = planned(fakes, {"attack.far.steps": 7}, attack=attacks).attacks
    assert [choice.parameters.get("steps") for choice in chosen] == [5, 7, None]


def test_an_id_may_hold_dots(fakes: Catalog) -> None:
    table = {"use": "pgd", "eps": 0.1, "id": "pgd.v1.0"}
    (choice,) = planned(fakes, {"attack.pgd.v1.0.steps": 7}, attack=table).attacks
    assert (choice.label, choice.parameters["steps"]) == ("pgd.v1.0", 7)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sed", '--set sed: "sed" is unknown; did you mean "seed"?'),
        ("attack", '--set attack: "attack" is unknown'),
        ("attack.steps", "--set attack.steps: write KIND.NAME.KEY=VALUE"),
        ("attak.pgd.steps", '--set attak.pgd.steps: write KIND.NAME.KEY=VALUE; did you mean "attack"?'),
        ("attack.pdg.steps", 'suite has no attack "pdg"; did you mean "pgd"?'),
        ("measure.pass.x", 'suite has no measure "pass"; there is none'),
        ("attack.pgd.stepps", 'attack "pgd": "stepps" is unknown; did you mean "steps"?'),
        ("attack.pgd.", 'attack "pgd": "" is unknown'),
    ],
)
def test_a_wrong_path_is_told(fakes: Catalog, path: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        planned(fakes, {path: 3})
    assert message in str(caught.value)


def test_a_set_value_is_checked_like_a_written_one(fakes: Catalog) -> None:
    with pytest.raises(ManifestError, match=r"steps = 'many' must be int"):
        planned(fakes, {"attack.pgd.steps": "many"})


@pytest.mark.parametrize("tables", [3, "text", {"use": "pgd"}, [3]])
def test_setting_a_value_in_a_malformed_suite(tables: Any) -> None:
    with pytest.raises(ManifestError):
        read_suite({"schema": 1, "name": "tiny", "attack": tables}, overrides={"attack.pgd.steps": 3})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[88, 72]", [88, 72]),
        ('"3"', "3"),
        ("8/255", "8/255"),
        ("/data/celeba", "/data/celeba"),
        ("", ""),
        ("one\ntwo", "one\ntwo"),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_values_are_toml_where_they_are_toml(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_keys_of_inner_tables_are_set_by_name() -> None:
    tables = [{"use": "faces", "comparisons": {"targets": 3}}, {"use": "digits"}]
    suite = read_suite(
        document(dataset=tables),
        overrides={"dataset.faces.comparisons.targets": 5, "dataset.digits.comparisons.mirror": True},
    )
    assert [table.values["comparisons"] for table in suite.datasets] == [{"targets": 5}, {"mirror": True}]
    assert tables[0]["comparisons"] == {"targets": 3}
    with pytest.raises(ManifestError, match=r"comparisons is no table; write \[dataset.comparisons\]"):
        read_suite(
            document(dataset={"use": "faces", "comparisons": 3}),
            overrides={"dataset.faces.comparisons.targets": 5},
        )


def test_variables_of_inner_tables_are_named_by_both_keys() -> None:
    inner = {"file": "$SOMEWHERE/pairs.txt", "mirror": True}
    suite = document(dataset={"use": "faces", "comparisons": inner})
    (table,) = read_suite(suite, environment={}).datasets
    assert dict(table.unset) == {"comparisons.file": ("$SOMEWHERE/pairs.txt", "SOMEWHERE")}
    (table,) = read_suite(suite, environment={"SOMEWHERE": "/here"}).datasets
    assert table.values["comparisons"] == {"file": "/here/pairs.txt", "mirror": True}
    assert not table.unset
