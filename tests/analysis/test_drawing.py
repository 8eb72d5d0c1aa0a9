"""What figures of all analyses share: words, series, panels, axes, intervals, legends and titles."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis import drawing
from harness.metrics import NOTHING, Estimate


def test_words() -> None:
    assert (drawing.number(0.525), drawing.percent(0.975)) == ("0.53", "97.5 %")
    assert (drawing.points(0.015), drawing.points(-0.02)) == ("+1.5 points", "-2.0 points")
    assert drawing.spaced("Wearing_Hat") == "Wearing Hat"
    assert drawing.dataset_text("drawn", "celeba") == "drawn, a stand-in for celeba"
    assert drawing.dataset_text("faces", float("nan")) == "faces"
    assert [drawing.range_text(some) for some in ([], [1000, 1000], [1000, 990])] == [
        "0", "1,000", "990 to 1,000",
    ]  # fmt: skip


def test_sixty_four_series_look_different() -> None:
    looks = [tuple(drawing.style(position).values()) for position in range(64)]
    assert len(set(looks)) == 64
    assert len({colour for colour, _ in looks[:8]}) == 8


def test_panels_are_in_rows_and_the_rest_of_the_grid_is_hidden() -> None:
    figure = drawing.figure(4, 3)
    placed = drawing.panels(figure, "abcde", across=3, sharex=True)
    assert [thing for _, thing in placed] == list("abcde")
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False]
    places = [
        (axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes, _ in placed
    ]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert len(drawing.panels(drawing.figure(4, 3), "ab")) == 2


def test_axes() -> None:
    figure = drawing.figure(4, 3)
    left, right = figure.subplots(1, 2)
    drawing.plain_axes(left, "x")
    assert not left.spines["top"].get_visible()
    assert left.spines["left"].get_visible()
    drawing.percent_axis(left, "% flipped", top=50)
    assert left.get_ylabel() == "% flipped"
    assert left.get_ylim() == pytest.approx((-1, 51.5))
    drawing.category_axis(right, map(str, range(12)))
    assert [label.get_text() for label in right.get_xticklabels()] == list(map(str, range(12)))
    assert right.get_xlim() == pytest.approx((-0.6, 11.6))
    drawing.category_axis(left, ["a", "b"], along="y")
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    top, bottom = left.transData.transform([(0, 0), (0, 1)])[:, 1]
    assert top > bottom  # the first is above


@pytest.mark.parametrize("along", ["x", "y"])
def test_an_interval_is_a_mark_on_a_line(along: Any) -> None:
    axes = drawing.figure(4, 3).subplots()
    drawing.interval(axes, 2, Estimate(0.5, 0.25, 0.75, 8), scale=100, along=along, **drawing.style(1))
    (line,), (mark,) = axes.collections, axes.lines
    ends = [(25, 2), (75, 2)] if along == "x" else [(2, 25), (2, 75)]
    assert line.get_segments()[0].tolist() == [list(end) for end in ends]
    assert mark.get_xydata().tolist() == [[50, 2] if along == "x" else [2, 50]]
    assert (mark.get_color(), mark.get_marker(), mark.get_linestyle()) == ("#D55E00", "s", "None")
    assert tuple(line.get_color()[0][:3]) == pytest.approx((0xD5 / 255, 0x5E / 255, 0))


def test_without_an_estimate_there_is_no_mark_and_without_an_interval_no_line() -> None:
    axes = drawing.figure(4, 3).subplots()
    drawing.interval(axes, 0, NOTHING)
    assert not axes.lines
    drawing.interval(axes, 0, Estimate(0.5, None, None, 1))
    assert len(axes.lines) == 1
    assert not axes.collections


def test_a_legend_of_looks_colours_and_artists() -> None:
    figure = drawing.figure(6, 3)
    axes = figure.subplots()
    (line,) = axes.plot([0, 1], [0, 1], label="drawn")
    drawing.legend_beside(figure, {"look": {"color": "red"}, "area": "#00FF00", "artist": line}, title="key")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["look", "area", "artist"]
    assert legend.get_title().get_text() == "key"
    assert [type(handle).__name__ for handle in legend.legend_handles] == ["Line2D", "Rectangle", "Line2D"]
    drawing.legend_beside(axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["drawn"]
    drawing.legend_beside(figure, {})
    assert len(figure.legends) == 1


def test_a_title_leaves_room_for_the_legend() -> None:
    words = "word " * 30
    bare, beside = drawing.figure(8, 3), drawing.figure(8, 3)
    drawing.legend_beside(beside, {"area": "red"})
    for figure in (bare, beside):
        drawing.title(figure, words)
    lines = [figure.get_suptitle().count("\n") for figure in (bare, beside)]
    assert lines == [1, 2]


def test_a_text_stands_where_inches_say() -> None:
    figure = drawing.figure(4, 2, layout="none")
    drawing.write(figure, 1, 0.5, "here", ha="center")
    (text,) = figure.texts
    assert (text.get_text(), text.get_position()) == ("here", (0.25, 0.25))
