"""The tables: a picture for each kind of attention and of input, of any result that holds it."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels import montage, plots
from evermodels.core import outputs
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.core.kinds import KINDS
from evermodels.core.specs import AudioSpec, EEGFeatures, EEGSpec, EyeSpec, InputSpec, VideoSpec
from evermodels.functional.log_mel import mel_centres
from evermodels.plots.pictures import ATTENTION, INPUTS, attention_picture
from evermodels.recognition import Recognition
from evermodels.report import render_report

pytest.importorskip("matplotlib")

NAMES = montage.preset("muse")
SPEC = InputSpec(
    window_seconds=2.0, eeg=EEGSpec(ch_names=NAMES, sfreq=64.0), video=VideoSpec(num_frames=4, size=(8, 8))
)
FEATURES = EEGSpec(ch_names=NAMES, sfreq=128.0, features=EEGFeatures(seconds=0.5))
SERIES = EyeSpec(form="series", channels=("pupil", "openness"))
INPUT = {  # a spec of each kind of input, and a part of what stands in its picture
    "eeg": (SPEC.eeg, "TP9"),
    "features": (FEATURES, "4\N{EN DASH}8 Hz"),
    "video": (SPEC.video, "4"),
    "log_mel": (AudioSpec(n_mels=16), "time (s)"),
    "waveform": (AudioSpec(form="waveform"), "time (s)"),
    "eye": (EyeSpec(features=("pupil_mean", "blink_rate")), "pupil_mean"),
    "eye series": (SERIES, "openness"),
}
RNG = np.random.default_rng(0)
WEIGHTS = {
    "channels": RNG.dirichlet(np.ones(4), 3),
    "regions": RNG.dirichlet(np.ones(2), 3),
    "region_share": np.full((3, 2), 0.2),
    "frames": np.array([[0.1, 0.2, 0.3, 0.4]] * 3),
    "time": RNG.dirichlet(np.ones(7), 3),
    "modalities": np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]),
    "adjacency_local": RNG.normal(size=(3, 4, 4)),
    "adjacency_region": RNG.normal(size=(3, 4, 4)),
    "adjacency_modalities": RNG.normal(size=(3, 2, 2)),
}


@pytest.fixture(autouse=True, scope="module")
def pictures_are_not_written():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evermodels.report_pictures._address", lambda figure: "data:,")  # test_report.py writes them
        yield


def result(**changes) -> Recognition:
    values = {"input_spec": SPEC, "regions": {k: tuple(v) for k, v in montage.regions(NAMES).items()}, **changes}
    return Recognition("m", 2.0 * np.arange(3), 2.0, RNG.dirichlet(np.ones(2), 3), ("calm", "tense"), **values)


def test_labels_of_the_colours_are_not_cut_off():
    """The smallest pictures there are: one window, or two."""
    for rows in (1, 2, 30):
        figure = plots.plot_time_attention(RNG.dirichlet(np.ones(5), rows), np.arange(rows), window_seconds=1.0)
        figure.draw_without_rendering()
        inside = figure.bbox
        for axes in figure.axes:
            label = axes.yaxis.label.get_window_extent()
            assert label.y0 >= inside.y0 and label.y1 <= inside.y1 and label.x1 <= inside.x1, rows


def test_a_log_mel_is_drawn_over_hertz():
    spec = AudioSpec(n_mels=40, f_min=100.0, f_max=5000.0)
    window = RNG.normal(size=(1, *spec.shape(2.0)))
    picture = INPUTS["log_mel"][0]
    figure = picture.draw(
        result(input_spec=InputSpec(window_seconds=2.0, audio=spec), inputs={"audio": window}), "audio"
    )
    axes = figure.axes[0]
    hertz = [int(text.get_text().replace(",", "")) for text in axes.get_yticklabels()]
    assert hertz == [250, 500, 1000, 2000, 4000] and axes.get_ylabel() == "frequency (Hz)"
    centres = mel_centres(40, 100.0, 5000.0).numpy()
    assert np.interp(axes.get_yticks() - 0.5, np.arange(40), centres) == pytest.approx(hertz)
    with pytest.raises(ShapeError, match="hertz: expected one per feature"):
        plots.plot_features([[1.0, 2.0]], 1.0, hertz=[100.0])


def test_no_kind_of_attention_is_without_a_picture_and_a_test():
    assert {attention_picture(kind) for kind in WEIGHTS} == set(ATTENTION.values())
    assert set(outputs.ATTENTION) <= set(WEIGHTS)


def test_no_kind_of_input_that_a_recording_gives_is_without_a_picture_and_a_test():
    assert {spec.kind for spec, _ in INPUT.values()} == set(INPUTS) == set(KINDS) - {"spectrogram"}


@pytest.mark.parametrize("kind", INPUT)
@pytest.mark.parametrize("every_window", [True, False])
def test_each_kind_of_input_gives_pictures_and_sections(kind, every_window):
    spec, words = INPUT[kind]
    modality = KINDS[spec.kind].modalities[0]
    one_spec = InputSpec(window_seconds=2.0, **{modality: spec})
    values = RNG.normal(size=(3 if every_window else 1, *one_spec.shape(modality)))
    values = (values * 20 % 256).astype(np.uint8) if spec.kind == "video" else values.astype(np.float32)
    one = result(input_spec=one_spec, inputs={modality: values}, shown=1, regions={})
    axes = one.plot(modality).axes[0]
    texts = [*axes.texts, *axes.get_yticklabels(), axes.xaxis.label]
    assert words in "\n".join(text.get_text() for text in texts)
    page = render_report(one)
    title = spec.title[:1].upper() + spec.title[1:]
    assert [f"<h2>{title}: {p.heading}</h2>" in page for p in INPUTS[spec.kind]] == [True] * len(INPUTS[spec.kind])
    assert "window 2.0\N{EN DASH}4.0 s" in page


@pytest.mark.parametrize("kind", WEIGHTS)
def test_each_kind_of_attention_alone_gives_a_picture_and_a_section(kind):
    one = result(attention={kind: WEIGHTS[kind]})
    assert one.plot(kind, theme="dark").axes
    page = render_report(one)
    assert f"<h2>{attention_picture(kind).heading}</h2>" in page and page.count("<img") == 2
    assert "attention without a picture" not in page


def test_graphs_have_the_names_of_their_nodes():
    def names(kind, nodes, **changes):
        weights = np.zeros((3, nodes, nodes))
        axes = result(attention={kind: weights}, **changes).plot(kind).axes[0]
        return [label.get_text() for label in axes.get_yticklabels()]

    modalities = [names("adjacency_modalities", 2), names("adjacency_region", 4)[:2]]
    assert modalities[0] == modalities[1] and len(set(modalities[0])) == 2
    assert names("adjacency_region", 4)[2:] == list(montage.regions(NAMES))
    assert names("adjacency_local", 4) == list(NAMES)
    assert names("adjacency_region", 3) == ["1", "2", "3"]  # of another graph the names are not guessed


def test_time_and_frames_are_multiples_of_an_equal_share():
    image = result(attention=WEIGHTS).plot("frames").axes[0].images[0]
    np.testing.assert_allclose(image.get_array()[0], [0.4, 0.8, 1.2, 1.6])
    assert image.get_extent() == [0.0, 2.0, 2.5, -0.5]
    even = result(attention={"time": np.full((3, 5), 0.2)}).plot("time").axes[0].images[0]
    assert even.get_clim() == (0.9, 1.1)  # no difference does not look like one


def test_weights_of_frames_stand_below_the_frames():
    frames = RNG.integers(0, 256, (1, 4, 3, 8, 8), dtype=np.uint8)
    axes = result(attention=WEIGHTS, inputs={"video": frames}).plot("video").axes[0]
    assert [text.get_text() for text in axes.texts] == ["1: 10%", "2: 20%", "3: 30%", "4: 40%"]


def test_modalities_fill_each_window():
    bars = result(attention=WEIGHTS).plot("modalities").axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.25, 0.5, 1.0, 0.75, 0.5, 0.0]


def test_signals_share_a_scale_and_one_artefact_does_not_flatten_them():
    time = np.arange(128) / 64
    eeg = 10 * np.sin(2 * np.pi * np.array([[1], [2], [3], [4]]) * time)
    eeg[0, 5] = 5000.0
    windows = np.stack([eeg, 2 * eeg, 3 * eeg]).astype(np.float32)
    axes = result(inputs={"eeg": windows}, shown=1).plot("eeg").axes[0]
    assert axes.get_xlim() == (2.0, 4.0) and axes.texts[0].get_text() == "20 µV"
    rows = [np.ptp(line.get_ydata()) for line in axes.lines[1:4]]
    assert min(rows) > 1.5 and [t.get_text() for t in axes.get_yticklabels()] == list(NAMES)
    whitened = SPEC.replace(eeg=SPEC.eeg.replace(whiten=True))
    assert result(inputs={"eeg": windows}, input_spec=whitened).plot("eeg").axes[0].texts[:] == []


def test_rows_on_scales_of_their_own_say_their_range():
    axes = plots.plot_traces([[2.0, 3.0, 4.0], [100.0, 300.0, 200.0]], 3.0, names=["a", "b"], one_scale=False).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\n2 to 4", "b\n100 to 300"]


def test_channels_without_a_place_on_the_head_are_left_out():
    odd = result(ch_names=("Fz", "ECG", "Pz", "Oz"), regions={}, attention={"channels": WEIGHTS["channels"]})
    assert plots.channel_shares(odd)[0] == ["Fz", "Pz", "Oz"]
    nowhere = result(ch_names=("a", "b", "c", "d"), regions={}, attention={"channels": WEIGHTS["channels"]})
    assert "Which electrodes counted" not in render_report(nowhere)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.plot_region_shares([0.5], ["a", "b"]), ShapeError, r"one per region \(2\)"),
        (lambda: plots.plot_region_shares([1.5], ["a"]), ShapeError, r"within 0\.\.1"),
        (lambda: plots.plot_time_attention([[1.0]], [0.0, 1.0], window_seconds=1.0), ShapeError, "one per window"),
        (lambda: plots.plot_time_attention([[1.0]]), ShapeError, "starts: it is needed"),
        (lambda: plots.plot_frames(np.zeros((2, 3, 4, 4)), weights=[1.0]), ShapeError, "weights: expected one per"),
        (lambda: plots.plot_traces([[1.0]], 0.0), ConfigError, "seconds: expected a positive"),
        (lambda: plots.plot_traces([[1.0]], 1.0, names=[]), ShapeError, "names: expected one per channel"),
        (lambda: plots.plot_features([[1.0]], 1.0, names=["a", "b"]), ShapeError, "names: expected one per feature"),
        (lambda: plots.plot_features(result()), ConfigError, "modality: it is needed beside a result"),
        (lambda: result().plot("time"), ConfigError, "gives no attention 'time'"),
        (lambda: result().plot("modalities"), ConfigError, "gives no attention 'modalities'"),
        (lambda: result().plot("eeg"), ConfigError, "holds no eeg"),
    ],
)
def test_bad_input(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
