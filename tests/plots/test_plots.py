from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

from evermodels import montage, plots
from evermodels.core.errors import ConfigError, ShapeError

matplotlib = pytest.importorskip("matplotlib")

NAMES = montage.preset("eegmat")
REGIONS = montage.regions(NAMES)


def pixels(figure) -> np.ndarray:
    from PIL import Image

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return np.asarray(Image.open(stream).convert("RGB"))


def equal_attention() -> np.ndarray:
    values = np.zeros(len(NAMES))
    for indices in REGIONS.values():
        values[indices] = 1 / len(indices)
    return values


DRAWN = {
    "spectrogram": lambda theme: plots.plot_spectrogram(
        np.random.default_rng(0).normal(size=(3, 800)), 200.0, theme=theme
    ),
    "frames": lambda theme: plots.plot_frames(
        np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8), columns=3, theme=theme
    ),
    "attention": lambda theme: plots.plot_region_attention(equal_attention(), NAMES, REGIONS, theme=theme),
    "adjacency": lambda theme: plots.plot_adjacency(np.eye(3), ["z_e", "z_v", "frontal"], theme=theme),
    "probabilities": lambda theme: plots.plot_probabilities(
        [0.0, 5.0], [[0.2, 0.8], [0.6, 0.4]], ["a", "b"], window_seconds=5.0, theme=theme
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_drawn_in_both_themes_and_leave_no_trace(name):
    before = dict(matplotlib.rcParams)
    light, dark = pixels(DRAWN[name]("light")), pixels(DRAWN[name]("dark"))
    assert light.std() > 5 and dark.std() > 5
    assert light[0, 0].tolist() == [255, 255, 255] and dark[0, 0].max() < 60
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_axes_of_the_caller():
    figure = matplotlib.figure.Figure()
    axes = figure.subplots(1, 2)
    returned = plots.plot_adjacency([[1.0]], ["z_e"], axes=axes[0])
    assert returned is figure
    plots.plot_frames(np.zeros((2, 3, 4, 4)), axes=axes[1])
    assert len(axes[1].images) == 2


def test_spectrogram_has_its_axes_and_finds_a_rhythm():
    time = np.arange(2000) / 200.0
    signal = 20 * np.sin(2 * np.pi * 10 * time)[None].repeat(2, 0)
    figure = plots.plot_spectrogram(signal, 200.0, start=30.0)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (s)", "frequency (Hz)")
    assert axes.get_ylim() == (0, 45) and axes.images[0].get_extent()[:2] == [30.0, 40.0]
    picture = np.asarray(axes.images[0].get_array())
    assert picture.mean(1).argmax() == 10  # bins of 1 Hz
    one = plots.plot_spectrogram(signal, 200.0, channel=1, ch_names=["Fz", "Cz"], limits=(0.0, 5.0))
    assert one.axes[0].get_title(loc="left") == "channel Cz" and one.axes[0].images[0].get_clim() == (0.0, 5.0)


def test_frames_are_shown_in_order():
    clip = np.stack([np.full((3, 4, 4), i / 4) for i in range(4)])
    axes = plots.plot_frames(clip, columns=2, seconds=[0.0, 0.5, 1.0, 1.5]).axes[0]
    assert [float(np.asarray(i.get_array()).max()) for i in axes.images] == [0, 0.25, 0.5, 0.75]
    left, _, bottom, top = axes.images[3].get_extent()
    assert left > 4 and top < bottom and top > 4  # second column, second row
    assert [t.get_text() for t in axes.texts][1] == "0.50 s"


def test_chosen_frames_have_a_border_and_the_others_are_paler():
    axes = plots.plot_frames(np.full((4, 3, 4, 4), 0.5), weights=[0.0, 0.3, 0.0, 0.2], columns=4).axes[0]
    assert [t.get_text() for t in axes.texts] == ["1", "2: 30%", "3", "4: 20%"]
    assert [image.get_alpha() for image in axes.images] == [0.35, 1.0, 0.35, 1.0]
    lefts = [image.get_extent()[0] for image in axes.images]
    assert [patch.get_x() for patch in axes.patches] == [lefts[1], lefts[3]]
    for weights in ([0.25] * 4, [0.0] * 4):  # nothing was chosen among them
        axes = plots.plot_frames(np.full((4, 3, 4, 4), 0.5), weights=weights).axes[0]
        assert not axes.patches and {image.get_alpha() for image in axes.images} == {1.0}


def test_whole_numbers_are_read_as_8_bit():
    image = plots.plot_frames(np.full((1, 3, 4, 4), 255, np.uint8)).axes[0].images[0]
    assert float(np.asarray(image.get_array()).max()) == 1.0


def test_equal_attention_is_one_everywhere():
    names, shares = plots.channel_shares(equal_attention(), NAMES, REGIONS)
    assert names == list(NAMES)
    np.testing.assert_allclose(shares, 1.0)
    weighted = dict(
        zip(*plots.channel_shares(equal_attention(), NAMES, REGIONS, [0.6, 0.1, 0.1, 0.1, 0.1]), strict=True)
    )
    assert weighted["Fz"] == pytest.approx(3.0) and weighted["O1"] == pytest.approx(0.5)


def test_shares_as_products():
    shares = plots.channel_shares(
        [0.7, 0.3, 1.0], ["F3", "F4", "Pz"], {"f": [0, 1], "p": [2]}, [0.2, 0.8], relative=False
    )
    assert shares[1] == pytest.approx([0.14, 0.06, 0.8])


def test_map_has_the_value_of_an_electrode_at_its_place():
    rng = np.random.default_rng(0)
    values = equal_attention() * rng.uniform(0.5, 1.5, len(NAMES))
    axes = plots.plot_region_attention(values, NAMES, REGIONS).axes[0]
    surface = np.asarray(axes.images[0].get_array())
    _, shares = plots.channel_shares(values, NAMES, REGIONS)
    places = montage.head2d(NAMES)
    places = places * min(1, 0.9 / np.linalg.norm(places, axis=1).max())
    rows = np.rint((places + 1) / 2 * (len(surface) - 1)).astype(int)
    np.testing.assert_allclose(surface[rows[:, 1], rows[:, 0]], shares, atol=0.06)
    assert surface.min() >= min(shares) - 1e-9 and surface.max() <= max(shares) + 1e-9
    assert np.linalg.norm(places, axis=1).max() <= 0.9 + 1e-9
    labels = {t.get_text() for t in axes.texts}
    assert set(NAMES) <= labels
    assert [t.get_text() for t in axes.get_legend().get_texts()] == list(REGIONS)


def test_the_share_of_regions_is_said_below_the_head():
    share = np.array([0.004, 0.003, 0.002, 0.004, 0.003])
    weights = share / share.sum()
    axes = plots.plot_region_attention(equal_attention(), NAMES, REGIONS, region_weights=weights).axes[0]
    assert axes.get_legend().get_title().get_text() == "region weight"
    axes = plots.plot_region_attention(
        equal_attention(), NAMES, REGIONS, region_weights=weights, region_share=share
    ).axes[0]
    legend = axes.get_legend()
    assert "regions carry 1.6 % of what reaches the logits:\nnext to nothing" in legend.get_title().get_text()
    assert legend.get_texts()[0].get_text() == "frontal 0.4 %"
    louder = plots.plot_region_attention(equal_attention(), NAMES, REGIONS, region_share=share * 20).axes[0]
    assert louder.get_legend().get_title().get_text() == "regions carry 32 % of what reaches the logits"
    assert plots.describe_region_share(np.stack([share, 3 * share])).startswith("regions carry 3.2 %")


def test_next_to_no_difference_does_not_look_like_one():
    values = equal_attention() * (1 + 1e-4 * np.arange(len(NAMES)))
    low, high = plots.plot_region_attention(values, NAMES, REGIONS).axes[0].images[0].get_clim()
    assert low <= 0.9 and high >= 1.1


def test_channels_without_a_place_are_left_out():
    names, _ = plots.channel_shares([0.5, 0.5, 0.0], ["Fz", "F3", "A2-A1"], {"frontal": [0, 1]})
    assert names == ["Fz", "F3"]
    plots.plot_region_attention([0.5, 0.5, 0.0], ["Fz", "F3", "A2-A1"], {"frontal": [0, 1]})


def test_bars_fill_one_and_do_not_hide_each_other_with_overlap():
    values = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    figure = plots.plot_probabilities([0.0, 2.5, 5.0, 7.5], values, list("abc"), window_seconds=5.0)
    bars = figure.axes[0].patches
    heights = np.array([b.get_height() for b in bars]).reshape(3, 4)
    np.testing.assert_allclose(heights.sum(0), 1.0)
    lefts, width = [b.get_x() for b in bars[:4]], bars[0].get_width()
    assert all(b - a >= width for a, b in itertools.pairwise(lefts))
    assert figure.axes[0].get_xlim() == (0.0, 12.5)
    lines = plots.plot_probabilities([0.0], [[1.0]], ["a"], window_seconds=2.0, kind="lines", legend=False)
    assert lines.axes[0].lines[0].get_xdata().tolist() == [1.0] and lines.axes[0].get_legend() is None


def test_stitch():
    windows = np.arange(12.0).reshape(3, 1, 4)
    assert plots.stitch(windows, [1.0, 3.0, 5.0], 2.0).tolist() == [list(range(12))]
    assert plots.stitch(windows[:2], [0.0, 4.0], 2.0).tolist() == [[0, 1, 2, 3, 0, 0, 0, 0, 4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.plot_spectrogram(np.zeros(10), 200.0), ShapeError, r"eeg: expected \(channels, time\)"),
        (lambda: plots.plot_spectrogram(np.full((1, 400), np.nan), 200.0), ShapeError, "NaN"),
        (lambda: plots.plot_spectrogram(np.zeros((1, 400)), 200.0, channel=1), ConfigError, "channel: expected 0..0"),
        (lambda: plots.plot_frames(np.zeros((2, 4, 8, 8))), ShapeError, "expected 3 colours"),
        (
            lambda: plots.plot_frames(np.zeros((2, 3, 8, 8)), seconds=[0.0]),
            ShapeError,
            "seconds: expected one per frame",
        ),
        (lambda: plots.plot_adjacency(np.zeros((2, 3)), ["a", "b"]), ShapeError, "square"),
        (lambda: plots.plot_adjacency(np.zeros((2, 2)), ["a"]), ShapeError, "1 names"),
        (lambda: plots.plot_region_attention([1.0], ["Fz", "Cz"], {"f": [0]}), ShapeError, "one per name"),
        (lambda: plots.plot_region_attention([1.0], ["Fz"], {}), ShapeError, "at least one channel"),
        (lambda: plots.describe_region_share([0.5, 0.6]), ShapeError, "scaled to sum to 1 and says nothing"),
        (lambda: plots.describe_region_share([-0.1, 0.6]), ShapeError, "shares of 0 or more"),
        (
            lambda: plots.plot_region_attention([1.0], ["Fz"], {"f": [0]}, region_share=[0.1, 0.2]),
            ShapeError,
            "region_share: expected one per region",
        ),
        (
            lambda: plots.plot_region_attention([1.0], ["Fz"], {"f": [0]}, region_weights=[1.0, 2.0]),
            ShapeError,
            "one per region",
        ),
        (lambda: plots.plot_probabilities([0.0], [[0.5]], ["a", "b"], window_seconds=1.0), ShapeError, r"\(1, 2\)"),
        (lambda: plots.plot_probabilities([0.0], [[1]], ["a"], window_seconds=1.0, kind="pie"), ConfigError, "kind"),
        (lambda: plots.plot_adjacency([[1.0]], ["a"], theme="neon"), ConfigError, "theme"),
        (lambda: plots.stitch(np.zeros((2, 1, 4)), [0.0], 1.0), ShapeError, "starts"),
    ],
)
def test_bad_input(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


def test_a_legend_of_long_names_does_not_make_the_picture_narrow():
    def width(names) -> float:
        figure = plots.plot_probabilities([0.0], [[0.25] * 4], names, window_seconds=5.0)
        figure.draw_without_rendering()
        return figure.axes[0].get_position().width

    short, long = (
        width(list("abcd")),
        width(["rest & neutral", "rest & smiling", "arithmetic & neutral", "smiling & both"]),
    )
    assert long > 0.95 * short and width(["a" * 80, *"bcd"]) > 0.3
