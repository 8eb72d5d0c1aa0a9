"""The cascade is compared with other models under the same attacks, and white-box attacks with transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis import Analysis, drawing
from harness.analysis.reading import Cell, cases, estimate, estimate_columns, typed
from harness.errors import HarnessError
from harness.metrics import NOTHING, rate
from harness.metrics.paired import difference
from harness.results import Results
from harness_paw.analyses.study import PAW, Net, Study, read_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEY = ["sample_id", "target"]
MODELS, TRANSFER = "models", "white-box and transfer"


@dataclass(frozen=True, eq=False)
class Attacked:
    """The cases with an outcome of a model under one attack and threat, maybe made on another model."""

    net: Net
    attack: str
    """What the suite calls the attack, without "from" and the surrogate."""
    threat: str
    surrogate: str | None
    cells: tuple[Cell, ...]
    cases: pd.DataFrame

    @property
    def name(self) -> str:
        """Return what claims call it."""
        made = f" from {self.surrogate}" if self.surrogate else ""
        return f"{self.attack}{made}, {self.threat}, on {self.net.name}"

    @property
    def coverage(self) -> float | None:
        """Return the share of planned cases that have an outcome; None where the plan is not known."""
        planned = sum(cell.planned for cell in self.cells)
        return len(self.cases) / planned if planned else None

    @property
    def reason(self) -> str | None:
        """Return why numbers of it are missing, where the folder says."""
        return next((cell.problem for cell in self.cells if cell.problem), None)


def read_attacked(study: Study) -> list[Attacked]:
    """Return the attacks on the models of a data set, transfers included, in the order of the cells."""
    nets = {net.name: net for net in study.nets if net.dataset == study.dataset}
    cells = [cell for cell in study.cells if cell.model in nets]
    held = cases(study.results, cells) if cells else {}
    groups: dict[tuple[str, str, str, str | None], list[Cell]] = {}
    for cell in cells:
        attack = cell.attack.removesuffix(f" from {cell.surrogate}")
        groups.setdefault((cell.model, attack, cell.threat, cell.surrogate), []).append(cell)
    found = []
    for (model, attack, threat, surrogate), same in groups.items():
        frame = pd.concat([held[cell.id] for cell in same], ignore_index=True)
        frame = frame[frame["target"].notna()].drop_duplicates(KEY)
        found.append(Attacked(nets[model], attack, threat, surrogate, tuple(same), frame))
    return found


def run(results: Results) -> Analysis:
    """Compare `paw` with every other model under the same attacks, and attacks on it with transferred ones.

    Rows: data set x ``comparison`` x attack x threat x ``first`` x ``second``. Comparison "models": ``first``
    is `paw`, ``second`` another model; ``success_first`` and ``success_second`` are the shares of ``n``
    cases, right before the attack in both, on which it succeeds, ``success_difference`` the first less the
    second, paired by image and attribute; ``robust_...`` the same of the share that is right and stays so,
    over the ``cases`` of both. Comparison "white-box and transfer": ``first`` is the attack on `paw` itself,
    ``second`` the same attack made on another model and judged on `paw`. ``more`` names the side whose
    success rate is clearly higher, by the 95 % interval of the difference. A transfer that is clearly
    stronger than the white-box attack is a sign of masked gradients; boards then flag the row as
    black-box-stronger.

    Raises:
        HarnessError: `paw` was not attacked, or nothing else under the same attack.
    """
    rows = [row for study in read_studies(results) for row in _rows(study)]
    if not rows:
        raise HarnessError(
            f"{results.path}: nothing can be compared; attack `paw` and another model, or put [[transfer]] "
            "to `paw` into the suite"
        )
    table = typed(rows, ("more",))
    return Analysis(table, _figure(table))


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    found = read_attacked(study)
    for own in found:
        if own.net not in study.of(PAW) or own.surrogate is not None:
            continue
        for other in found:
            if (other.attack, other.threat) != (own.attack, own.threat):
                continue
            if other.surrogate is None and other.net is not own.net:
                yield _row(study, MODELS, own, other)
            elif other.surrogate is not None and other.net is own.net:
                yield _row(study, TRANSFER, own, other)


def both(one: Attacked, other: Attacked) -> pd.DataFrame:
    """Return the cases of both: cluster, right and success of one (_x) and of the other (_y)."""
    return one.cases.merge(other.cases[[*KEY, "right", "success"]], on=KEY)


def _row(study: Study, comparison: str, one: Attacked, other: Attacked) -> dict[str, Any]:
    shared = both(one, other)
    right = shared[shared["right_x"] & shared["right_y"]]
    apart = difference(right["success_x"], right["success_y"], right["cluster"])
    robust = [shared[f"right_{side}"] & ~shared[f"success_{side}"] for side in ("x", "y")]
    of_models = comparison == MODELS
    names = (one.net.name, other.net.name) if of_models else (one.net.name, f"from {other.surrogate}")
    clear = apart.low is not None and apart.high is not None
    more = ""
    if clear and float(apart.low or 0) > 0:
        more = names[0]
    elif clear and float(apart.high or 0) < 0:
        more = names[1]
    return {
        **study.identity,
        "comparison": comparison,
        "attack": one.attack,
        "threat": one.threat,
        "first": names[0],
        "second": names[1],
        "n": len(right),
        **estimate_columns("success_first", rate(right["success_x"], right["cluster"])),
        **estimate_columns("success_second", rate(right["success_y"], right["cluster"])),
        **estimate_columns("success_difference", apart),
        "more": more,
        "cases": len(shared),
        **estimate_columns("robust_first", rate(robust[0], shared["cluster"]) if of_models else NOTHING),
        **estimate_columns("robust_second", rate(robust[1], shared["cluster"]) if of_models else NOTHING),
        **estimate_columns(
            "robust_difference", difference(robust[0], robust[1], shared["cluster"]) if of_models else NOTHING
        ),
    }


# --- figure -----------------------------------------------------------------------------------------------


def _figure(table: pd.DataFrame) -> Figure:
    panels = [
        (dataset, comparison, part)
        for (dataset, comparison), part in table.groupby(["dataset", "comparison"], sort=False)
    ]
    most = max(part[["attack", "threat"]].drop_duplicates().shape[0] for _, _, part in panels)
    figure = drawing.figure(13.0, (0.62 * most + 1.3) * -(-len(panels) // 2) + 0.5)
    seconds = list(dict.fromkeys(table["second"]))
    looks = {name: drawing.style(turn) for turn, name in enumerate(seconds)}
    for axes, (dataset, comparison, part) in drawing.panels(figure, panels, across=2):
        lines = list(dict.fromkeys(zip(part["attack"], part["threat"], strict=True)))
        for place, (attack, threat) in enumerate(lines):
            own = part[(part["attack"] == attack) & (part["threat"] == threat)]
            for turn, row in enumerate(own.to_dict("records")):
                at = place + 0.7 * (turn + 0.5) / len(own) - 0.35
                found = estimate(row, "success_difference")
                drawing.interval(axes, at, found, scale=100, **looks[str(row["second"])])
        axes.axvline(0, color="0.4", linewidth=0.8)
        drawing.category_axis(axes, [f"{attack}, {threat}" for attack, threat in lines], along="y")
        drawing.plain_axes(axes, "x")
        own_name = part["first"].iloc[0]
        against = "the model named" if comparison == MODELS else "the transferred one"
        axes.set_xlabel(f"success on {own_name} less {against}, points")
        axes.set_title(f"{dataset}: {comparison}", fontsize=10, loc="left")
    drawing.legend_beside(figure, {name: look | {"linestyle": "none"} for name, look in looks.items()})
    drawing.title(figure, "Attacks on PaW beside others, paired by image and attribute (95 % intervals)")
    return figure
