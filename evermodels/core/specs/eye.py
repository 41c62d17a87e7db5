"""How eye movement and pupil must look when they enter a model: features by stretch, or the raw series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from evermodels.core.errors import ConfigError
from evermodels.core.specs.modality import LONGEST, Reading, SampledSpec
from evermodels.core.text import LABEL_RULE, doubled, is_label

MOST_STRETCHES = 100_000
"""Stretches of a window; more is a mistake."""


@dataclass(frozen=True)
class EyeSpec(SampledSpec):
    """How eye movement and pupil must look when they enter a model.

    Args:
        form: ``"features"`` (numbers for each stretch of the window) or ``"series"`` (the recording itself).
        features: Names of the features in the model's order, see :mod:`evermodels.signals.eye`.
        channels: Columns of the recording in the model's order, for ``"series"``; ``"measured"`` says where they were.
        sfreq: Rate of the series in Hz.
        seconds: Length of the stretch that one row of features stands for.
        pupil_unit: ``"mm"``, or ``"au"`` for the arbitrary units of a tracker, which mean nothing on another one.
        gaze_unit: ``"deg"``; a series may also be of ``"px"`` or of ``"normalized"`` parts of the screen. Features of
            gaze are of degrees.

    A recording in another unit is refused: what can be converted (µm to mm, radians to degrees) is, when it is read.

    Example:
        >>> EyeSpec(features=("pupil_mean", "blink_frequency"), seconds=2.5).shape(5.0)  # stretches, features
        (2, 2)
        >>> EyeSpec(form="series", channels=("pupil", "openness"), sfreq=60.0).shape(5.0)
        (300, 2)
    """

    title: ClassVar[str] = "eye movement"
    readings: ClassVar[Mapping[str, Reading]] = {
        "eye_share": Reading("time measured", least=0.8, percent=True),
        "eye_gap_seconds": Reading("not recorded (s)"),
        "blinks": Reading("blinks"),
        "empty_features": Reading("features without a value"),
    }

    form: Literal["features", "series"] = "features"
    features: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    sfreq: float = 60.0
    seconds: float = 1.0
    pupil_unit: Literal["mm", "au"] = "mm"
    gaze_unit: Literal["deg", "px", "normalized"] = "deg"

    def check(self) -> None:
        """Refuse empty or doubled names and impossible rates."""
        key, other = ("features", "channels") if self.form == "features" else ("channels", "features")
        names = getattr(self, key)
        if not names or doubled(names) or not all(map(is_label, names)):
            raise self.refuse(key, f"at least one name, each once, each {LABEL_RULE}, with form={self.form!r}")
        if getattr(self, other):
            raise self.refuse(other, f"() with form={self.form!r}")
        if self.sfreq <= 0:
            raise self.refuse("sfreq", "a positive rate in Hz")
        if self.seconds <= 0:
            raise self.refuse("seconds", "a positive length in seconds")
        if self.form == "features" and self.gaze_unit != "deg":
            raise self.refuse("gaze_unit", "'deg' with form='features', as saccades and fixations are of degrees")
        if self.seconds * self.sfreq < 1:
            raise self.refuse("seconds", f"stretches of at least one sample at {self.sfreq:g} Hz")

    @property
    def kind(self) -> str:
        """``"eye"``."""
        return "eye"

    def check_window(self, window_seconds: float | None) -> None:
        """Refuse windows without a length, shorter than a stretch, or too long to be meant.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.

        Raises:
            ConfigError: If it cannot be.
        """
        window_seconds = self.needed(window_seconds)
        least = self.seconds if self.form == "features" else 1 / self.sfreq
        if not least <= window_seconds * (1 + 1e-9) or window_seconds * self.sfreq > LONGEST:
            raise ConfigError(
                f"InputSpec.window_seconds: expected {least:g} to {LONGEST / self.sfreq:g} s, got {window_seconds!r}."
            )
        if self.form == "features" and window_seconds > MOST_STRETCHES * self.seconds:
            raise ConfigError(
                f"EyeSpec.seconds: {self.seconds!r} makes more than {MOST_STRETCHES:,} stretches of a window of "
                f"{window_seconds:g} s. Give longer ones."
            )

    def shape(self, window_seconds: float | None) -> tuple[int, ...]:
        """Return ``(stretches, features)``, or ``(time, channels)`` of a series.

        Args:
            window_seconds: Length of a window.
        """
        self.check_window(window_seconds)
        window_seconds = self.needed(window_seconds)
        if self.form == "series":
            return (self.num_samples(window_seconds), len(self.channels))
        return (int(window_seconds / self.seconds + 1e-9), len(self.features))

    def describe(self) -> tuple[str, ...]:
        """Return what the recording must hold."""
        if self.form == "series":
            return (f"{', '.join(self.channels)} at {self.sfreq:g} Hz",)
        return (f"{len(self.features)} features ({', '.join(self.features)}), every {self.seconds:g} s",)
