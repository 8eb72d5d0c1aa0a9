"""Claims of the paper on the weights of the two combining layers (Ding et al., figures 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.analysis.claims import Claim, Finding, Missing, within
from harness.analysis.drawing import spaced
from harness.metrics import Estimate, mean
from harness_paw.analyses.layers import Layers, layers_of
from harness_paw.analyses.study import GRID, PAW, Study

Judged = Iterator[Finding | Missing]
LOCAL = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Bags_Under_Eyes", "Bangs", "Big_Lips", "Big_Nose",
    "Bushy_Eyebrows", "Double_Chin", "Eyeglasses", "Goatee", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "Pointy_Nose", "Receding_Hairline", "Sideburns", "Smiling", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Necklace", "Wearing_Necktie",
)  # fmt: skip
"""Attributes of one part of the face; the paper names the first and "Bushy_Eyebrows", the others are ours."""
GLOBAL = ("Attractive", "Blurry", "Heavy_Makeup", "Pale_Skin", "Chubby", "Male", "Oval_Face", "Young")
"""Attributes of the whole face; the paper names the first four, the others are ours."""
NAMED_LOCAL, NAMED_GLOBAL = ("5_o_Clock_Shadow", "Bushy_Eyebrows"), GLOBAL[:4]
EXCLUSIVE = (
    ("Attractive", "Blurry"), ("Black_Hair", "Blond_Hair"), ("No_Beard", "Goatee"), ("Male", "Heavy_Makeup"),
)  # fmt: skip
TOGETHER = (
    ("Chubby", "Double_Chin"), ("Heavy_Makeup", "Wearing_Lipstick"), ("Smiling", "High_Cheekbones"),
)  # fmt: skip
QUARTER = 0.25


def local_parts(study: Study, bars: None) -> Judged:
    """For local attributes, the own part weighs more than the whole image."""
    for one in _layers(study, PAW):
        yield _more(one, LOCAL, one.own - one.whole, "own part − whole image")


def global_whole(study: Study, bars: None) -> Judged:
    """For global attributes, the whole image weighs more than the own part."""
    for one in _layers(study, PAW):
        yield _more(one, GLOBAL, one.whole - one.own, "whole image − own part")


def _more(one: Layers, names: Sequence[str], values: np.ndarray, what: str) -> Finding | Missing:
    places = [one.net.outputs.index(name) for name in names if name in one.net.outputs]
    found = mean(values[places]) if places else Estimate(None, None, None, 0)
    told = f"{one.net.name}, mean of {len(places)} attributes, {what}:"
    return within(found, told, at_least=0.0, strict=True, form=_weight, used=(one.net,))


def largest_of_all(study: Study, bars: None) -> Judged:
    """The subnets that the paper names have the largest weight of all."""
    for one in _layers(study, PAW):
        for names, own in ((NAMED_LOCAL, True), (NAMED_GLOBAL, False)):
            for name in names:
                if name in one.net.outputs:
                    place = one.net.outputs.index(name)
                    wanted = place + 1 if own else 0
                    rank = int((one.switch[:, place] > one.switch[wanted, place]).sum()) + 1
                    subnet = "own part" if own else "whole image"
                    text = f"{one.net.name}, {spaced(name)}: {subnet} is number {rank} of {len(one.switch)}"
                    yield Finding(text, rank == 1, True, (one.net,))


def grid_whole(study: Study, bars: None) -> Judged:
    """Of blocks, none outweighs the whole image, for any attribute."""
    for one in _layers(study, GRID):
        above = one.whole > one.switch[1:].max(0)
        text = f"{one.net.name}: whole image above all blocks for {above.sum()} of {len(above)} attributes"
        yield Finding(text, bool(above.all()), True, (one.net,))


def exclusive_low(study: Study, bars: None) -> Judged:
    """Pairs that exclude each other have low weights."""
    for one in _layers(study, PAW):
        yield from _placed(one, EXCLUSIVE, high=False)


def together_high(study: Study, bars: None) -> Judged:
    """Pairs that often occur together have high weights."""
    for one in _layers(study, PAW):
        yield from _placed(one, TOGETHER, high=True)


def _placed(one: Layers, pairs: Sequence[tuple[str, str]], *, high: bool) -> Iterator[Finding]:
    """Say where the weight of pairs lies among those of all pairs, as a share of pairs below it."""
    rows, columns = np.triu_indices(len(one.net.outputs), 1)
    every = one.together[rows, columns]
    for pair in pairs:
        if not set(pair) <= set(one.net.outputs):
            continue
        first, second = (one.net.outputs.index(name) for name in pair)
        weight = one.together[first, second]
        below = float((every < weight).mean())
        names = " and ".join(map(spaced, pair))
        text = f"{one.net.name}, {names}: {weight:.3f}, above {below:.0%} of pairs"
        clear = below < QUARTER or below > 1 - QUARTER
        yield Finding(text, below > 0.5 if high else below < 0.5, clear, (one.net,))


def _layers(study: Study, kind: str) -> list[Layers]:
    return [one for net in study.of(kind) if (one := layers_of(net)) is not None]


def _weight(value: float) -> str:
    return f"{value:+.3f}"


NO_LAYERS = "no card tells the layers of `paw`"
MEANS = "t interval over attributes; the paper names few as local or global, and the others are our choice"
FACT = "a fact of one network's weights, without an interval"
PLACED = (
    "mean weight of both directions among all pairs; clear if in the lowest or highest quarter, since one "
    "network's weights have no interval"
)

CLAIMS = (
    Claim(
        "local attributes weigh their own part more than the whole image",
        short="local: own part > whole",
        paper="figure 5: 5 o Clock Shadow, Bushy Eyebrows and others",
        conditions=MEANS,
        judge=local_parts,
        missing=NO_LAYERS,
    ),
    Claim(
        "global attributes weigh the whole image more than their own part",
        short="global: whole > own part",
        paper="figure 5: Attractive, Blurry, Heavy Makeup, Pale Skin",
        conditions=MEANS,
        judge=global_whole,
        missing=NO_LAYERS,
    ),
    Claim(
        "the subnets that the paper names have the largest of all weights",
        short="named subnets are largest",
        paper='"always assigned the largest weight among the M + 1 subnets"; global: the whole image',
        conditions=FACT,
        judge=largest_of_all,
        missing=NO_LAYERS,
    ),
    Claim(
        "with blocks, the whole image outweighs all parts, for all attributes",
        short="blocks: whole > all parts",
        paper='"always higher … for predicting all the attributes"',
        conditions=FACT,
        judge=grid_whole,
        missing="no card tells the layers of `paw-grid`",
    ),
    Claim(
        "attributes that exclude each other have low relation weights",
        short="exclusive pairs are low",
        paper="figure 6: Attractive and Blurry, Black and Blond Hair, No Beard and Goatee, Male and Heavy "
        "Makeup",
        conditions=PLACED,
        judge=exclusive_low,
        missing=NO_LAYERS,
    ),
    Claim(
        "attributes that occur together have high relation weights",
        short="co-occurring pairs are high",
        paper="figure 6: Chubby and Double Chin, Heavy Makeup and Wearing Lipstick, Smiling and High "
        "Cheekbones",
        conditions=PLACED,
        judge=together_high,
        missing=NO_LAYERS,
    ),
)
