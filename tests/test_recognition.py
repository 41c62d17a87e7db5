"""What a result says: with all modalities, with one absent, and with one absent in some windows."""

from __future__ import annotations

import csv
import html
import io

import numpy as np
import pytest

from evermodels import plots
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.factors import Factor, product_classes
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.recognition import Recognition
from evermodels.report import render_report

FACTORS = (Factor("state", ("rest", "arithmetic"), ("eeg",)), Factor("expression", ("neutral", "smiling"), ("video",)))
CLASSES = product_classes(FACTORS)
SPEC = InputSpec(
    window_seconds=5.0,
    eeg=EEGSpec(ch_names=("F3", "F4", "P3", "P4"), sfreq=64.0),
    video=VideoSpec(num_frames=2, size=(8, 8)),
)
# EEG alone says arithmetic, though "rest & smiling" has the largest share of the four.
JOINT = np.array([[0.05, 0.375, 0.30, 0.275], [0.10, 0.20, 0.30, 0.40]])
ABSENT = np.zeros(2, dtype=bool)


@pytest.fixture(autouse=True)
def pictures_are_not_written(monkeypatch):
    monkeypatch.setattr("evermodels.report_pictures._address", lambda figure: "data:,")


def result(joint=JOINT, **changes) -> Recognition:
    values = {"classes": CLASSES, "factors": FACTORS, "input_spec": SPEC, **changes}
    return Recognition("m", 5.0 * np.arange(len(joint)), 5.0, np.asarray(joint), **values)


def test_marginals_sum_over_the_other_factors():
    marginals = result().marginals
    np.testing.assert_allclose(marginals["state"], [[0.425, 0.575], [0.3, 0.7]])
    np.testing.assert_allclose(marginals["expression"], [[0.35, 0.65], [0.4, 0.6]])
    three = (*FACTORS, Factor("light", ("dim", "bright", "dark"), ("video",)))
    joint = np.random.default_rng(0).dirichlet(np.ones(12), 4)
    light = result(joint, classes=product_classes(three), factors=three).marginals["light"]
    np.testing.assert_allclose(light[:, 1], joint[:, [1, 4, 7, 10]].sum(1))


def test_all_there_speaks_of_the_classes():
    whole = result()
    assert whole.top.label == "arithmetic & smiling" and whole.tops == ("rest & smiling", "arithmetic & smiling")
    assert whole.gaps == () and "not known" not in whole.summary() + repr(whole)
    row = whole.to_table()[0]
    assert list(row) == [
        *("start", "stop", "top", *(f"p({c})" for c in CLASSES)),
        *("state: rest", "state: arithmetic", "expression: neutral", "expression: smiling"),
    ]
    assert row["p(rest & smiling)"] == 0.375 and row["state: arithmetic"] == pytest.approx(0.575)


def test_without_video_only_the_state_is_said():
    eeg_only = result(present={"video": ABSENT})
    assert eeg_only.top == ("arithmetic", pytest.approx(0.6375)) and eeg_only.tops == ("arithmetic", "arithmetic")
    assert np.isnan(eeg_only.marginals["expression"]).all()
    assert eeg_only.gaps == ("expression (neutral or smiling): not known, no video was given",)
    assert eeg_only.summary().splitlines() == [
        "  seconds  rest  arithmetic",
        " 0.0- 5.0  0.42        0.57  arithmetic",
        " 5.0-10.0  0.30        0.70  arithmetic",
        "     mean  0.36        0.64  arithmetic",
        "expression (neutral or smiling): not known, no video was given",
    ]
    assert eeg_only.to_table()[1] == {
        **{"start": 5.0, "stop": 10.0, "top": "arithmetic"},
        **{"state: rest": pytest.approx(0.3), "state: arithmetic": pytest.approx(0.7), "absent": "video"},
    }
    assert repr(eeg_only) == "Recognition('m', 2 windows, top='arithmetic' at 0.64, expression not known)"
    page = render_report(eeg_only)
    for said in (eeg_only.summary(), eeg_only.to_csv(), repr(eeg_only), eeg_only._repr_html_(), page):
        assert not [name for name in CLASSES if name in html.unescape(said)] and "arithmetic" in said
    assert page.count("expression (neutral or smiling): not known, no video was given") == 1
    # the model's own numbers stay
    np.testing.assert_array_equal(eeg_only.probabilities, JOINT)


def test_without_eeg_only_the_expression_is_said():
    video_only = result(present={"eeg": ABSENT})
    assert video_only.top.label == "smiling" and "state (rest or arithmetic): not known" in video_only.summary()


def test_some_windows_without_video():
    mixed = result(present={"video": np.array([True, False])})
    assert mixed.tops == ("rest & smiling", "arithmetic")
    assert mixed.top == ("rest & smiling", 0.375)  # over the windows in which most is known
    first, second = mixed.to_table()
    assert first["p(rest & smiling)"] == 0.375 and first["absent"] == ""
    assert second["p(rest & smiling)"] is None and second["expression: smiling"] is None
    assert second["state: arithmetic"] == pytest.approx(0.7) and second["absent"] == "video"
    assert list(csv.DictReader(io.StringIO(mixed.to_csv())))[1]["p(rest & smiling)"] == ""
    lines = mixed.summary().splitlines()
    assert lines[0].split("  ")[1:] and "expression: smiling" in lines[0]
    assert lines[2].split()[-3:] == ["-", "-", "arithmetic"] and lines[3].split()[1:5] == [
        "0.36",
        "0.64",
        "0.35",
        "0.65",
    ]
    assert lines[-1] == "expression (neutral or smiling): not known in 1 of 2 windows, no usable video there"
    labels, values = mixed.answers
    assert labels == CLASSES and np.isnan(values[1]).all() and not np.isnan(values[0]).any()
    heights = [bar.get_height() for bar in mixed.plot().axes[0].patches]
    np.testing.assert_allclose(np.reshape(heights, (4, 2)).sum(0), [1, 0])  # the second window stays empty
    assert "1 of 2 windows" in render_report(mixed)


def test_windows_of_different_halves():
    halves = result(present={"video": np.array([True, False]), "eeg": np.array([False, True])})
    assert halves.tops == ("smiling", "arithmetic") and len(halves.gaps) == 2
    assert not halves.all_known.any() and "p(rest & smiling)" not in halves.to_table()[0]


def test_a_model_that_does_not_take_what_a_factor_needs():
    eeg_model = result(input_spec=SPEC.replace(video=None), present={"video": ABSENT})
    assert eeg_model.gaps == ("expression (neutral or smiling): not known, the model takes no video",)
    assert eeg_model.top.label == "arithmetic"


def test_nothing_to_be_known_is_refused():
    with pytest.raises(ConfigError, match=r"state from eeg; expression from video\. Give that"):
        result(present={"video": ABSENT, "eeg": ABSENT})


def test_a_factor_of_two_modalities_is_known_from_either():
    either = (Factor("arousal", ("low", "high"), ("eeg", "video")), FACTORS[1])
    one = result(factors=either, classes=product_classes(either), present={"video": ABSENT})
    assert one.top.label == "high" and one.gaps == ("expression (neutral or smiling): not known, no video was given",)


def test_an_absent_modality_is_said_where_the_classes_are_no_combinations():
    plain = result(factors=(), present={"video": ABSENT})
    assert plain.top.label == "arithmetic & smiling"
    assert plain.summary().splitlines()[-1] == "video: absent, the model answers from the rest"
    assert plain.to_table()[0]["absent"] == "video"


def test_events_of_trials():
    trials = result(events=("calm", "=joy"))
    assert [list(row)[:4] for row in trials.to_table()] == [["start", "stop", "event", "top"]] * 2
    assert "0.0,5.0,calm,rest & smiling," in trials.to_csv() and "5.0,10.0,'=joy," in trials.to_csv()


def test_classes_named_like_columns():
    names = ("start", "stop", "top", "mean", "absent", "p(start)", "quality: faces")
    joint = np.random.default_rng(0).dirichlet(np.ones(7), 3)
    said = Recognition("m", np.arange(3.0), 1.0, joint, names, quality={"faces": np.ones(3)})
    table = said.to_table()
    assert len(table[0]) == 3 + 7 + 1
    assert [row["start"] for row in table] == [0, 1, 2] and [row["p(start)"] for row in table] == joint[:, 0].tolist()
    assert table[1]["p(p(start))"] == joint[1, 5] and table[1]["quality: faces"] == 1
    cells = said.summary().splitlines()[1].split()
    assert [float(v) for v in cells[2:9]] == pytest.approx(joint[0], abs=0.006)
    page = render_report(said)
    assert all(f"{value:.2f}" in page for value in joint[:, :3].ravel())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_top(bad):
    with pytest.raises(ShapeError, match="NaN or infinities"):
        Recognition("m", np.zeros(1), 1.0, np.array([[bad, 0.5]]), ("a", "b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint": JOINT[:, :3]}, r"expected \(2, 4\)"),
        ({"joint": np.zeros((0, 4))}, "at least one of each"),
        ({"quality": {"face_share": np.ones(3)}}, r"quality\['face_share'\]: expected \(2,\)"),
        ({"events": ("calm",)}, "events: expected one for each of 2 windows"),
        ({"present": {"video": np.ones(1, bool)}}, r"present\['video'\]: expected \(2,\)"),
    ],
)
def test_lengths_that_differ(changes, message):
    with pytest.raises(ShapeError, match=message):
        result(**changes)
    with pytest.raises(ConfigError, match="in this order"):
        result(classes=CLASSES[::-1])


def test_hostile_class_names():
    names = ('=HYPERLINK("http://x")', "+1", "red\x1b[31m", "<script>alert(1)</script>")
    said = Recognition("m\x1b[2J", np.zeros(1), 1.0, np.full((1, 4), 0.25), names)
    text = said.to_csv()
    rows = list(csv.reader(io.StringIO(text)))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))] and "\x1b" not in text
    assert "\x1b" not in said.summary() and "\x1b" not in said._repr_html_() and "\x1b" not in repr(said)
    assert "<script" not in said._repr_html_()


def test_columns_stay_in_line_beyond_100_seconds():
    joint = np.full((3, 2), 0.5)
    lines = Recognition("m", np.array([0.0, 95.0, 3600.0]), 5.0, joint, ("a", "b")).summary().splitlines()
    assert len({line.index("0.50") for line in lines[1:]}) == 1 and len({len(line) for line in lines[1:4]}) == 1
    assert lines[3].startswith("3600.0-3605.0  ") and lines[1].startswith("   0.0-   5.0  ")


def test_many_classes():
    joint = np.full((2, 400), 0.5 / 399)
    joint[:, 17] = 0.5
    many = Recognition("m", np.arange(2.0), 1.0, joint, tuple(f"class {k}" for k in range(400)))
    lines = many.summary().splitlines()
    assert len(lines[0]) < 120 and "class 17" in lines[0] and lines[-1].startswith("395 less probable classes")
    assert len(many.to_table()[0]) == 403 and "395 less probable" in many._repr_html_()
    assert len(render_report(many)) < 400_000
    assert [t.get_text() for t in many.plot().axes[0].get_legend().get_texts()][-1] == "393 others"


def test_csv_is_written_whole(tmp_path):
    text = result().to_csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().decode("utf-8") == text
    with pytest.raises(ConfigError, match="does not exist"):
        result().to_csv(tmp_path / "no" / "table.csv")


def test_html_for_a_notebook():
    long = Recognition("m", np.arange(30.0), 1.0, np.full((30, 2), 0.5), ("a<b", "b"), notes=("A <note>.",))
    said = long._repr_html_()
    assert said.count("<tr>") == 1 + 20 + 1 and "10 more windows" in said
    assert "a&lt;b" in said and "A &lt;note&gt;." in said


def drawable(**changes) -> Recognition:
    rng = np.random.default_rng(0)
    attention = {
        "channels": np.array([[0.5, 0.5, 0.25, 0.75], [0.5, 0.5, 0.75, 0.25]]),
        "regions": np.full((2, 2), 0.5),
        "adjacency_region": rng.normal(size=(2, 4, 4)),
    }
    inputs = {
        "eeg": rng.normal(0, 10, (2, 4, 320)).astype(np.float32),
        "video": rng.integers(0, 256, (1, 2, 3, 8, 8), dtype=np.uint8),
    }
    regions = {"frontal": (0, 1), "parietal": (2, 3)}
    return result(**{"attention": attention, "inputs": inputs, "regions": regions, **changes})


def test_pictures_take_the_result():
    whole = drawable()
    mean = whole.attention["channels"].mean(0)
    names, shares = plots.channel_shares(whole)
    assert names == ["F3", "F4", "P3", "P4"] and shares == [1.0] * 4
    by_hand = plots.plot_region_attention(mean, whole.ch_names, whole.regions, region_weights=[0.5, 0.5])
    given = whole.plot("channels")
    assert np.array_equal(by_hand.axes[0].images[0].get_array(), given.axes[0].images[0].get_array())
    graph = whole.plot("adjacency_region").axes[0]
    assert [t.get_text() for t in graph.get_xticklabels()] == ["EEG", "video", "frontal", "parietal"]
    assert whole.plot("spectrogram").axes[0].images[0].get_extent()[1] == 10.0
    assert len(whole.plot("video", columns=1).axes[0].images) == 2
    assert whole.plot("probabilities", kind="lines").axes[0].lines[0].get_xdata().tolist() == [2.5, 7.5]
    for kind, message in (("channels", "gives no attention 'channels'"), ("video", "holds no video")):
        with pytest.raises(ConfigError, match=message):
            result().plot(kind)
    with pytest.raises(ConfigError, match="picture: expected one of 'probabilities'"):
        whole.plot("pie")
    with pytest.raises(ShapeError, match="ch_names: it is needed beside arrays"):
        plots.plot_region_attention(mean)


def test_the_head_speaks_of_windows_with_eeg():
    mixed = drawable(present={"eeg": np.array([True, False])})
    assert plots.channel_shares(mixed)[1] == [1.0, 1.0, 0.5, 1.5]
    with pytest.raises(ConfigError, match="there was no eeg"):
        drawable(present={"eeg": ABSENT}).plot("channels")


def test_regions_that_carry_next_to_nothing():
    share = np.full((2, 2), 0.004)
    little = drawable()
    little.attention["region_share"] = share
    picture = little.plot("channels")
    legend = picture.axes[0].get_legend()
    assert "next to nothing" in legend.get_title().get_text()
    assert [t.get_text() for t in legend.get_texts()] == ["frontal 0.4 %", "parietal 0.4 %"]
    page = render_report(little)
    assert "the brain regions carry almost nothing: together no more than 0.8 %" in page
    assert 'alt="Which electrodes counted"' not in page and "How the brain regions compare" not in page
    much = drawable()
    much.attention["region_share"] = share + 0.2
    page = render_report(much)
    assert "almost nothing" not in page and page.count('alt="Which electrodes counted"') == 1
    assert "Regions carry 41 % of what reaches the logits." in page


def test_quality_on_the_page():
    quality = {
        "face_share": np.array([1.0, 0.5]),
        "faces": np.array([1.0, 2.0]),
        "crop_size": np.array([120.0, 48.5]),
    }
    said = result(quality=quality, notes=("It cannot know <this>.",))
    page = render_report(said)
    for words in ("frames with a face", "face size (pixels)", "50 %", "48.5", "It cannot know &lt;this&gt;."):
        assert words in page
    assert (
        page.count('<tr class="poor">') == 2
        and page.count("num quality") == 1
        and page.index("Before you read on") < page.index("<h2>Result</h2>")
    )
    assert (
        "poor"
        not in render_report(result(quality={**quality, "face_share": np.array([1.0, 0.8])})).partition("<body>")[2]
    )
    assert said.to_table()[1]["quality: face_share"] == 0.5


def test_what_holds_for_all_parts_is_said_once():
    page = render_report({"a": result(notes=("One.", "Two.")), "b": result(notes=("One.",))})
    assert page.count("One.") == 1 and "a: Two." in page and "a: One." not in page
    assert "Before you read on" not in render_report(result())


def test_parts_that_know_different_halves():
    page = render_report({"a": result(), "b": result(present={"video": ABSENT})})
    assert page.count('<div class="legend">') == 2 and '<span class="soft">b:</span>' in page
    assert "b: Expression (neutral or smiling): not known, no video was given." in page
    assert render_report({"a": result(), "b": result()}).count('<div class="legend">') == 1


def test_a_video_without_a_usable_face_was_given():
    nowhere = drawable(present={"video": ABSENT})
    assert nowhere.gaps == ("expression (neutral or smiling): not known, no usable video there",)


def test_the_known_half_agrees_with_what_was_recorded():
    page = render_report({"a": result(present={"video": ABSENT})}, truth={"a": "arithmetic & smiling"})
    assert "2 of 2 windows agree" in page and "tag hit" in page
    page = render_report({"a": result(present={"video": ABSENT})}, truth={"a": "rest & smiling"})
    assert "0 of 2 windows agree" in page and "tag miss" in page
