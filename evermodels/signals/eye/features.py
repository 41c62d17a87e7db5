"""Features of eye movement and pupil, as the SEED data sets' lists name them.

Mood Reader takes the eye features that SEED-V is published with. Its source [23] is Zheng, Liu, Lu, Lu and Cichocki,
*EmotionMeter: A Multimodal Framework for Recognizing Human Emotions*, IEEE Transactions on Cybernetics 49(3), 2019,
whose table of eye movement features lists 33:

* pupil diameter X and Y: mean, standard deviation, differential entropy in 0-0.2, 0.2-0.4, 0.4-0.6 and 0.6-1 Hz;
* dispersion X and Y: mean, standard deviation;
* fixation duration and blink duration: mean, standard deviation (ms);
* saccade: mean and standard deviation of duration (ms) and amplitude (degrees);
* event statistics: blink frequency; fixation frequency, longest duration, total and largest dispersion; saccade
  frequency, average duration, average amplitude, average latency.

SEED-IV's page (stretches of 4 s; rows 1-12 pupil, 13-16 dispersion, 17-18 fixation, 19-22 saccade, 23-31 events, so
without blink duration) names the raw numbers of SMI's glasses that they are made of: average pupil size X and Y in
pixels and dispersion X and Y, one of each a fixation. The list is the authors'; what it leaves open is our choice:

* the order inside a group, and the names;
* pupil statistics are over samples, where SMI gives one value a fixation;
* standard deviations divide by the number of samples or events;
* an event belongs to the stretch in which it begins, with its whole length;
* frequencies are per second of the time in which anything was recorded;
* dispersion is the range of a fixation's samples in degrees (SMI: pixels), X and Y added for total and largest, as I-DT
  defines it (Salvucci and Goldberg, *Identifying fixations and saccades in eye-tracking protocols*, ETRA 2000);
* latency is the time from the end of a saccade to the begin of the next, where nothing was lost in between;
* entropy is that of a Gaussian with the band's variance, from the Lomb-Scargle periodogram (Scargle, 1982), which takes
  irregular and missing samples as they are; a stretch shorter than 5 s cannot tell bands of 0.2 Hz apart.

``saccade_duration_average`` and ``saccade_amplitude_average`` are the same numbers as ``saccade_duration_mean`` and
``saccade_amplitude_mean``: the published list has both.

Beside these stand the same statistics of ``pupil``, ``pupil_left`` and ``pupil_right``, which most trackers give
instead, and mean and standard deviation of ``openness``.

For headsets, which give where the head points, and for lists of fixations with their places: the spread of gaze and
head, the head's speed, and the distance from one fixation to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.signal import lombscargle

from evermodels.signals.eye.events import Events

BANDS: tuple[tuple[float, float], ...] = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1.0))
"""Edges in Hz of the bands of the pupil's diameter."""

LEAST_VARIANCE = 1e-10
"""mm² below which a band's variance counts as this: a pupil that does not move has no entropy (0.01 µm)."""

LEAST_SAMPLES = 16
"""Measured samples from which a spectrum is made."""

_AT_ONCE = 2**20  # values of the periodogram's sines


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of a recording, of which each feature is one number.

    Args:
        recorded: Seconds of it in which samples were taken, measured or not.
        times: When they were taken in seconds, ``(samples,)`` float64.
        spans: How long each one stands.
        columns: Measured columns by name, ``(samples,)``, NaN where nothing was measured.
        blinks: Blinks that begin in it.
        fixations: Fixations that begin in it.
        saccades: Saccades that begin in it.
    """

    recorded: float
    times: np.ndarray
    spans: np.ndarray
    columns: Mapping[str, np.ndarray]
    blinks: Events | None = None
    fixations: Events | None = None
    saccades: Events | None = None


@dataclass(frozen=True)
class Feature:
    """One feature.

    Args:
        what: What it is.
        unit: Its unit.
        needs: Columns of the recording that it needs; of ``("blink | openness | pupil",)`` one is enough.
        function: Takes a :class:`Stretch` and gives the number, or NaN where the stretch holds nothing that it is of.
    """

    what: str
    unit: str
    needs: tuple[str, ...]
    function: Callable[[Stretch], float]


def mean(stretch: Stretch, column: str) -> float:
    """Return the mean of what was measured of a column.

    Args:
        stretch: The stretch.
        column: Its column.
    """
    values = _measured(stretch.columns[column])
    return float(values.mean()) if values.size else np.nan


def deviation(stretch: Stretch, column: str) -> float:
    """Return the standard deviation of what was measured of a column.

    Args:
        stretch: The stretch.
        column: Its column.
    """
    values = _measured(stretch.columns[column])
    return float(values.std()) if values.size else np.nan


def band_entropy(stretch: Stretch, column: str, low: float, high: float) -> float:
    """Return the differential entropy in nats of a column in a frequency band: ``log(2 pi e variance) / 2``.

    The variance is the Lomb-Scargle periodogram of the measured samples about their mean, added up over the band at
    no fewer than four frequencies for each that the stretch can tell apart.

    Args:
        stretch: The stretch.
        column: Its column.
        low: Lower edge in Hz.
        high: Upper edge in Hz.

    Example:
        >>> t = np.arange(0, 60, 0.02)
        >>> pupil = {"pupil": 4 + 0.2 * np.sin(2 * np.pi * 0.3 * t)}
        >>> entropy = band_entropy(Stretch(60.0, t, np.full(t.size, 0.02), pupil), "pupil", 0.2, 0.4)
        >>> round(float(np.exp(2 * entropy) / (2 * np.pi * np.e)), 4)  # 0.2**2 / 2, less what leaks out
        0.0197
    """
    seen = np.isfinite(stretch.columns[column])
    if seen.sum() < LEAST_SAMPLES:
        return np.nan
    values = stretch.columns[column][seen]
    values = values - values.mean()
    times = stretch.times[seen] - stretch.times[0]
    count = max(4, int(np.ceil(4 * times[-1] * (high - low))))
    step = (high - low) / count
    frequencies = 2 * np.pi * (low + step * (np.arange(count) + 0.5))
    block = max(1, _AT_ONCE // values.size)
    power = sum(float(lombscargle(times, values, frequencies[k : k + block]).sum()) for k in range(0, count, block))
    # An amplitude a gives a peak of a² n / 4, 1 / (n interval) wide, and has the variance a² / 2.
    variance = 2 * power * step * float(stretch.spans[seen].sum()) / values.size
    return float(0.5 * np.log(2 * np.pi * np.e * max(variance, LEAST_VARIANCE)))


def of_events(
    stretch: Stretch, kind: str, value: str, statistic: Callable[[np.ndarray], np.floating], scale: float = 1.0
) -> float:
    """Return a statistic over the events of one kind.

    Args:
        stretch: The stretch.
        kind: ``"blinks"``, ``"fixations"`` or ``"saccades"``.
        value: ``"duration"``, ``"dispersion"`` (X and Y added), or a value of the events.
        statistic: Makes one number of them.
        scale: Factor, 1000 for ms.
    """
    events: Events = getattr(stretch, kind)
    if value == "duration":
        values = events.duration
    elif value == "dispersion":
        values = events.values["dispersion_x"] + events.values["dispersion_y"]
    else:
        values = events.values[value]
    values = _measured(values)
    return float(statistic(values)) * scale if values.size else np.nan


def frequency(stretch: Stretch, kind: str) -> float:
    """Return how many events of a kind begin in a second of recorded time.

    Args:
        stretch: The stretch.
        kind: ``"blinks"``, ``"fixations"`` or ``"saccades"``.
    """
    return len(getattr(stretch, kind)) / stretch.recorded if stretch.recorded > 0 else np.nan


def spread(stretch: Stretch, column: str) -> float:
    """Return the standard deviation of a direction in degrees, a turn past the back followed.

    Args:
        stretch: The stretch.
        column: Its column.

    Example:
        >>> spread(Stretch(1.0, np.arange(2.0), np.ones(2), {"x": np.array([179.0, -179.0])}), "x")
        1.0
    """
    values = _measured(stretch.columns[column])
    return float(np.unwrap(values, period=360.0).std()) if values.size else np.nan


def direction(stretch: Stretch, column: str) -> float:
    """Return the mean direction in degrees of what can turn past the back: that of the mean of unit vectors.

    Args:
        stretch: The stretch.
        column: Its column.

    Example:
        >>> abs(round(direction(Stretch(1.0, np.arange(2.0), np.ones(2), {"x": np.array([179.0, -179.0])}), "x"), 6))
        180.0
    """
    values = np.radians(_measured(stretch.columns[column]))
    return float(np.degrees(np.arctan2(np.sin(values).mean(), np.cos(values).mean()))) if values.size else np.nan


def speed(stretch: Stretch, columns: tuple[str, str], statistic: Callable[[np.ndarray], np.floating]) -> float:
    """Return a statistic of the speed in degrees a second, over neighbouring samples that were measured.

    Args:
        stretch: The stretch.
        columns: The direction to the right and up.
        statistic: Makes one number of them.

    Example:
        >>> columns = {"head_x": np.array([0.0, 3.0, 6.0]), "head_y": np.array([0.0, 4.0, 8.0])}
        >>> speed(Stretch(1.0, np.array([0.0, 0.5, 1.0]), np.full(3, 0.5), columns), ("head_x", "head_y"), np.mean)
        10.0
    """
    right, up = (np.diff(stretch.columns[name]) for name in columns)
    values = _measured(np.hypot((right + 180.0) % 360.0 - 180.0, up) / np.diff(stretch.times))
    return float(statistic(values)) if values.size else np.nan


def shift(stretch: Stretch, statistic: Callable[[np.ndarray], np.floating]) -> float:
    """Return a statistic of the distance in degrees from the middle of one fixation to that of the next.

    Args:
        stretch: The stretch.
        statistic: Makes one number of them.
    """
    places = stretch.fixations.values if stretch.fixations is not None else {}
    right, up = (np.diff(places[name]) for name in _GAZE)
    values = _measured(np.hypot((right + 180.0) % 360.0 - 180.0, up))
    return float(statistic(values)) if values.size else np.nan


def _measured(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


_GAZE = ("x", "y")
_BLINK = (
    "blink | openness | openness_left | openness_right | pupil | pupil_left | pupil_right | pupil_x | pupil_y | x",
)
_FIXATION = ("fixation | x", "fixation | y")


def _of_column(column: str, title: str, unit: str) -> dict[str, Feature]:
    return {
        f"{column}_mean": Feature(f"mean of {title}", unit, (column,), partial(mean, column=column)),
        f"{column}_std": Feature(f"standard deviation of {title}", unit, (column,), partial(deviation, column=column)),
    }


def _of_pupil(column: str, title: str) -> dict[str, Feature]:
    rows = _of_column(column, title, "mm")
    for low, high in BANDS:
        entropy = partial(band_entropy, column=column, low=low, high=high)
        what = f"differential entropy of {title} in {low:g} to {high:g} Hz"
        rows[f"{column}_de_{low:.1f}_{high:.1f}"] = Feature(what, "nat", (column,), entropy)
    return rows


def _both(first: dict[str, Feature], second: dict[str, Feature]) -> dict[str, Feature]:
    """Return the rows of X and Y by turns."""
    pairs = zip(first.items(), second.items(), strict=True)
    return {name: feature for pair in pairs for name, feature in pair}


def _of_values(prefix: str, title: str, needs: tuple[str, ...], kind: str, value: str) -> dict[str, Feature]:
    return {
        f"{prefix}_mean": _of_events(f"mean {title}", needs, kind, value, np.mean),
        f"{prefix}_std": _of_events(f"standard deviation of the {title}", needs, kind, value, np.std),
    }


def _of_events(
    what: str, needs: tuple[str, ...], kind: str, value: str, statistic: Callable[[np.ndarray], np.floating]
) -> Feature:
    unit, scale = ("ms", 1e3) if value in ("duration", "latency") else ("deg", 1.0)
    return Feature(what, unit, needs, partial(of_events, kind=kind, value=value, statistic=statistic, scale=scale))


def _statistics() -> dict[str, Feature]:
    return {
        "blink_frequency": Feature("blinks a second", "Hz", _BLINK, partial(frequency, kind="blinks")),
        "fixation_frequency": Feature("fixations a second", "Hz", _FIXATION, partial(frequency, kind="fixations")),
        "fixation_duration_max": _of_events("longest fixation", _FIXATION, "fixations", "duration", np.max),
        "fixation_dispersion_total": _of_events(
            "dispersion of all fixations added", _GAZE, "fixations", "dispersion", np.sum
        ),
        "fixation_dispersion_max": _of_events(
            "largest dispersion of a fixation", _GAZE, "fixations", "dispersion", np.max
        ),
        "saccade_frequency": Feature("saccades a second", "Hz", _GAZE, partial(frequency, kind="saccades")),
        "saccade_duration_average": _of_events("mean duration of saccades", _GAZE, "saccades", "duration", np.mean),
        "saccade_amplitude_average": _of_events("mean amplitude of saccades", _GAZE, "saccades", "amplitude", np.mean),
        "saccade_latency_average": _of_events(
            "mean time from a saccade to the next", _GAZE, "saccades", "latency", np.mean
        ),
    }


def _of_places() -> dict[str, Feature]:
    head = ("head_x", "head_y")
    spreads = {"x": "gaze to the side", "y": "gaze up", "head_x": "the head to the side", "head_y": "the head up"}
    return {
        **{
            f"{c}_std": Feature(f"spread of {what}", "deg", (c,), partial(spread, column=c))
            for c, what in spreads.items()
        },
        "x_mean": Feature("mean of gaze to the side", "deg", ("x",), partial(direction, column="x")),
        "head_x_mean": Feature("mean of the head to the side", "deg", ("head_x",), partial(direction, column="head_x")),
        "y_mean": Feature("mean of gaze up", "deg", ("y",), partial(mean, column="y")),
        "head_y_mean": Feature("mean of the head up", "deg", ("head_y",), partial(mean, column="head_y")),
        "head_speed_mean": Feature(
            "mean speed of the head", "deg/s", head, partial(speed, columns=head, statistic=np.mean)
        ),
        "head_speed_std": Feature(
            "standard deviation of the head's speed", "deg/s", head, partial(speed, columns=head, statistic=np.std)
        ),
        "fixation_shift_mean": Feature(
            "mean distance to the next fixation", "deg", _GAZE, partial(shift, statistic=np.mean)
        ),
        "fixation_shift_max": Feature(
            "largest distance to the next fixation", "deg", _GAZE, partial(shift, statistic=np.max)
        ),
    }


_SEED = {
    **_both(_of_pupil("pupil_x", "the pupil's size X"), _of_pupil("pupil_y", "the pupil's size Y")),
    **_both(
        _of_values("dispersion_x", "horizontal range of fixations", _GAZE, "fixations", "dispersion_x"),
        _of_values("dispersion_y", "vertical range of fixations", _GAZE, "fixations", "dispersion_y"),
    ),
    **_of_values("fixation_duration", "duration of fixations", _FIXATION, "fixations", "duration"),
    **_of_values("blink_duration", "duration of blinks", _BLINK, "blinks", "duration"),
    **_of_values("saccade_duration", "duration of saccades", _GAZE, "saccades", "duration"),
    **_of_values("saccade_amplitude", "amplitude of saccades", _GAZE, "saccades", "amplitude"),
    **_statistics(),
}

SEED_FEATURES: tuple[str, ...] = tuple(_SEED)
"""The 33 features of the published list, group by group in its order."""

FEATURES: dict[str, Feature] = {
    **_SEED,
    **_of_pupil("pupil", "the pupil's diameter, both eyes"),
    **_of_pupil("pupil_left", "the left pupil's diameter"),
    **_of_pupil("pupil_right", "the right pupil's diameter"),
    **_of_column("openness", "the eyes' openness", "ratio"),
    **_of_column("openness_left", "the left eye's openness", "ratio"),
    **_of_column("openness_right", "the right eye's openness", "ratio"),
    **_of_places(),
}
"""Every feature by name, closed."""
