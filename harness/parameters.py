"""Parameters of a plugin's function are read from its signature; values are checked against them."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from typing import Any

from harness.errors import CatalogError, HarnessError, nearest

REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """A parameter is one keyword parameter of a plugin's function."""

    name: str
    annotation: Any
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Return whether it has no default."""
        return self.default is REQUIRED

    @property
    def takes_list(self) -> bool:
        """Return whether one value is a list: then only a list of lists is crossed."""
        return any(
            isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, str)
            for origin in _origins(self.annotation)
        )

    @property
    def takes_float(self) -> bool:
        """Return whether a fraction such as "8/255" may be written."""
        return float in _origins(self.annotation)

    @property
    def type_name(self) -> str:
        """Return the type as a person writes it: "float", "int of at least 1", "int or none"."""
        return _type_name(self.annotation)


def optional(**types: Any) -> dict[str, Parameter]:
    """Return parameters of these names and types that may be left out, and are then None."""
    return {name: Parameter(name, annotation | None, None) for name, annotation in types.items()}


@cache
def keyword_parameters(function: Callable[..., Any], given: tuple[str, ...] = ()) -> dict[str, Parameter]:
    """Return the keyword parameters of a function, less those that the harness itself gives.

    Positional parameters are the harness's; ``**kwargs`` is refused, for nothing could be checked. Where a
    keyword parameter is a group, a frozen dataclass, its fields are parameters in its place.
    """
    found: dict[str, Parameter] = {}
    for keyword in _keywords(function).values():
        if keyword.name in given:
            continue
        for parameter in _fields(keyword) if _is_group(keyword) else (keyword,):
            if parameter.name in found:
                raise CatalogError(
                    f'{_where(function)} takes "{parameter.name}" twice; rename one of the two'
                )
            found[parameter.name] = parameter
    return found


def options_of(group: type) -> dict[str, Parameter]:
    """Return the fields of a frozen dataclass as parameters."""
    return {field.name: field for field in _fields(Parameter(group.__name__, group))}


def with_options(
    place: str, own: Mapping[str, Parameter], options: Mapping[str, Parameter]
) -> dict[str, Parameter]:
    """Return the parameters of an attack's functions, and the options that the harness itself heeds.

    Raises:
        CatalogError: a function takes a parameter of that name.
    """
    for name in own.keys() & options.keys():
        raise CatalogError(
            f'{place} takes "{name}", an option of every attack that sees gradients, which the harness '
            "heeds; rename the parameter, or leave it out"
        )
    return {**own, **options}


def arguments(function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a function takes, as its keyword arguments, with groups put together."""
    taken: dict[str, Any] = {}
    for name, keyword in _keywords(function).items():
        if not _is_group(keyword):
            taken |= {name: values[name]} if name in values else {}
            continue
        own = {field.name: values[field.name] for field in _fields(keyword) if field.name in values}
        taken[name] = keyword.annotation(**own) if keyword.required else replace(keyword.default, **own)
    return taken


@cache
def _keywords(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the keyword parameters of a function as they stand in its signature."""
    if not callable(function):
        raise CatalogError(f"{function!r} is no function, and a plugin names it as one")
    hints = _hints(function)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise CatalogError(f"{_where(function)} takes **{name}: parameters must be named")
        if parameter.kind is parameter.KEYWORD_ONLY:
            found[name] = Parameter(name, hints.get(name, Any), parameter.default)
    return found


def _is_group(keyword: Parameter) -> bool:
    """Return whether a parameter is a frozen dataclass, whose fields a manifest gives one by one."""
    options = getattr(keyword.annotation, "__dataclass_params__", None)
    return isinstance(keyword.annotation, type) and options is not None and options.frozen


def _fields(group: Parameter) -> list[Parameter]:
    """Return the fields of a group as parameters, with the values of the group's default."""

    def default_of(field: Field[Any]) -> Any:
        if not group.required:
            return getattr(group.default, field.name)
        if field.default_factory is not MISSING:
            return field.default_factory()
        return REQUIRED if field.default is MISSING else field.default

    hints = _hints(group.annotation)
    return [
        Parameter(field.name, hints[field.name], default_of(field))
        for field in fields(group.annotation)
        if field.init
    ]


def _hints(annotated: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(annotated, include_extras=True)  # with the bounds of Annotated
    except (NameError, TypeError, AttributeError) as error:
        raise CatalogError(f"the annotations of {_where(annotated)} cannot be read: {error}") from error


def _where(named: Any) -> str:
    return f"{named.__module__}.{getattr(named, '__qualname__', named)}"


def check(
    place: str, values: Mapping[str, Any], parameters: Mapping[str, Parameter], error: type[HarnessError]
) -> dict[str, Any]:
    """Return values completed with defaults and converted to the annotated types.

    Args:
        place: where the values stand, the beginning of every error.

    Raises:
        error: a name is unknown, a required value is missing, or a value has a wrong type.
    """
    for name in values:
        if name not in parameters:
            raise error(f'{place}: "{name}" is unknown; {nearest(name, parameters)}')
    resolved = {}
    for name, parameter in parameters.items():
        if name not in values:
            if parameter.required:
                raise error(f'{place}: "{name}" is missing; it must be {parameter.type_name}')
            resolved[name] = _as_written(parameter)
        else:
            resolved[name] = convert(f"{place}.{name}", values[name], parameter, error)
    return resolved


def convert(place: str, value: Any, parameter: Parameter, error: type[HarnessError]) -> Any:
    """Return one value in the annotated type; fractions such as "8/255" become floats."""
    if isinstance(value, str) and parameter.takes_float:
        value = fraction(place, value, error) if "/" in value else value
    if parameter.annotation is Any:
        return value
    from pydantic import PydanticUserError, ValidationError

    try:
        # Not strict: 1 is a float, and a list a tuple; but "3" is no number and 1.5 no integer.
        converted = _adapter(parameter.annotation).validate_python(value)
    except ValidationError as problem:
        first = problem.errors()[0]
        reason = f": {first['msg']}"
        if first["type"] == "literal_error":  # the type names the values already
            known = [choice for choice in typing.get_args(parameter.annotation) if isinstance(choice, str)]
            near = nearest(value, known) if isinstance(value, str) else ""
            reason = f"; {near}" if near.startswith("did you mean") else ""
        raise error(f"{place} = {value!r} must be {parameter.type_name}{reason}") from None
    except PydanticUserError:
        raise CatalogError(f"{place}: no manifest can give a {parameter.type_name}") from None
    if converted != converted:
        raise error(f"{place} = {value!r} is not a number; it must be {parameter.type_name}")
    if _crossed(value, converted):
        raise error(f"{place} = {value!r} must be {parameter.type_name}")
    return converted


def _as_written(parameter: Parameter) -> Any:
    """Return the default as if the manifest gave it: identities must not differ by 1 and 1.0."""
    whole = isinstance(parameter.default, int) and not isinstance(parameter.default, bool)
    if whole and parameter.takes_float and int not in _origins(parameter.annotation):
        return float(parameter.default)
    return parameter.default


def fraction(place: str, text: str, error: type[HarnessError]) -> float:
    """Return the value of "8/255" or ".5"."""
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise error(f'{place} = "{text}" is no number and no fraction such as "8/255"') from None


def jsonable(value: Any) -> Any:
    """Return a resolved value as JSON and digests see it: tuples as lists, paths and the like as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in sorted(value.items(), key=_key)}
    if isinstance(value, list | tuple | set | frozenset):
        items: Iterable[Any] = sorted(value) if isinstance(value, set | frozenset) else value
        return [jsonable(item) for item in items]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _crossed(value: Any, converted: Any) -> bool:
    """Return whether conversion changed the kind of a value, such as text to number, in lists too."""
    if isinstance(value, list | tuple) and isinstance(converted, list | tuple):
        return any(map(_crossed, value, converted))
    if not isinstance(converted, bool | int | float):
        return False
    return isinstance(value, str) or isinstance(value, bool) != isinstance(converted, bool)


def _key(item: tuple[Any, Any]) -> str:
    return str(item[0])


@cache
def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


def _origins(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union without their arguments: list[str] | None gives (list, NoneType)."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _origins(arguments[0])
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return tuple(origin for argument in arguments for origin in _origins(argument))
    return (origin or annotation,)


def _type_name(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        bounds = [_bound(item) for item in arguments[1:]]
        return " ".join([_type_name(arguments[0]), " and ".join(filter(None, bounds))]).strip()
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(f'"{argument}"' for argument in arguments)
    if annotation is type(None):
        return "none"
    if origin is not None:
        inner = ", ".join("…" if argument is Ellipsis else _type_name(argument) for argument in arguments)
        return f"{getattr(origin, '__name__', origin)} of {inner}"
    return getattr(annotation, "__name__", str(annotation))


_BOUNDS = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}


def _bound(limit: Any) -> str:
    """Return "of at least 1" for ``annotated_types.Ge(1)``, and nothing for what is no bound."""
    return next(
        (f"{word} {getattr(limit, key):g}" for key, word in _BOUNDS.items() if hasattr(limit, key)), ""
    )


def digest_of(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
