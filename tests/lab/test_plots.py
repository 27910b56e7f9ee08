"""Plots of a made-up bench: what is drawn is what the summary says, and it can be read."""

import copy
import itertools
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer

from outthink.core.errors import BadInput
from outthink.lab import plots
from outthink.lab.summary import summarise
from tests.lab import made_up

KINDS = ["coverage", "difficulty", "differences", "reliability", "risk_coverage"]


@pytest.fixture(scope="module")
def whole():
    """A summary with everything, over two axes."""
    found = summarise(made_up.results(problems=24, length=5))
    for axis in list(found["axes"]):
        if axis not in ("completion_tokens", "usd"):
            del found["axes"][axis]
        if axis != "usd":
            del found["best_at"][axis]
    return found


@pytest.fixture(scope="module")
def drawn(whole):
    return figures(whole)


def figures(summary):
    return dict(plots._figures(summary, plots._styles(summary)))


def bars(figure):
    """Of each line with intervals: its points and the ends of its bars."""
    for container in figure.axes[0].containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (spans,) = container.lines
        ends = [(s[0][1], s[1][1]) for s in spans.get_segments()]
        yield list(zip(*line.get_data(), strict=True)), ends


def test_each_kind_has_its_picture(drawn):
    assert set(drawn) == {"accuracy_completion_tokens", "accuracy_usd", "best_at_usd", *KINDS}


def test_each_picture_is_written_twice_and_the_same_again(whole, tmp_path):
    few = {**whole, "axes": {"usd": whole["axes"]["usd"]}, "best_at": {}, "bins": None}
    few["arms"] = [{**arm, "confidence": None} for arm in whole["arms"]]
    files = plots.draw(few, tmp_path / "a")
    names = ("accuracy_usd", "coverage", "differences")
    assert [f.name for f in files] == [f"{n}.{end}" for n in names for end in ("png", "svg")]
    again = plots.draw(copy.deepcopy(few), tmp_path / "b")
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        if one.suffix == ".svg":
            text = one.read_text()
            assert ET.fromstring(text).tag.endswith("svg")
            assert "<dc:date>" not in text


def test_a_png_is_dense_enough_for_print(whole, tmp_path):
    whole = {**whole, "axes": {}, "best_at": {}, "bins": None}
    for arm in (arms := copy.deepcopy(whole["arms"])):
        arm.update(coverage=None, confidence=None)
    (png, _) = plots.draw({**whole, "arms": arms}, tmp_path)
    header = png.read_bytes()
    at = header.index(b"pHYs")
    a_metre = int.from_bytes(header[at + 4 : at + 8], "big")
    assert a_metre * 0.0254 >= 150


def test_accuracy_and_its_intervals_stand_where_the_summary_says(whole, drawn):
    found = [(y, *ends, x) for points, spans in bars(drawn["accuracy_usd"])
             for (x, y), ends in zip(points, spans, strict=True)]  # fmt: skip
    assert len(found) == len(whole["arms"])
    for arm in whole["arms"]:
        asked = [arm["accuracy"][k] for k in ("value", "low", "high")]
        cost = arm["costs"]["usd"]["value"]
        # series stand a hair apart
        assert any(
            at[:3] == pytest.approx(asked) and at[3] == pytest.approx(cost, rel=0.06)
            for at in found
        )


def test_the_front_is_ringed_and_coverage_is_dashed_only_over_tokens(whole, drawn):
    for axis in ("usd", "completion_tokens"):
        lines = drawn[f"accuracy_{axis}"].axes[0].lines
        ring = next(line for line in lines if line.get_label() == "Pareto front")
        assert len(ring.get_xdata()) == len(whole["axes"][axis]["pareto"])
        assert any(line.get_linestyle() == "--" for line in lines) == (axis != "usd")


def test_the_ceiling_is_never_below_the_accuracy_it_is_a_ceiling_of(whole, drawn):
    lines = drawn["accuracy_completion_tokens"].axes[0].lines
    dashed = {p for line in lines if line.get_linestyle() == "--"
              for p in zip(*line.get_data(), strict=True)}  # fmt: skip
    for arm in whole["arms"]:
        at = arm["costs"]["completion_tokens"]["value"], arm["coverage"]["value"][-1]
        assert at in dashed
        assert at[1] >= arm["accuracy"]["value"]


def test_series_that_choose_among_the_same_candidates_have_one_curve(drawn):
    ax = drawn["coverage"].axes[0]
    assert len(ax.lines) == 2  # two models, three series
    assert "1 more on the same candidates" in ax.get_legend_handles_labels()[1][0]


def test_risk_is_what_accuracy_leaves(whole, drawn):
    ax = drawn["risk_coverage"].axes[0]
    arm = next(a for a in whole["arms"] if ax.lines[0].get_label().startswith(f"{a['label']} ("))
    curve = arm["confidence"]["curve"]
    assert list(ax.lines[0].get_xdata()) == curve["coverage"]
    assert list(ax.lines[0].get_ydata()) == pytest.approx([1 - v for v in curve["accuracy"]])


def test_differences_have_a_row_each_but_for_the_baseline(whole, drawn):
    ax = drawn["differences"].axes[0]
    names = [t.get_text().replace("\n", " ") for t in ax.get_yticklabels()]
    assert names == [a["label"] for a in whole["arms"] if a["label"] != whole["baseline"]]
    assert whole["baseline"] in ax.get_xlabel()
    beside = [text.get_text() for text in ax.texts]
    assert beside[0].startswith(f"{100 * whole['arms'][1]['difference']['value']:+.1f} [")


def test_the_best_at_a_budget_is_told_from_the_half_that_did_not_choose(whole, drawn):
    ((points, ends),) = bars(drawn["best_at_usd"])
    rows = whole["best_at"]["usd"]
    assert points == [(r["budget"], r["reported"]["value"]) for r in rows]
    assert [low for low, _ in ends] == pytest.approx([r["reported"]["low"] for r in rows])


def on_axis(label, axis):
    place = label.get_position()[0 if axis.axis_name == "x" else 1]
    low, high = sorted(axis.get_view_interval())
    return low <= place <= high


def test_no_label_hides_another_and_none_is_cut_off(drawn):
    for name, figure in drawn.items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        ax, renderer = figure.axes[0], canvas.get_renderer()
        for axis in (ax.xaxis, ax.yaxis):
            seen = [t for t in axis.get_ticklabels() if on_axis(t, axis)]
            boxes = [t.get_window_extent(renderer) for t in seen]
            for a, b in itertools.combinations(boxes, 2):
                assert not a.overlaps(b), name
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.texts]
        texts += [
            t for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels() if on_axis(t, axis)
        ]
        texts += [t for legend in figure.legends for t in legend.get_texts()]
        width, height = canvas.get_width_height()
        for text in (t for t in texts if t.get_text()):
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, (name, text)
            assert box.x1 <= width + 1, (name, text)
            assert box.y0 >= -1, (name, text)
            assert box.y1 <= height + 1, (name, text)
        for legend in figure.legends:
            assert not legend.get_window_extent(renderer).overlaps(ax.get_window_extent(renderer))


def test_fifty_series_look_different():
    styles = plots._Styles([(str(i), "m") for i in range(50)])
    assert len({tuple(styles.of(key).values()) for key in styles.place}) == 50


@pytest.mark.parametrize("what", ["one arm", "no samples", "failed", "no runs"])
def test_what_is_not_there_is_not_drawn(what):
    results = made_up.results(problems=6, seeds=1, length=5)
    if what == "one arm":
        results.arms = results.arms[:1]
        results.runs = [run for run in results.runs if run.arm == results.arms[0].label]
    elif what == "no samples":
        results.samples = []
        results.runs = [replace(r, candidates=(), confidence=None) for r in results.runs]
    elif what == "failed":
        arm = results.arms[3].label
        results.runs = [replace(r, right=None, error="no") if r.arm == arm else r
                        for r in results.runs]  # fmt: skip
    else:
        results.runs = []
    summary = summarise(results)
    for axis in ("total_tokens", "calls", "critical_seconds", "flops", "usd"):
        summary["axes"].pop(axis, None)
        summary["best_at"].pop(axis, None)
    names = set(figures(summary))
    tokens = {"accuracy_completion_tokens", "best_at_completion_tokens"}
    assert (
        names
        == {
            # one sample a problem, one seed: none is left to tell the difficulty by
            "one arm": {*KINDS, *tokens} - {"differences", "difficulty"},
            "no samples": {"differences", *tokens},
            "failed": {*KINDS, *tokens},
            "no runs": set(),
        }[what]
    )


def test_an_interval_without_end_and_a_text_with_dollars_can_be_drawn(whole, tmp_path):
    whole = copy.deepcopy(whole)
    whole.update(axes={}, best_at={}, bins=None)
    for arm in whole["arms"]:
        arm.update(label=f"${arm['label']}^$ " + "very_long_" * 12, coverage=None, confidence=None)
        if arm["difference"]:
            arm["difference"].update(low=-math.inf, high=None)
    assert [p.name for p in plots.draw(whole, tmp_path)] == ["differences.png", "differences.svg"]


def test_of_a_thousand_arms_the_picture_stays_a_picture(whole):
    arm = next(a for a in whole["arms"] if a["difference"])
    arm = {**arm, "coverage": None, "confidence": None}
    arms = [{**arm, "label": f"arm {i}", "series": f"series {i}"} for i in range(1000)]
    figure = figures({**whole, "arms": arms, "axes": {}, "best_at": {}, "bins": None})[
        "differences"
    ]
    assert len(figure.axes[0].get_yticks()) == plots.ROWS
    assert "the 60 of 1000 arms" in figure.axes[0].get_xlabel()


def test_another_format_is_refused(whole, tmp_path):
    with pytest.raises(BadInput, match="format 2"):
        plots.draw({**whole, "format": 2}, tmp_path)


@given(st.floats(-12, 20), st.floats(0, 8))
def test_ticks_lie_on_the_axis_and_are_few(start, width):
    low, high = 10**start, 10 ** (start + width)
    ticks = plots.log_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert ticks == sorted(ticks)
    assert all(low * 0.99 <= t <= high * 1.01 for t in ticks)


@given(st.floats(-12, 20))
def test_a_short_number_is_the_number(exponent):
    value = 10**exponent
    said = plots.short(value)
    size = {"k": 1e3, "M": 1e6}.get(said[-1], 1.0)
    assert float(said.rstrip("kM")) * size == pytest.approx(value, rel=0.006)
    assert len(said) <= 8
