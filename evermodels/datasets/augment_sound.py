"""Random changes of recorded speech in training: another speed, throat, room, microphone, or a second voice."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray
from torch import Tensor

from evermodels.core.config import Config
from evermodels.core.errors import ConfigError
from evermodels.core.specs import AudioSpec
from evermodels.functional.log_mel import mel_centres
from evermodels.signals.audio.resampling import Ratio, resample

Sound = NDArray[np.float32]

_STEP = 0.025  # of a speed: few speeds, whose filters are kept
_TILT_AT = 1000.0  # Hz, where a tilt changes nothing
_TILT_FROM = 60.0  # Hz, below which it goes no further: the hum there is no voice
_QUIETEST = 0.01  # of the largest noise
_MOST_VERSIONS = 100  # all are kept in memory
_ON_MEL = ("warp", "hide_time", "hide_bands")


@dataclass(frozen=True)
class SoundAugmentation(Config):
    """Random changes of each utterance in training; 0 switches one off, and all are off by default.

    In the order in which they are made. Those of the sound itself come before the spectrogram is computed; ``warp``,
    ``hide_time`` and ``hide_bands`` change the log-mel and need a model that takes one. Which frames are valid follows
    the speed; noise makes none valid.

    Args:
        blend: Probability that an utterance of another speaker with the same emotion is laid over it, with up to half
            of the power.
        speed: Largest part by which it is played faster or slower (0.15: 0.87 to 1.15 times), pitch, formants and pace
            alike, as from a smaller or larger speaker.
        tilt: Largest slope that its spectrum gains or loses, in dB per octave, as another microphone or effort gives.
        noise: Standard deviation of the loudest white noise over that of the sound; it is drawn between that and a
            hundredth of it, evenly in dB.
        gain: Largest change of level, in dB. Above full scale nothing is cut off: it is scaled down.
        warp: Largest part by which the frequencies of the log-mel are stretched or squeezed, as a shorter or longer
            vocal tract does (Jaitly & Hinton, 2013), at the same pace.
        hide_time: Longest stretch of time that shows the utterance's mean instead, as a part of its valid frames (Park
            et al., *SpecAugment*, 2019).
        hide_bands: Widest stretch of mel bands that does, as a part of all bands.
        versions: How many changed versions of an utterance there are; an item is one of them or the utterance as it is,
            each alike. They are the same for all seeds and made once, so that an epoch costs no more than without
            changes. 0: a new change each time.

    Raises:
        ConfigError: If a value is negative or too large to be meant, or there are versions and no change.

    Example:
        >>> SoundAugmentation(speed=0.1).any, SoundAugmentation().any
        (True, False)
    """

    blend: float = 0.0
    speed: float = 0.0
    tilt: float = 0.0
    noise: float = 0.0
    gain: float = 0.0
    warp: float = 0.0
    hide_time: float = 0.0
    hide_bands: float = 0.0
    versions: int = 0

    def check(self) -> None:
        """Refuse negative and impossible strengths."""
        if not 0 <= self.blend <= 1:
            raise self.refuse("blend", "a probability")
        for key, most in (("speed", 0.5), ("warp", 0.5), ("hide_time", 0.9), ("hide_bands", 0.9)):
            if not 0 <= getattr(self, key) <= most:
                raise self.refuse(key, f"a part from 0 to {most}")
        for key, most, unit in (("tilt", 12.0, "dB per octave"), ("gain", 60.0, "dB")):
            if not 0 <= getattr(self, key) <= most:
                raise self.refuse(key, f"0 to {most:g} {unit}")
        if not 0 <= self.noise <= 10:
            raise self.refuse("noise", "a part of the sound's standard deviation, 0 to 10")
        if not 0 <= self.versions <= (_MOST_VERSIONS if self.any else 0):
            raise self.refuse("versions", f"0 to {_MOST_VERSIONS}, and 0 where nothing is changed")

    @property
    def any(self) -> bool:
        """Whether anything is changed."""
        return any(getattr(self, f.name) for f in fields(self) if f.name != "versions")

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain JSON; ``versions`` only where there are some, as earlier recipes know it not."""
        return {key: value for key, value in super().to_dict().items() if key != "versions" or value}

    def check_spec(self, spec: AudioSpec) -> None:
        """Refuse changes of the log-mel for a model that takes waveforms.

        Args:
            spec: What the model takes.

        Raises:
            ConfigError: If there are such.
        """
        asked = [key for key in _ON_MEL if getattr(self, key)]
        if asked and spec.form != "log_mel":
            raise ConfigError(
                f"data.augment: {' and '.join(asked)} change a log-mel, and the model takes a {spec.form}. Set them "
                "to 0; speed, tilt, noise, gain and blend work on waveforms."
            )

    def source(self, rng: np.random.Generator, name: str) -> np.random.Generator | None:
        """Return what an utterance's change is drawn from, or ``None`` where it stays as it is.

        Args:
            rng: Source of the item's random numbers.
            name: The utterance.
        """
        if not self.versions:
            return rng
        number = int(rng.integers(self.versions + 1))
        return np.random.default_rng((number, zlib.crc32(name.encode()))) if number else None

    def draw(self, rng: np.random.Generator) -> SoundChange:
        """Draw one change; always the same count of random numbers is used.

        Args:
            rng: Source of the random numbers.
        """
        blended, share, speed, tilt, noise, gain, warp, *hidden = rng.random(11)
        return SoundChange(
            share=share / 2 if blended < self.blend else 0.0,
            speed=float(np.round((1 + self.speed) ** (2 * speed - 1) / _STEP) * _STEP) if self.speed else 1.0,
            tilt=self.tilt * (2 * tilt - 1),
            noise=self.noise * _QUIETEST**noise,
            gain=self.gain * (2 * gain - 1),
            warp=float((1 + self.warp) ** (2 * warp - 1)),
            time=(self.hide_time * hidden[0], hidden[1]),
            bands=(self.hide_bands * hidden[2], hidden[3]),
            seed=int(rng.integers(2**31)),
        )


class SoundChange(NamedTuple):
    """One draw of :class:`SoundAugmentation`.

    Args:
        share: Part of the power that the other voice has.
        speed: How many times as fast.
        tilt: In dB per octave.
        noise: Standard deviation of the noise over that of the sound.
        gain: In dB.
        warp: Factor on the frequencies.
        time: Width and place of the hidden stretch of time, as parts of what there is and of what is left beside it.
        bands: The same of the mel bands.
        seed: Of the noise.
    """

    share: float
    speed: float
    tilt: float
    noise: float
    gain: float
    warp: float
    time: tuple[float, float]
    bands: tuple[float, float]
    seed: int

    def voices(self, sound: Sound, other: Sound | None) -> Sound:
        """Return the utterance with the other voice laid over it, and at its speed.

        Args:
            sound: ``(time,)``.
            other: Another utterance at the same rate, of the other speaker; it is cut or followed by silence.
        """
        if other is not None and self.share:
            over = np.zeros_like(sound)
            over[: len(other)] = other[: len(sound)]
            own, others = np.sqrt([1 - self.share, self.share]).astype(np.float32)
            sound = own * sound + others * over
        if self.speed == 1.0:
            return sound
        part = Fraction(self.speed).limit_denominator(round(1 / _STEP))
        return resample(sound, Ratio(part.denominator, part.numerator, 0))

    def room(self, sound: Sound, sfreq: float) -> Sound:
        """Return it as another microphone in another room gives it.

        Args:
            sound: ``(time,)``.
            sfreq: Its sampling rate in Hz.
        """
        if self.tilt:
            length = scipy.fft.next_fast_len(len(sound), real=True)
            octaves = np.log2(np.maximum(scipy.fft.rfftfreq(length, 1 / sfreq), _TILT_FROM) / _TILT_AT)
            factor = (10 ** (self.tilt / 20 * octaves)).astype(np.float32)
            sound = scipy.fft.irfft(scipy.fft.rfft(sound, length) * factor, length)[: len(sound)].astype(np.float32)
        if self.noise:
            white = np.random.default_rng(self.seed).standard_normal(len(sound), dtype=np.float32)
            sound = sound + np.float32(self.noise) * sound.std() * white
        sound = sound * np.float32(10 ** (self.gain / 20))
        return sound / max(1.0, float(np.abs(sound).max(initial=0.0)))

    def picture(self, log_mel: Tensor, mask: Tensor, spec: AudioSpec) -> Tensor:
        """Return a log-mel with its frequencies stretched and parts of it hidden.

        Args:
            log_mel: ``(frames, mels)``.
            mask: Valid frames, ``(frames,)`` bool.
            spec: How it was made.
        """
        if self.warp != 1.0:
            low, weight = _warped(self.warp, spec)
            log_mel = torch.lerp(log_mel[:, low], log_mel[:, (low + 1).clamp(max=spec.n_mels - 1)], weight)
        valid = torch.nonzero(mask)[:, 0]
        mean = log_mel[valid].mean(dim=0)
        times, bands = _stretch(*self.time, len(valid)), _stretch(*self.bands, spec.n_mels)
        if times.stop > times.start or bands.stop > bands.start:
            log_mel = log_mel.clone()
            log_mel[valid[times]] = mean
            log_mel[valid[:, None], torch.arange(bands.start, bands.stop)] = mean[bands]
        return log_mel


def _stretch(width: float, place: float, count: int) -> slice:
    wide = int(width * count)
    start = int(place * (count - wide + 1))
    return slice(start, start + wide)


def _warped(factor: float, spec: AudioSpec) -> tuple[Tensor, Tensor]:
    """For each band the band below that stands there now, and how much of the next one."""
    top = spec.sfreq / 2 if spec.f_max is None else spec.f_max
    centres = mel_centres(spec.n_mels, spec.f_min, top).numpy()
    place = torch.from_numpy(np.interp(centres / factor, centres, np.arange(spec.n_mels)).astype(np.float32))
    low = place.long().clamp(max=max(spec.n_mels - 2, 0))
    return low, place - low


def changes(settings: SoundAugmentation, spec: AudioSpec | None) -> SoundAugmentation | None:
    """Return the changes that training makes, or ``None`` where there are none.

    Args:
        settings: What is asked for.
        spec: What the model takes of sound, if it takes any.

    Raises:
        ConfigError: If they do not fit the model.
    """
    if spec is None or not settings.any:
        return None
    settings.check_spec(spec)
    return settings


def plain_without(plain: dict[str, Any], settings: SoundAugmentation, key: str) -> dict[str, Any]:
    """Return settings in plain JSON without those of sound where all are off: the digest stays what it was.

    Args:
        plain: The settings.
        settings: Those of sound.
        key: Where they stand.
    """
    return plain if settings.any else {name: value for name, value in plain.items() if name != key}
