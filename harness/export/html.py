"""The HTML export is one page with a table: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from harness.export.columns import (
    columns_of,
    explanations,
    flag_text,
    flags_of,
    flags_on,
    notes,
    provenance,
    rows_of,
    thresholds_on,
    warnings_of,
)
from harness.leaderboard.ranking import CLEAN, WORST_CASE

if TYPE_CHECKING:
    import pandas as pd

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .6rem; }
th, td { padding: .2rem .6rem; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid; vertical-align: bottom; }
.number { text-align: right; }
tbody { border-bottom: 1px solid #8888; }
tr.clean { color: GrayText; }
tr.worst-case { font-weight: 600; }
td a { color: inherit; text-decoration: underline dotted; }
.flags { white-space: normal; min-width: 13rem; }
.flags a { white-space: nowrap; }
dt:target, dt:target + dd { background: Mark; color: MarkText; }
dt { font-weight: 600; float: left; clear: left; margin-right: .5rem; }
dd { margin: 0 0 .3rem 0; }
</style>
</head>
<body>
<h1>{{ name }}</h1>
{% for line in warnings %}<p><strong>⚑ {{ line }}</strong></p>
{% endfor -%}
{% for line in thresholds %}<p>{{ line }}</p>
{% endfor -%}
<div class="wide">
<table>
<caption>{{ provenance }}</caption>
<thead>
<tr>{% for column in columns -%}
<th scope="col"{% if column.is_number %} class="number"{% endif %}>{{ column.heading }}</th>
{%- endfor %}</tr>
</thead>
{% for rows in models -%}
<tbody>
{% for row in rows -%}
<tr{% if row.attack in special %} class="{{ row.attack }}"{% endif %}>{% for column in columns -%}
<td{% if column.is_number %} class="number"{% elif column.name == "flags" %} class="flags"{% endif %}>
{%- if column.name == "flags" -%}
{% for flag in flags_of(row) -%}
{{ "" if loop.first else " " }}<a href="#{{ flag }}" title="{{ flags[flag] }}">⚑ {{ flag }}</a>
{%- endfor %}
{%- else %}{{ column.text(row) }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor -%}
</tbody>
{% endfor -%}
</table>
</div>
{% if not models %}<p>No cell of this suite has been run.</p>
{% endif -%}
{% if flags %}<h2>Flags</h2>
<p>Signs that a row tells more of the attack, or of masked gradients, than of a robust model.</p>
<dl>
{% for flag, text in flags.items() %}<dt id="{{ flag }}">⚑ {{ flag }}</dt><dd>{{ text }}</dd>
{% endfor -%}
</dl>
{% endif -%}
{% if errors %}<h2>Errors</h2>
<ul>
{% for error in errors %}<li>{{ error }}</li>
{% endfor -%}
</ul>
{% endif -%}
<h2>How to read it</h2>
<dl>
{% for term, text in explanations.items() %}<dt>{{ term }}</dt><dd>{{ text }}</dd>
{% endfor -%}
</dl>
</body>
</html>
"""


def render(board: pd.DataFrame, suite: Mapping[str, Any]) -> str:
    """Return the board as a page, the rows of a model together."""
    models: dict[Any, list[Any]] = {}
    for row in rows_of(board):
        models.setdefault((row["dataset"], row["goal"], row["model"]), []).append(row)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    page = template.render(
        name=suite.get("name") or "Leaderboard",
        provenance=provenance(suite),
        columns=columns_of(board),
        models=list(models.values()),
        warnings=warnings_of(board),
        thresholds=thresholds_on(board),
        flags={name: flag_text(name, board) for name in flags_on(board)},
        flags_of=flags_of,
        errors=notes(board),
        explanations=explanations(board),
        special=(CLEAN, WORST_CASE),
    )
    return page + "\n"
