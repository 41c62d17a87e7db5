"""How EEG must look when it enters a model: signals by channel, or features of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.specs.modality import LONGEST, SampledSpec
from evermodels.core.text import LABEL_RULE, doubled, is_label

_LONGEST_LAG = 60.0  # more is a mistake in the unit


@dataclass(frozen=True)
class EEGFeatures(Config):
    """Features that stand for the signals: one number for each stretch of the window, band and channel.

    Args:
        kind: ``"differential_entropy"`` or ``"power"`` (mean square in µV²).
        bands: Lower and upper edge of each band in Hz; the default is SEED's delta, theta, alpha, beta, gamma.
        seconds: Length of one stretch in seconds.
        method: How a band is taken out: ``"stft"`` (mean square in the frequency domain) or ``"filter"`` (band-pass in
            time).

    Example:
        >>> EEGFeatures(seconds=4.0).bands[0]
        (1.0, 4.0)
    """

    kind: Literal["differential_entropy", "power"] = "differential_entropy"
    bands: tuple[tuple[float, float], ...] = ((1.0, 4.0), (4.0, 8.0), (8.0, 14.0), (14.0, 31.0), (31.0, 50.0))
    seconds: float = 1.0
    method: Literal["stft", "filter"] = "stft"

    def check(self) -> None:
        """Refuse bands that are none, and stretches without length."""
        if not self.bands or any(not 0 <= low < high for low, high in self.bands):
            raise self.refuse("bands", "at least one (low, high) in Hz with 0 <= low < high")
        if self.seconds <= 0:
            raise self.refuse("seconds", "a positive length in seconds")


@dataclass(frozen=True)
class EEGSpec(SampledSpec):
    """How EEG must look when it enters a model.

    Args:
        ch_names: Channel names in the model's order, canonical spelling.
        sfreq: Sampling rate in Hz.
        unit: Unit of the values; always ``"uV"``.
        l_freq: Lower edge of the band-pass in Hz, or ``None``.
        h_freq: Upper edge of the band-pass in Hz, or ``None``.
        notch: Mains frequency to remove in Hz, or ``None``.
        reference: ``"as recorded"`` or ``"average"`` (common average over the model's channels).
        scale: ``"none"`` or ``"zscore"`` (each channel of a window to mean 0 and standard deviation 1).
        whiten: Whether the spectrum of each channel is divided by the person's own before windows are cut, see
            :class:`evermodels.signals.Whitening`.
        baseline: Where the person's own spectrum is taken from: the name of the state in which a baseline is recorded
            first, such as ``"rest"``, or ``""`` for recordings of all states together (transductive).
        features: Features that are made of each window, or ``None`` for the signals themselves.
        lag_seconds: How much later EEG is read than the other modalities, for a brain that answers to what is seen and
            heard (MERCL, section 3.1: time-lagged synchronisation). A window at t of the shared clock holds EEG from
            t + lag.

    Example:
        >>> EEGSpec(ch_names=("Fz", "Cz"), sfreq=200.0).shape(5.0)
        (2, 1000)
        >>> EEGSpec(ch_names=("Fz", "Cz"), sfreq=200.0, features=EEGFeatures()).shape(5.0)  # stretches, bands, channels
        (5, 5, 2)
    """

    title: ClassVar[str] = "EEG"

    ch_names: tuple[str, ...]
    sfreq: float
    unit: Literal["uV"] = "uV"
    l_freq: float | None = None
    h_freq: float | None = None
    notch: float | None = None
    reference: Literal["as recorded", "average"] = "as recorded"
    scale: Literal["none", "zscore"] = "none"
    whiten: bool = False
    baseline: str = ""
    features: EEGFeatures | None = None
    lag_seconds: float = 0.0

    def check(self) -> None:
        """Refuse empty or doubled channels and impossible rates."""
        if self.baseline and not self.whiten:
            raise self.refuse("baseline", 'the state of a baseline with whiten=True, else ""')
        if self.baseline and not is_label(self.baseline):
            raise self.refuse("baseline", LABEL_RULE)
        if not self.ch_names or doubled(self.ch_names):
            raise self.refuse("ch_names", "at least one channel name, each once")
        if not all(map(is_label, self.ch_names)):
            raise self.refuse("ch_names", f"for each channel {LABEL_RULE}")
        if self.sfreq <= 0:
            raise self.refuse("sfreq", "a positive rate in Hz")
        if abs(self.lag_seconds) > _LONGEST_LAG:
            raise self.refuse("lag_seconds", f"at most {_LONGEST_LAG:g} s")
        nyquist = self.sfreq / 2
        for key in ("l_freq", "h_freq", "notch"):
            value = getattr(self, key)
            if value is not None and not 0 < value < nyquist:
                raise self.refuse(key, f"a frequency in Hz between 0 and half of sfreq ({nyquist:g})")
        if self.l_freq is not None and self.h_freq is not None and self.l_freq >= self.h_freq:
            raise self.refuse("l_freq", f"less than h_freq ({self.h_freq:g})")
        if self.features is not None:
            self._check_features(self.features, nyquist)

    def _check_features(self, features: EEGFeatures, nyquist: float) -> None:
        if max(high for _, high in features.bands) > nyquist:
            raise self.refuse("features", f"bands up to half of sfreq ({nyquist:g} Hz)")
        if features.seconds * self.sfreq < 2:
            raise self.refuse("features", f"stretches of two samples or more at {self.sfreq:g} Hz")

    @property
    def kind(self) -> str:
        """``"eeg"``, or ``"features"`` where features stand for the signals."""
        return "eeg" if self.features is None else "features"

    def check_window(self, window_seconds: float | None) -> None:
        """Refuse windows without a length, without a sample, too long to be meant, or shorter than a stretch.

        Args:
            window_seconds: Length of a window, as the :class:`InputSpec` says.

        Raises:
            ConfigError: If it cannot be.
        """
        window_seconds = self.needed(window_seconds)
        if not 1 <= window_seconds * self.sfreq <= LONGEST:
            raise ConfigError(
                f"InputSpec.window_seconds: expected 1 to {LONGEST:,} samples at {self.sfreq:g} Hz, got "
                f"{window_seconds!r} s."
            )
        if self.features is not None and self.features.seconds > window_seconds:
            raise ConfigError(
                f"InputSpec.window_seconds: expected at least the {self.features.seconds:g} s of one stretch of "
                f"features, got {window_seconds!r}."
            )

    def shape(self, window_seconds: float | None) -> tuple[int, ...]:
        """Return ``(channels, time)``, or with features ``(stretches, bands, channels)``.

        Args:
            window_seconds: Length of a window.
        """
        self.check_window(window_seconds)
        window_seconds = self.needed(window_seconds)
        if self.features is None:
            return (len(self.ch_names), self.num_samples(window_seconds))
        stretches = self.num_samples(window_seconds) // round(self.features.seconds * self.sfreq)
        return (stretches, len(self.features.bands), len(self.ch_names))

    def describe(self) -> tuple[str, ...]:
        """Return what EEG must be, and what it is compared with."""
        band = ""
        if (self.l_freq, self.h_freq) != (None, None):
            low, high = (f"{f:g}" if f is not None else "…" for f in (self.l_freq, self.h_freq))
            band = f", {low} to {high} Hz"
        notch = "" if self.notch is None else f", without mains at {self.notch:g} Hz"
        first = (
            f"{len(self.ch_names)} channels ({', '.join(self.ch_names)}) in µV, {self.sfreq:g} Hz{band}{notch}, "
            f"reference {self.reference}, scaling {self.scale}"
        )
        if self.features is not None:
            what = self.features.kind.replace("_", " ")
            first += f"; of these {what} in {len(self.features.bands)} bands, every {self.features.seconds:g} s"
        if not self.whiten:
            return (first,)
        if self.baseline:
            return (
                first,
                f"Compared with a minute of the person's {self.baseline}, recorded first: each channel's spectrum is "
                "divided by that minute's. It needs no label and nothing of what is to be recognised",
            )
        return (
            first,
            "Compared with the person's recordings in all states: each channel's spectrum is divided by the mean over "
            "them, each counting alike. It takes no labels, but knows where the states begin and weighs them equally; "
            "scores measured so are transductive",
        )
