"""A recording's windows as a model of sound takes them: log-mel spectrograms or waveforms, and how good each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evermodels.core.specs import AudioSpec
from evermodels.functional import log_mel_spectrogram
from evermodels.signals import room
from evermodels.signals.audio.level import (
    SILENT_DBFS,
    STEADY_DB,
    check_threshold,
    clipped_share,
    frame_mask,
    level_spread,
    rms_dbfs,
    silent_share,
)
from evermodels.signals.audio.padded import Padded
from evermodels.signals.audio.recording import Audio

CLIPPED = 0.001
"""Share of a window's samples at full scale from which on it is said: a cut-off peak in every hundredth second."""


SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .m4a .aac .aiff .aif .au .caf .wma".split())
"""Endings by which a file is taken for sound where nothing else says it."""


def _channel(text: str) -> int | str:
    return int(text) if text.isdigit() else text


class Reader(room.Reader[Audio]):
    """Makes a model's windows of sound.

    Each window has in its ``quality``: ``rms_dbfs``, its level (:func:`~evermodels.signals.audio.rms_dbfs`);
    ``silent``, the share of its frames of 25 ms below ``silent_dbfs``; ``clipped``, the share of its samples that stand
    at full scale in runs of three or more, at the rate at which it was recorded; ``level_spread``, by how many dB the
    level changes from frame to frame, which says whether there can be speech in it (NaN where a window is shorter than
    two seconds or mostly silent). A window whose level is below
    ``silent_dbfs`` is not usable: it holds no sound that a model could read.

    Args:
        spec: What the model takes.
        window_seconds: Length of the model's windows in seconds.
        silent_dbfs: Level in dBFS below which a frame is silent and a window not usable (default -70; why, see
            :data:`~evermodels.signals.audio.level.SILENT_DBFS`).

    Raises:
        ConfigError: If ``silent_dbfs`` is no level.

    Example:
        >>> reader = Reader(AudioSpec(n_mels=64), 1.0)
        >>> noise = Audio(0.1 * np.random.default_rng(0).standard_normal(44100 * 3).clip(-3, 3), sfreq=44100)
        >>> window = next(reader.windows(reader.prepare(noise), [0.5], 1.0))
        >>> window.tensor.shape, round(window.quality["rms_dbfs"])
        (torch.Size([98, 64]), -20)
    """

    recording = Audio
    example = "Audio(array, sfreq=16000)"
    files = "a sound file, or a video whose sound track is read"
    options = (
        room.Option(
            "channel", _channel, "CHANNEL", "which channel of a sound of several: its number from 0, or 'mean'"
        ),
    )
    settings = (
        room.Option("silent_dbfs", float, "DBFS", f"level below which sound counts as silence ({SILENT_DBFS:g})"),
    )
    keeps_all = False

    def __init__(self, spec: AudioSpec, window_seconds: float | None, *, silent_dbfs: float = SILENT_DBFS) -> None:
        super().__init__(spec, window_seconds)
        check_threshold(silent_dbfs, "silent_dbfs")
        self.silent_dbfs = float(silent_dbfs)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Return whether a path has the ending of a sound file.

        Args:
            path: The path.
        """
        return path.suffix.lower() in SUFFIXES

    def prepare(self, recording: Audio) -> Audio:
        """Return the recording as it is, or followed by silence (:attr:`pad`): its rate is changed window by window.

        Args:
            recording: As :meth:`open` gave it.

        Raises:
            SignalError: If it is too short for that.
        """
        seconds = self.window_seconds
        if not self.pad or seconds is None or recording.stop - recording.start + room.slack(recording) >= seconds:
            return recording
        return Padded(recording, seconds)

    def windows(self, recording: Audio, starts: Sequence[float], seconds: float) -> Iterator[room.Window]:
        """Yield one window after the other.

        Args:
            recording: The recording.
            starts: Where they begin, in seconds on the shared clock, in order of time.
            seconds: Their length.

        Yields:
            Windows of ``(frames, mels)`` or ``(samples,)`` float32, as the spec says, and the mask of silent frames.
        """
        heard = recording.heard if isinstance(recording, Padded) else None
        full_scale = (recording.recorded if isinstance(recording, Padded) else recording).source.full_scale
        for whole, sound in recording.cut(starts, seconds, self.spec.sfreq):
            recorded = whole[:heard]
            level = float(rms_dbfs(recorded))
            quality = {
                "rms_dbfs": level,
                "silent": silent_share(recorded, recording.sfreq, self.silent_dbfs),
                "clipped": clipped_share(recorded, full_scale),
                "level_spread": level_spread(recorded, recording.sfreq, self.silent_dbfs),
            }
            usable = level >= self.silent_dbfs
            why = "" if usable else f"it is silent ({level:.0f} dBFS, below {self.silent_dbfs:g})"
            mask = torch.from_numpy(self.frame_mask(recorded, recording.sfreq, seconds))
            yield room.Window(self._tensor(sound), usable, quality, why, mask if bool(mask.any()) else None)

    def frame_mask(self, sound: np.ndarray, sfreq: float, seconds: float) -> np.ndarray:
        """Return which frames of a window hold sound, ``(frames,)`` bool; also of waveforms, by the spec's frames.

        Args:
            sound: What there is of the window, from its beginning, ``(time,)``.
            sfreq: Its sampling rate in Hz.
            seconds: Length of the window.
        """
        spec: AudioSpec = self.spec
        if spec.form == "waveform":
            frames = 1 + int((seconds - spec.frame_seconds) / spec.hop_seconds + 1e-9)
        else:
            frames = spec.shape(seconds)[0]
        return frame_mask(sound, sfreq, frames, spec.frame_seconds, spec.hop_seconds, self.silent_dbfs)

    def _tensor(self, sound: np.ndarray) -> Tensor:
        spec: AudioSpec = self.spec
        waveform = torch.from_numpy(np.ascontiguousarray(sound))
        if spec.form == "waveform":
            return waveform
        log_mel = log_mel_spectrogram(
            waveform,
            spec.sfreq,
            n_mels=spec.n_mels,
            frame_length=round(spec.frame_seconds * spec.sfreq),
            hop_length=round(spec.hop_seconds * spec.sfreq),
            f_min=spec.f_min,
            f_max=spec.f_max,
            window=spec.window,
            periodic=spec.periodic,
            remove_mean=spec.remove_mean,
            preemphasis=spec.preemphasis,
            power=spec.power,
            offset=spec.offset,
        )
        return (log_mel - spec.mean) / spec.std

    def notes(self, starts: Sequence[float], windows: Sequence[room.Window], otherwise: str) -> tuple[str, ...]:
        """Return what is to be said of the windows: silence, sound that is cut off, sound that cannot be speech.

        Args:
            starts: Where they begin.
            windows: What :meth:`windows` gave.
            otherwise: What becomes of windows that are not usable.
        """
        found = []
        silent = [not window.usable for window in windows]
        if any(silent):
            first = windows[silent.index(True)]
            found.append(f"Audio:{room.which(starts, silent)} it is not read, since {first.why}; {otherwise}.")
        clipped = [window.quality.get("clipped", 0.0) >= CLIPPED for window in windows]
        if any(clipped):
            most = max(window.quality["clipped"] for window in windows if window.quality)
            found.append(
                f"Audio:{room.which(starts, clipped)} the sound is cut off at full scale (up to {most:.1%} of a "
                "window's samples), so its loudest parts are distorted."
            )
        steady = [window.quality.get("level_spread", float("nan")) < STEADY_DB for window in windows]
        if any(steady):
            least = min(window.quality["level_spread"] for window, one in zip(windows, steady, strict=True) if one)
            found.append(
                f"Audio:{room.which(starts, steady)} the level of the sound hardly changes (by {least:.1f} dB; in "
                "speech by 4 and more), as that of noise or a hum: what a model of speech answers to it means nothing."
            )
        return tuple(found)
