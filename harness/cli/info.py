"""`harness info KIND NAME` shows the card of one entry: source, options, presets, parameter counts."""

from __future__ import annotations

import argparse
from typing import Any

from harness.cli.arguments import add_json, add_set, assignments, print_json
from harness.errors import HarnessError, nearest


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "info",
        help="show the card of a model, attack, dataset, …",
        description="Show the source, options and presets of a model, an attack, a data set, ….",
    )
    parser.add_argument("kind", metavar="KIND", help="model, attack, dataset, measure, metric or analysis")
    parser.add_argument("name", metavar="NAME", help="a name of `harness ls`")
    parser.add_argument("--preset", metavar="NAME", help="only this preset")
    add_set(parser, "KEY=VALUE", "count a model's parameters with another value of an option")
    add_json(parser)
    parser.set_defaults(handle=handle)


def handle(given: argparse.Namespace) -> int:
    """Print the card."""
    from harness.catalog import KINDS, SINGULAR
    from harness.cli.card import card

    plural = {singular: kind for kind, singular in SINGULAR.items()} | {kind: kind for kind in KINDS}
    if given.kind not in plural:
        raise HarnessError(f'kind "{given.kind}" is unknown; {nearest(given.kind, SINGULAR.values())}')
    shown = card(plural[given.kind], given.name, given.preset, assignments(given.overrides))
    if given.json:
        print_json(shown)
    else:
        _print(shown)
    return 0


def _print(shown: dict[str, Any]) -> None:
    print(f"{shown['name']}: {shown['summary']}")
    print(f"  by      {shown['distribution']} {shown['version']}, plugin {shown['plugin']}")
    if "installed" in shown:
        print(f"  local   install from {shown['installed']}")
    for key in ("source", "head", "heads", "access", "norms", "budget", "unit", "direction"):
        if shown.get(key):
            value = shown[key]
            print(f"  {key:<7} {', '.join(value) if isinstance(value, list) else value}")
    if shown.get("parameters") is not None:
        print(f"  parameters {shown['parameters']:,}{_per(shown)}")
    if shown.get("counting"):
        print(f"  counted {shown['counting']}")
    for name, preset in shown.get("presets", {}).items():
        print(f"  preset {name}: {', '.join(f'{key} = {value}' for key, value in preset['values'].items())}")
        if "parameters" in preset:
            height, width = preset["size"]
            print(f"    {preset['parameters']:,} parameters{_per(shown)} at {height}x{width}")
        for choice, count in preset.get("variants", {}).items():
            print(f"    {count:,} with {choice}")
    if shown["options"]:
        print("  options")
    for option in shown["options"]:
        default = "required" if option["required"] else f"default {option['default']!r}"
        print(f"    {option['name']}: {option['type']}, {default}")


def _per(shown: dict[str, Any]) -> str:
    return f" per {shown['counted_per']}" if shown.get("counted_per") else ""
