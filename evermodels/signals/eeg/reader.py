"""From EEG recordings to a model's windows, as its spec says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGFeatures, EEGSpec
from evermodels.functional import band_power, differential_entropy
from evermodels.signals import room
from evermodels.signals.eeg.annotations import named_stretches
from evermodels.signals.eeg.checks import check_plausible_rate, note, offset_channels, spread_and_offset
from evermodels.signals.eeg.describe import describe
from evermodels.signals.eeg.filters import band_pass, notch, resample, window_events
from evermodels.signals.eeg.formats import is_eeg_name
from evermodels.signals.eeg.own_level import own_level
from evermodels.signals.eeg.recording import EEG, MissingChannelsError
from evermodels.signals.eeg.whitening import Whitening


class Reader(room.Reader[EEG]):
    """Makes a model's windows of EEG.

    Channels are picked and ordered by name (missing ones are an error, extra ones are left out; a model that was
    adapted to another montage asks for that montage's, and interpolates by itself); then notch, band-pass, reference,
    resampling, whitening, windows, scaling and features, as the spec says, in this order.

    Args:
        spec: What the model takes.
        window_seconds: Length of its windows in seconds, or ``None`` where it takes any.

    Example:
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((2, 5000))
        >>> reader = Reader(EEGSpec(ch_names=("Cz",), sfreq=100.0, l_freq=1.0), 2.0)
        >>> recording = reader.prepare(EEG(volts, ch_names=["Fz", "Cz"], unit="V", sfreq=250.0))
        >>> recording
        EEG(1 channels Cz, 100 Hz, 20.0 s)
        >>> [window.tensor.shape for window in reader.windows(recording, [0.0, 18.0], 2.0)]
        [torch.Size([1, 200]), torch.Size([1, 200])]
    """

    recording = EEG
    example = "EEG(array, ch_names=[...], sfreq=250, unit='uV')"
    files = "any file that MNE reads"
    options = (
        room.Option("unit", str, "U", "unit of the EEG's numbers (V, mV, uV, nV), for a file whose header names none"),
    )
    spec: EEGSpec

    @property
    def compares(self) -> bool:
        """Whether windows are compared with the person's own spectrum (``whiten``)."""
        return self.spec.whiten

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Return whether a path has the ending of a recording of EEG, or of what might be taken for one.

        Args:
            path: The path.
        """
        return is_eeg_name(path)

    @classmethod
    def annotations(cls, source: Any) -> tuple[tuple[float, float, str], ...]:
        """Return the annotations of a file or MNE object, or the trials of epochs.

        Args:
            source: As in :func:`~evermodels.signals.read_eeg`, but no array.
        """
        return named_stretches(source)

    @classmethod
    def channels(cls, source: Any, **form: Any) -> tuple[str, ...]:
        """Return the canonical names of a recording's channels.

        Args:
            source: As in :func:`~evermodels.signals.read_eeg`.
            **form: As in :func:`~evermodels.signals.read_eeg`.
        """
        return EEG(source, **form).ch_names

    @classmethod
    def describe(cls, source: Any, spec: Any, window_seconds: float | None, **form: Any) -> dict[str, Any]:
        """Say what a recording holds: channels, rate, unit, magnitude, pauses, annotations.

        Args:
            source: As in :func:`~evermodels.signals.read_eeg`.
            spec: What a model takes, or ``None``.
            window_seconds: Length of its windows.
            **form: As in :func:`~evermodels.signals.read_eeg`.
        """
        return describe(source, spec, window_seconds, **form)

    def open(self, source: Any, **form: Any) -> EEG:
        """Return a source as a recording; of a file and an MNE object no more than the model's channels is read.

        Args:
            source: As in :func:`~evermodels.signals.read_eeg`, but no array.
            **form: Arguments of :class:`EEG`, such as ``start`` and ``unit``.

        Raises:
            SignalError: As :func:`~evermodels.signals.read_eeg`, or if a channel is missing.
            FileNotFoundError: If there is no such file.

        Warns:
            UserWarning: As :func:`~evermodels.signals.read_eeg`.
        """
        if isinstance(source, (str, Path)) or (hasattr(source, "info") and hasattr(source, "get_data")):
            with _naming_the_way_out():
                return EEG(source, **{"ch_names": self.spec.ch_names, **form})
        return super().open(source, **form)

    def prepare(self, recording: EEG) -> EEG:
        """Return the recording with the model's channels, filtered, referenced and at the model's rate.

        Args:
            recording: The recording.

        Raises:
            SignalError: If a channel is missing, or the recording is unusable.

        Warns:
            UserWarning: If channels lie far from 0 and nothing in the spec takes that away; if stretches are too short
                for a window.
        """
        spec = self.spec
        check_plausible_rate(recording.sfreq, "the recording")
        with _naming_the_way_out():
            recording = recording.pick(spec.ch_names)
        if spec.notch is not None:
            recording = notch(recording, spec.notch)
        recording = band_pass(recording, spec.l_freq, spec.h_freq)
        if spec.reference == "average":
            recording = recording.changed(data=recording.data - recording.data.mean(axis=0, keepdims=True))
        recording = resample(recording, spec.sfreq)
        if spec.lag_seconds:
            recording = recording.changed(start=recording.start - spec.lag_seconds)
        kept: list[str] = []
        for text in (*self._offset_notes(recording), *self._short_notes(recording)):
            note(kept, text)
        return recording.changed(notes=(*recording.notes, *kept)) if kept else recording

    def windows(self, recording: EEG, starts: Sequence[float], seconds: float) -> Iterator[room.Window]:
        """Yield one window after the other, float32: signals in µV (or whitened or standardised), or features of them.

        Args:
            recording: As :meth:`prepare` (and :meth:`compare`) gave it.
            starts: Where they begin, in seconds on the shared clock.
            seconds: Their length.
        """
        length = round(seconds * recording.sfreq)
        begins = np.array([begin for begin, _ in recording.coverage])
        for start in starts:
            k = max(int(np.searchsorted(begins, start + room.slack(recording), side="right")) - 1, 0)
            first, last = recording.segments[k]
            at = min(first + max(0, round((start - begins[k]) * recording.sfreq)), last - length)
            values = recording.data[:, at : at + length]
            if self.spec.scale == "zscore":
                spread = values.std(axis=-1, keepdims=True)
                values = (values - values.mean(axis=-1, keepdims=True)) / np.where(spread > 0, spread, 1)
            signals = torch.from_numpy(np.array(values, dtype=np.float32))
            yield room.Window(signals if self.spec.features is None else self._features(signals, self.spec.features))

    def _features(self, signals: Tensor, wanted: EEGFeatures) -> Tensor:
        """Return features of ``(channels, time)``, stretch by stretch, ``(stretches, bands, channels)``."""
        length = round(wanted.seconds * self.spec.sfreq)
        stretches = signals.unfold(1, length, length).transpose(0, 1)
        if wanted.kind == "power":
            return band_power(stretches, self.spec.sfreq, wanted.bands)
        return differential_entropy(stretches, self.spec.sfreq, wanted.bands, method=wanted.method)

    def compare(self, recording: EEG, baseline: Any) -> room.Compared[EEG]:
        """Divide the spectrum of each channel by the person's own, where the spec asks for it.

        Args:
            recording: As :meth:`prepare` gave it.
            baseline: As in :class:`~evermodels.signals.Preprocessor`.

        Raises:
            ConfigError: If the model does not take what is given.
            SignalError: If a baseline is unusable.
        """
        return own_level(self.spec, recording, baseline, self._prepared)

    def fit_baseline(self, sources: Any) -> Whitening:
        """Take a person's own spectrum.

        Args:
            sources: A recording, or a list of them.

        Raises:
            ConfigError: If the model takes recordings as they are, or a list does not fit what it compares with.
            SignalError: If a recording is unusable, shorter than 10 s, or has a flat channel.
        """
        if not self.spec.whiten:
            super().fit_baseline(sources)  # refuses it
        several = list(sources) if isinstance(sources, (list, tuple)) else [sources]
        if self.spec.baseline and len(several) != 1:
            raise ConfigError(
                f"baseline: this model compares a person with one recording of {self.spec.baseline}, got "
                f"{len(several)}. Give that one."
            )
        return Whitening.fit([self._prepared(source) for source in several])

    def dropped(self, recording: EEG) -> tuple[str, ...]:
        """Return the channels of the recording that the model does not take.

        Args:
            recording: As :meth:`prepare` gave it.
        """
        return recording.dropped

    def events(self, recording: EEG, starts: Sequence[float]) -> tuple[str, ...]:
        """Return the event of the segment in which each window lies; empty where the recording has none.

        Args:
            recording: The recording.
            starts: Where windows begin, in seconds on the shared clock.
        """
        return window_events(recording, np.asarray(starts))

    def _prepared(self, source: Any) -> EEG:
        return self.prepare(self.open(source))

    def _offset_notes(self, recording: EEG) -> list[str]:
        if self.spec.l_freq is not None or self.spec.whiten or self.spec.scale == "zscore":
            return []
        moving = spread_and_offset(recording.data, recording.sfreq, recording.segments)
        far = offset_channels(*moving, recording.ch_names)
        if not far:
            return []
        listed = ", ".join(f"{name} {value:.0f}" for name, value in list(far.items())[:8])
        more = f" and {len(far) - 8} more" if len(far) > 8 else ""
        return [
            f"eeg: channels lie far from 0 (µV: {listed}{more}), and the model's input spec has no high-pass that "
            "takes such an offset of the amplifier away. Give the model one (l_freq=0.5 where it is made: "
            "create_model(name, l_freq=0.5), or the recipe's), or filter the recording: "
            "signals.band_pass(recording, 0.5, None)."
        ]

    def _short_notes(self, recording: EEG) -> list[str]:
        if self.window_seconds is None:
            return []
        lengths = [stop - start for start, stop in recording.segments]
        short = [length for length in lengths if length < round(self.window_seconds * recording.sfreq)]
        if not short or len(short) == len(lengths):
            return []
        return [
            f"eeg: {len(short)} of its {len(lengths)} uninterrupted stretches, {sum(short) / recording.sfreq:.1f} s in "
            f"all, are shorter than a window of {self.window_seconds:g} s and are not read."
        ]


@contextmanager
def _naming_the_way_out() -> Iterator[None]:
    try:
        yield
    except MissingChannelsError as error:
        raise SignalError(
            f"{error} Give a recording with the model's channels, or carry the model to these, which interpolates "
            f"the missing ones: evermodels.from_pretrained(name, ch_names={list(error.present)}), or "
            "model.adapt_montage(...); on the command line --ch-names auto."
        ) from error
