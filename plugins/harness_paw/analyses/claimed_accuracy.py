"""Claims of the paper on accuracy (Ding et al., Tables 1 to 5 and section "Classification Results")."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from harness.analysis import claims
from harness.analysis.claims import Claim, Finding, Missing
from harness.analysis.drawing import percent, points
from harness_paw.analyses.study import GRID, PART, PAW, TEACHER, WHOLE, Net, Study, by_attribute, gain

Judged = Iterator[Finding | Missing]
MARGIN = 0.01
"""What "little" is: a point of accuracy."""

within = partial(claims.within, form=points, ends=points)


def above_part(study: Study, bars: None) -> Judged:
    """PaW is more accurate than its parts alone."""
    yield from _above(study, PAW, PART)


def above_whole(study: Study, bars: None) -> Judged:
    """PaW is more accurate than the whole image alone."""
    yield from _above(study, PAW, WHOLE)


def above_grid(study: Study, bars: None) -> Judged:
    """PaW is more accurate than with blocks of the image in place of localised parts."""
    yield from _above(study, PAW, GRID)


def above_moon(study: Study, bars: None) -> Judged:
    """PaW is more accurate than MOON."""
    yield from _above(study, PAW, "moon")


def _above(study: Study, one: str, other: str) -> Judged:
    for first, second in study.pairs(one, other):
        found, how = gain(first, second)
        yield within(found, _told(first, second, how), at_least=0.0, strict=True, used=(first, second))


def multi_net(study: Study, bars: None) -> Judged:
    """The localisation network is more accurate with multi-net learning than without."""
    own = [net for net in study.nets if net.dataset == study.dataset and net.stage(TEACHER)]
    with_, without = ([net for net in own if net.multi_net is asked][:1] for asked in (True, False))
    for first in with_:
        for second in without:
            found = by_attribute(first.stage(TEACHER), second.stage(TEACHER))
            what = f"{_mean(first, TEACHER)} with − {_mean(second, TEACHER)} without, localisation branch:"
            yield within(found, what, at_least=0.0, strict=True, used=(first, second))


def compression(study: Study, bars: None) -> Judged:
    """The compressed networks lose little against the localisation network that they learn from."""
    for subnet in ("snet1", "snet2", "snet3"):
        for net in study.of(WHOLE, subnet=subnet)[:1]:
            teacher, student = net.stage(TEACHER), net.stage("whole")
            if teacher and student:
                found = by_attribute(student, teacher)
                what = f"{subnet} {_mean(net, 'whole')} − TNet {_mean(net, TEACHER)}:"
                yield within(found, what, at_least=-MARGIN, used=(net,))


def unaligned(study: Study, bars: None) -> Judged:
    """PaW loses little on faces that are not aligned."""
    for own, aligned in study.twins(PAW):
        found, how = gain(own, aligned)
        what = _told(own, aligned, how, (f"on {own.dataset}", f"on {aligned.dataset}"))
        yield within(found, what, at_least=-MARGIN, used=(own, aligned))


def _told(one: Net, other: Net, how: str, names: tuple[str, str] | None = None) -> str:
    first, second = names or (one.name, other.name)
    sides = [
        f"{name} {'none' if net.mean_accuracy is None else percent(net.mean_accuracy)}"
        for name, net in ((first, one), (second, other))
    ]
    return f"{' − '.join(sides)}, paired {how}:"


def _mean(net: Net, stage: str) -> str:
    values = net.stage(stage).values()
    return percent(sum(values) / len(values))


PAIRED = "mean over all attributes on the test images, paired by person where cards tell them"
VALIDATION = "mean over attributes on the validation images, paired by attribute (t interval)"

CLAIMS = (
    Claim(
        "PaW is more accurate than its parts alone",
        short="PaW > part-only",
        paper="91.23 vs 90.46 % (Table 5; the text swaps part-only and whole-only)",
        conditions=f"trained alike; {PAIRED}",
        judge=above_part,
        missing="`paw` and `paw-part-only`, trained alike, are not both in the suite",
    ),
    Claim(
        "PaW is more accurate than the whole image alone",
        short="PaW > whole-only",
        paper="91.23 vs 90.60 % (Table 5)",
        conditions=f"trained alike; {PAIRED}",
        judge=above_whole,
        missing="`paw` and `paw-whole-only`, trained alike, are not both in the suite",
    ),
    Claim(
        "localised parts are better than blocks of the image",
        short="PaW > 4x4 blocks",
        paper="91.23 vs 90.95 %",
        conditions=f"trained alike; {PAIRED}",
        judge=above_grid,
        missing="`paw` and `paw-grid`, trained alike, are not both in the suite",
    ),
    Claim(
        "PaW is more accurate than MOON",
        short="PaW > MOON",
        paper="91.33 vs 90.94 %, aligned",
        conditions=f"as the suite trains both; {PAIRED}",
        judge=above_moon,
        missing="`paw` and `moon` are not both in the suite",
    ),
    Claim(
        "multi-net learning helps the localisation network",
        short="multi-net learning helps",
        paper="91.07 vs 91.01 % (Table 1); CUB-200 71.66 vs 67.40 and 76.03 vs 71.90 % (Table 2)",
        conditions=f"the localisation branch; {VALIDATION}",
        judge=multi_net,
        missing="no model of the cascade with multi_net = false is in the suite beside one with it",
    ),
    Claim(
        "compression costs little accuracy",
        short="compression costs little",
        paper="TNet 91.07, SNet1 91.02, SNet2 90.89, SNet3 90.60 % (Table 3)",
        conditions=f"at most 1 point less than the network that it learns from; {VALIDATION}",
        judge=compression,
        missing="no `paw-whole-only` tells the accuracy of its stages",
    ),
    Claim(
        "unaligned faces cost little accuracy",
        short="unaligned ≈ aligned",
        paper="91.23 unaligned vs 91.33 % aligned",
        conditions=f"at most 1 point less than the same recipe on aligned faces; {PAIRED}",
        judge=unaligned,
        missing="the data set is aligned, or the same recipe was not trained on an aligned one",
    ),
)
