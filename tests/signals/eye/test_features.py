"""Every feature, against numbers computed by hand from a made recording whose events are known."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels.signals.eye import FEATURES, SEED_FEATURES, Eye
from evermodels.signals.eye.features import BANDS, LEAST_VARIANCE, Stretch, band_entropy
from evermodels.signals.eye.reader import make_stretch

RATE = 100.0
CLOSED = np.r_[251:271, 300:310]
LEFT, RIGHT = np.where(np.arange(400) < 200, 3.0, 4.0), np.where(np.arange(400) < 200, 5.0, 4.5)
SIZE_X, SIZE_Y = 4 + 0.3 * np.sin(np.arange(400) / 70), 4 + 0.2 * np.cos(np.arange(400) / 50)
HEAD_X, HEAD_Y = 175 + np.arange(400) * 0.1, np.arange(400) * 0.2  # 10 and 20 degrees a second, past the back
OPEN_LEFT, OPEN_RIGHT = np.full(400, 0.8), np.full(400, 1.0)
GAZE_X, GAZE_Y = np.zeros(400), np.zeros(400)
GAZE_X[1:98:2] = 0.1  # up to 0.99 s
GAZE_X[100], GAZE_X[101:360], GAZE_X[360:] = 4.0, 10.0, 13.0
GAZE_Y[102:251:2] = 0.2  # 1.01 to 2.50 s, then 2.71 to 2.99 and 3.10 to 3.30
GAZE_Y[331], GAZE_Y[332:360], GAZE_Y[360:] = 2.5, 5.0, 9.0


def recording() -> Eye:
    """Four seconds: six fixations, three saccades of 10, 5 and 5 degrees, blinks of 200 and 100 ms."""
    columns = {
        **{"x": GAZE_X, "y": GAZE_Y, "pupil_left": LEFT, "pupil_right": RIGHT, "pupil_x": SIZE_X, "pupil_y": SIZE_Y},
        **{"openness_left": OPEN_LEFT, "openness_right": OPEN_RIGHT},
        **{"head_x": (HEAD_X + 180) % 360 - 180, "head_y": HEAD_Y},
    }
    for name, values in columns.items():
        columns[name] = values.copy()
        columns[name][CLOSED] = 0.1 if name.startswith("openness") else np.nan
    return Eye(columns, unit={"gaze": "deg", "head": "deg", "pupil": "mm"}, sfreq=RATE, start=20.0)


FIXATIONS = [990, 1490, 280, 200, 270, 390]
WIDE, TALL = [0.1, 0, 0, 0, 0, 0], [0, 0.2, 0, 0, 0, 0]
SHIFTS = [np.hypot(9.951, 0.1), 0.1, 0, 5, 5]  # from (0.049, 0) to (10, 0.1), (10, 0) twice, (10, 5), (13, 9)
SACCADES, AMPLITUDES = [20, 20, 10], [10, 5, 5]
SEEN = np.setdiff1d(np.arange(400), CLOSED)  # 200 samples before the second second's end, 170 after it


def oracle(values: np.ndarray, low: float, high: float) -> float:
    """The periodogram as a fit of a cosine and a sine at each of the band's frequencies."""
    times, values = SEEN / RATE, values[SEEN] - values[SEEN].mean()
    count = max(4, int(np.ceil(4 * times[-1] * (high - low))))
    power = 0.0
    for k in range(count):
        phase = 2 * np.pi * (low + (high - low) * (k + 0.5) / count) * times
        fit = np.c_[np.cos(phase), np.sin(phase)]
        left = values - fit @ np.linalg.lstsq(fit, values, rcond=None)[0]
        power += ((values**2).sum() - (left**2).sum()) / 2
    variance = 2 * power * (high - low) / count / RATE
    return 0.5 * np.log(2 * np.pi * np.e * variance)


def of_column(name: str, values: np.ndarray, seen: np.ndarray = SEEN) -> dict[str, float]:
    expected = {f"{name}_mean": values[seen].mean(), f"{name}_std": values[seen].std()}
    if name.startswith("pupil"):
        expected |= {f"{name}_de_{low:.1f}_{high:.1f}": oracle(values, low, high) for low, high in BANDS}
    return expected


def closed(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[CLOSED] = 0.1
    return values


EXPECTED = {
    "dispersion_x_mean": 0.1 / 6,
    "dispersion_x_std": np.std(WIDE),
    "dispersion_y_mean": 0.2 / 6,
    "dispersion_y_std": np.std(TALL),
    "fixation_duration_mean": 3620 / 6,
    "fixation_duration_std": np.std(FIXATIONS),
    "fixation_duration_max": 1490,
    "fixation_dispersion_total": 0.3,
    "fixation_dispersion_max": 0.2,
    "fixation_frequency": 6 / 4,
    "blink_duration_mean": 150,
    "blink_duration_std": 50,
    "blink_frequency": 2 / 4,
    "saccade_duration_mean": 50 / 3,
    "saccade_duration_std": np.std(SACCADES),
    "saccade_duration_average": 50 / 3,
    "saccade_amplitude_mean": 20 / 3,
    "saccade_amplitude_std": np.std(AMPLITUDES),
    "saccade_amplitude_average": 20 / 3,
    "saccade_frequency": 3 / 4,
    "saccade_latency_average": 270,  # from the first to the second there are blinks
    "fixation_shift_mean": np.mean(SHIFTS),
    "fixation_shift_max": SHIFTS[0],
    "x_std": GAZE_X[SEEN].std(),
    "y_std": GAZE_Y[SEEN].std(),
    "y_mean": GAZE_Y[SEEN].mean(),
    "x_mean": np.degrees(np.angle(np.exp(1j * np.radians(GAZE_X[SEEN])).mean())),
    "head_x_mean": np.degrees(np.angle(np.exp(1j * np.radians(HEAD_X[SEEN])).mean())),
    "head_x_std": HEAD_X[SEEN].std(),
    "head_y_std": HEAD_Y[SEEN].std(),
    "head_y_mean": HEAD_Y[SEEN].mean(),
    "head_speed_mean": np.hypot(10, 20),
    "head_speed_std": 0,
    **of_column("pupil_x", SIZE_X),
    **of_column("pupil_y", SIZE_Y),
    **of_column("pupil_left", LEFT),
    **of_column("pupil_right", RIGHT),
    **of_column("pupil", (LEFT + RIGHT) / 2),
    **of_column("openness_left", closed(OPEN_LEFT), np.arange(400)),
    **of_column("openness_right", closed(OPEN_RIGHT), np.arange(400)),
    **of_column("openness", (closed(OPEN_LEFT) + closed(OPEN_RIGHT)) / 2, np.arange(400)),
}


def test_every_feature_has_a_number_to_be_held_against():
    assert set(EXPECTED) == set(FEATURES)
    assert len(SEED_FEATURES) == 33 and set(SEED_FEATURES) < set(FEATURES)


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name):
    found = FEATURES[name].function(make_stretch(recording(), 20.0, 4.0))
    assert found == pytest.approx(EXPECTED[name], rel=1e-6, abs=1e-9)


def test_the_published_list_stands_in_its_groups_order():
    groups = ("pupil",) * 12 + ("dispersion",) * 4 + ("fixation_duration",) * 2 + ("blink_duration",) * 2
    groups += ("saccade",) * 4 + ("blink_freq", *("fixation",) * 4, *("saccade",) * 4)
    assert all(name.startswith(group) for name, group in zip(SEED_FEATURES, groups, strict=True))


@pytest.mark.parametrize("name", FEATURES)
def test_a_stretch_without_anything_has_no_number_but_frequencies(name):
    stretch = make_stretch(recording(), 21.2, 0.2)  # within a fixation that began before it: no event begins
    found = FEATURES[name].function(stretch)
    if name.endswith("_frequency"):
        assert found == 0.0
    elif name.startswith(("pupil", "openness", "x_", "y_", "head_")):
        assert np.isfinite(found)
    else:
        assert np.isnan(found)
    assert np.isnan(FEATURES[name].function(make_stretch(recording(), 90.0, 1.0)))


def test_an_event_counts_once_where_it_begins():
    eye = recording()
    thirds = [make_stretch(eye, 20.0 + k * 0.4, 0.4) for k in range(10)]
    assert sum(len(part.fixations) for part in thirds) == 6 and sum(len(part.saccades) for part in thirds) == 3
    assert FEATURES["fixation_duration_max"].function(thirds[2]) == pytest.approx(1490)  # begins at 1.01 s


def test_entropy_of_a_known_variance():
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0, 100, 3000))  # irregular, with holes of their own
    for (low, high), frequency, amplitude in zip(BANDS, (0.1, 0.3, 0.5, 0.8), (0.5, 0.2, 0.1, 0.05), strict=True):
        values = {"pupil": 4 + amplitude * np.sin(2 * np.pi * frequency * times)}
        stretch = Stretch(100.0, times, np.full(3000, 1 / 30), values)
        entropies = {band: band_entropy(stretch, "pupil", *band) for band in BANDS}
        found = entropies.pop((low, high))
        assert np.exp(2 * found) / (2 * np.pi * np.e) == pytest.approx(amplitude**2 / 2, rel=0.05)
        assert max(entropies.values()) < found - 1


def test_entropy_of_nothing_and_of_a_still_pupil():
    times = np.arange(40) / 10
    spans, still = np.full(40, 0.1), np.full(40, 3.0)
    floor = 0.5 * np.log(2 * np.pi * np.e * LEAST_VARIANCE)
    assert band_entropy(Stretch(4.0, times, spans, {"pupil": still}), "pupil", 0.0, 0.2) == pytest.approx(floor)
    few = np.where(np.arange(40) < 15, still, np.nan)
    assert np.isnan(band_entropy(Stretch(4.0, times, spans, {"pupil": few}), "pupil", 0.0, 0.2))


def test_a_long_stretch_needs_little_memory():
    import tracemalloc

    times = np.arange(100_000) / 100
    stretch = Stretch(1000.0, times, np.full(100_000, 0.01), {"pupil": 4 + 0.1 * np.sin(times)})
    tracemalloc.start()
    entropy = band_entropy(stretch, "pupil", 0.15, 0.16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(entropy) and peak < 1e8  # 227 MB at once
