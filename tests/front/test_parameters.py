"""Parameters are read from signatures; values are checked against them and told apart by type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from harness.errors import AttackError, CatalogError, ManifestError
from harness.parameters import Parameter, arguments, check, fraction, jsonable, keyword_parameters


def attack(
    model: object,
    x: object,
    *,
    rng: object,
    count: int = 3,
    size: float = 0.5,
    maybe: float | None = None,
    either: int | str = 1,
    flag: bool = True,
    name: str = "a",
    mode: Literal["line", "fixed"] = "line",
    pair: tuple[float, float] = (0.0, 1.0),
    names: Sequence[str] = (),
    numbers: list[int] | None = None,
    folder: Path | None = None,
    anything: Any = None,
    bare=None,  # type: ignore[no-untyped-def]
) -> None: ...


PARAMETERS = keyword_parameters(attack, ("rng",))


def resolved(**values: Any) -> dict[str, Any]:
    return check("suite.toml: attack", values, PARAMETERS, ManifestError)


def test_reads_what_follows_the_star_and_is_not_given() -> None:
    assert list(PARAMETERS)[:3] == ["count", "size", "maybe"]
    assert not {"model", "x", "rng"} & set(PARAMETERS)
    assert PARAMETERS["count"] == Parameter("count", int, 3)
    assert "rng" in keyword_parameters(attack)


def test_defaults_complete_the_values() -> None:
    assert resolved(count=7) == resolved() | {"count": 7}
    assert resolved()["pair"] == (0.0, 1.0)
    assert resolved()["maybe"] is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 5, 5),
        ("count", -1, -1),
        ("size", 2, 2.0),
        ("size", "8/255", 8 / 255),
        ("size", " 1 / 2 ", 0.5),
        ("maybe", "1/4", 0.25),
        ("maybe", None, None),
        ("either", "x", "x"),
        ("either", "3", "3"),
        ("either", 3, 3),
        ("flag", False, False),
        ("name", "8/255", "8/255"),
        ("mode", "fixed", "fixed"),
        ("pair", [1, 2.5], (1.0, 2.5)),
        ("names", ["Smiling", "Young"], ["Smiling", "Young"]),
        ("numbers", [1, 2], [1, 2]),
        ("folder", "/tmp", Path("/tmp")),
        ("anything", {"a": [1]}, {"a": [1]}),
        ("bare", "8/255", "8/255"),
    ],
)
def test_accepts_and_converts(name: str, value: Any, expected: Any) -> None:
    found = resolved(**{name: value})[name]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", True),
        ("count", "3"),
        ("count", 1.5),
        ("count", None),
        ("count", [3]),
        ("size", False),
        ("size", "0.5"),
        ("size", None),
        ("maybe", "much"),
        ("flag", 1),
        ("flag", "true"),
        ("flag", "no"),
        ("name", 3),
        ("name", True),
        ("mode", "Line"),
        ("mode", 0),
        ("pair", [1]),
        ("pair", [1, 2, 3]),
        ("pair", 1.0),
        ("pair", ["1", 2]),
        ("pair", [True, 2]),
        ("names", "Smiling"),
        ("names", [1]),
        ("numbers", ["3"]),
        ("numbers", [True]),
        ("numbers", [1.5]),
        ("folder", 3),
    ],
)
def test_refuses_other_types(name: str, value: Any) -> None:
    with pytest.raises(ManifestError, match=rf"^suite.toml: attack.{name} = .* must be "):
        resolved(**{name: value})


def test_names_the_type_that_it_wants() -> None:
    with pytest.raises(
        ManifestError, match=r'attack.mode = .lin. must be "line" or "fixed"; did you mean "line"\?$'
    ):
        resolved(mode="lin")
    with pytest.raises(ManifestError, match=r"attack.maybe = 'x' must be float or none"):
        resolved(maybe="x")
    with pytest.raises(ManifestError, match=r"attack.pair = 1 must be tuple of float, float"):
        resolved(pair=1)


@pytest.mark.parametrize("text", ["8/0", "a/b", "/", "1/2/3", "1/"])
def test_wrong_fractions(text: str) -> None:
    with pytest.raises(ManifestError, match=r'is no number and no fraction such as "8/255"'):
        resolved(size=text)
    with pytest.raises(AttackError, match=r'^eps = "'):
        fraction("eps", text, AttackError)


def test_unknown_names_get_a_remedy() -> None:
    with pytest.raises(
        ManifestError, match=r'^suite.toml: attack: "sise" is unknown; did you mean "size"\?$'
    ):
        resolved(sise=1)
    with pytest.raises(ManifestError, match='"zzz" is unknown; valid: anything, '):
        resolved(zzz=1)
    with pytest.raises(AttackError, match='"a" is unknown; there is none'):
        check("here", {"a": 1}, {}, AttackError)


def test_missing_values() -> None:
    def needy(*, eps: float, where: Literal["a", "b"]) -> None: ...

    parameters = keyword_parameters(needy)
    assert parameters["eps"].required
    with pytest.raises(AttackError, match=r'^here: "eps" is missing; it must be float$'):
        check("here", {"where": "a"}, parameters, AttackError)
    with pytest.raises(AttackError, match='"where" is missing; it must be "a" or "b"'):
        check("here", {"eps": 1}, parameters, AttackError)
    assert check("here", {"eps": 1, "where": "b"}, parameters, AttackError) == {"eps": 1.0, "where": "b"}


def test_unnamed_parameters_are_refused() -> None:
    def loose(x: object, **options: int) -> None: ...

    with pytest.raises(CatalogError, match=r"loose takes \*\*options: parameters must be named"):
        keyword_parameters(loose)


def test_annotation_that_means_nothing_is_refused() -> None:
    def odd(*, size: Nowhere = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CatalogError, match=r"odd.*name 'Nowhere' is not defined"):
        keyword_parameters(odd)


@pytest.mark.parametrize(
    ("name", "takes_list", "takes_float", "spoken"),
    [
        ("count", False, False, "int"),
        ("size", False, True, "float"),
        ("maybe", False, True, "float or none"),
        ("either", False, False, "int or str"),
        ("name", False, False, "str"),
        ("mode", False, False, '"line" or "fixed"'),
        ("pair", True, False, "tuple of float, float"),
        ("names", True, False, "Sequence of str"),
        ("numbers", True, False, "list of int or none"),
        ("folder", False, False, "Path or none"),
        ("anything", False, False, "Any"),
    ],
)
def test_what_a_parameter_takes(name: str, takes_list: bool, takes_float: bool, spoken: str) -> None:
    parameter = PARAMETERS[name]
    assert (parameter.takes_list, parameter.takes_float, parameter.type_name) == (
        takes_list,
        takes_float,
        spoken,
    )


def test_values_as_digests_see_them() -> None:
    value = {"b": (1, 2.5, None), "a": {"y", "x"}, 3: Path("/tmp"), "c": [True, {"k": "v"}]}
    assert jsonable({"x": value}) == {
        "x": {"3": "/tmp", "a": ["x", "y"], "b": [1, 2.5, None], "c": [True, {"k": "v"}]}
    }


# --- groups -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recipe:
    rate: float
    epochs: Annotated[int, Ge(1)]
    flip: bool = True
    names: tuple[str, ...] = ()
    extra: list[int] = field(default_factory=lambda: [7])
    made: int = field(init=False, default=9)

    def __post_init__(self) -> None:
        if self.epochs > 100:
            raise AttackError("too many epochs")


def train(
    module: object, *, before: int = 1, recipe: Recipe = Recipe(rate=1, epochs=8), after: str = "a"
) -> tuple[int, Recipe, str]:
    return before, recipe, after


def test_the_fields_of_a_group_are_parameters_in_its_place() -> None:
    parameters = keyword_parameters(train)
    assert list(parameters) == ["before", "rate", "epochs", "flip", "names", "extra", "after"]
    assert parameters["epochs"] == Parameter("epochs", Annotated[int, Ge(1)], 8)
    assert parameters["rate"] == Parameter("rate", float, 1)
    assert parameters["names"].takes_list
    values = check("here", {"epochs": 3, "rate": "1/2"}, parameters, ManifestError)
    assert values == {
        "before": 1,
        "rate": 0.5,
        "epochs": 3,
        "flip": True,
        "names": (),
        "extra": [7],
        "after": "a",
    }
    assert type(check("here", {}, parameters, ManifestError)["rate"]) is float
    with pytest.raises(ManifestError, match=r"here.epochs = 0 must be int of at least 1"):
        check("here", {"epochs": 0}, parameters, ManifestError)
    with pytest.raises(ManifestError, match='"recipe" is unknown'):
        check("here", {"recipe": 3}, parameters, ManifestError)


def test_a_group_without_a_default_has_those_of_its_fields() -> None:
    def needy(*, recipe: Recipe) -> Recipe:
        return recipe

    parameters = keyword_parameters(needy)
    assert [name for name, parameter in parameters.items() if parameter.required] == ["rate", "epochs"]
    assert (parameters["flip"].default, parameters["extra"].default) == (True, [7])
    values = check("here", {"rate": 1, "epochs": 2}, parameters, ManifestError)
    assert needy(**arguments(needy, values)) == Recipe(rate=1.0, epochs=2)


def test_arguments_are_the_values_that_a_function_takes_with_groups_put_together() -> None:
    values = {"before": 5, "epochs": 3, "flip": False, "after": "b", "of another": 1}
    taken = arguments(train, values)
    assert taken == {"before": 5, "recipe": Recipe(rate=1, epochs=3, flip=False), "after": "b"}
    assert train(None, **taken) == (5, Recipe(rate=1, epochs=3, flip=False), "b")
    assert arguments(train, {}) == {"recipe": Recipe(rate=1, epochs=8)}
    with pytest.raises(AttackError, match="too many epochs"):
        arguments(train, {"epochs": 101})


def test_a_dataclass_that_can_change_is_no_group() -> None:
    @dataclass
    class Loose:
        epochs: int = 3

    def function(*, loose: Any = None) -> None: ...

    function.__annotations__["loose"] = Loose
    assert list(keyword_parameters(function)) == ["loose"]


def two_groups(*, first: Recipe, second: Recipe) -> None: ...


def group_after_keyword(*, epochs: int = 1, recipe: Recipe) -> None: ...


def group_before_keyword(*, recipe: Recipe, flip: bool = True) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [(two_groups, "rate"), (group_after_keyword, "epochs"), (group_before_keyword, "flip")],
)
def test_one_name_in_two_places_is_refused(function: Callable[..., Any], name: str) -> None:
    with pytest.raises(
        CatalogError, match=rf'{function.__name__} takes "{name}" twice; rename one of the two$'
    ):
        keyword_parameters(function)


def test_a_group_whose_annotations_mean_nothing_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        size: Nowhere = 1  # type: ignore[name-defined]  # noqa: F821

    def function(*, odd: Any = None) -> None: ...

    function.__annotations__["odd"] = Odd
    with pytest.raises(CatalogError, match=r"annotations of .*Odd cannot be read: name 'Nowhere'"):
        keyword_parameters(function)
