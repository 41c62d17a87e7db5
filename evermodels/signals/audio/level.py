"""How loud sound is, which of it is silence, and which of it is cut off at full scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, ShapeError

SILENT_DBFS = -70.0
"""dBFS below which sound counts as silence. Of 699 utterances of two data sets of acted speech (RAVDESS, EmoDB) the
quietest has -63.7; the pauses between them have -90 and less."""

LEAST_DBFS = -150.0
"""dBFS of digital silence, so that a level is always a number: less than the last bit of 24."""

FRAME_SECONDS = 0.025
"""Length of the frames of which the silent ones are counted."""

STEADY_DB = 2.0
"""Deviation of the level over frames, in dB, below which sound is as steady as noise or a hum. Of 804 windows of 2 s
of acted speech (EmoDB, RAVDESS) the steadiest has 4.0; white noise has 0.3, pink noise 1.1, a tone 0."""

STEADY_SECONDS = 2.0
"""Of shorter windows nothing is said: a single vowel is steady too."""

CLIPPED_RUN = 3
"""Samples at full scale one after the other that count as cut off; a peak that was scaled to full scale has fewer."""


def rms_dbfs(waveform: Any) -> Tensor:
    r"""Return the level of sound in dBFS.

    :math:`20 \log_{10} \sqrt{\mathrm{mean}((x - \bar x)^2)}`: 0 dBFS is the root mean square of a full-scale square
    wave, a full-scale sine has -3.01. The mean is taken out, so that an offset of the recorder is no sound.

    Args:
        waveform: ``(..., time)``, full scale at -1..1, a tensor or an array.

    Returns:
        ``(...)`` float32 or float64, at least -150 (digital silence).

    Raises:
        ShapeError: If there is no sample.

    Example:
        >>> time = torch.arange(16000) / 16000
        >>> round(float(rms_dbfs(torch.sin(2 * torch.pi * 100 * time))), 2)
        -3.01
        >>> rms_dbfs(torch.zeros(2, 100)).tolist()
        [-150.0, -150.0]
    """
    x = torch.as_tensor(waveform)
    if x.ndim == 0 or x.shape[-1] == 0 or not x.is_floating_point():
        raise ShapeError(
            f"waveform: expected (..., time) with at least one sample, of a floating type in -1..1, got {x.dtype} of "
            f"shape {tuple(x.shape)}."
        )
    x = x if x.dtype == torch.float64 else x.float()
    square = (x - x.mean(dim=-1, keepdim=True)).square().mean(dim=-1)
    return 10 * square.clamp(min=10 ** (LEAST_DBFS / 10)).log10()


def energy_mask(waveform: Any, threshold: float = SILENT_DBFS) -> Tensor:
    """Return which samples of a batch hold sound, for losses that leave out the others.

    MERCL (Lee & Kim 2024), section 3.2, eq. 5: the alignment within a sample leaves out samples whose audio has low or
    no energy. The paper gives no threshold; a choice, best made by the data at hand: -70 dBFS (:data:`SILENT_DBFS`).

    Args:
        waveform: ``(batch, time)``, full scale at -1..1.
        threshold: Least level in dBFS.

    Returns:
        ``(batch,)`` bool.

    Raises:
        ConfigError: If the threshold is not below 0 dBFS.
        ShapeError: If there is no sample.

    Example:
        >>> noise = 0.01 * torch.randn(2, 1000) * torch.tensor([[1.0], [0.0]])
        >>> energy_mask(noise).tolist()
        [True, False]
    """
    check_threshold(threshold, "threshold")
    return rms_dbfs(waveform) >= threshold


def check_threshold(value: Any, name: str) -> None:
    """Raise unless a value is a level in dBFS.

    Args:
        value: What was given.
        name: The argument's name.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not LEAST_DBFS <= value < 0:
        raise ConfigError(f"{name}: expected a level in dBFS, {LEAST_DBFS:g} to below 0, got {value!r}.")


def silent_share(sound: np.ndarray, sfreq: float, threshold: float) -> float:
    """Return the share of frames of 25 ms whose level is below a threshold.

    Args:
        sound: ``(time,)``.
        sfreq: Sampling rate in Hz.
        threshold: Level in dBFS.
    """
    frame = min(max(1, round(FRAME_SECONDS * sfreq)), len(sound))
    frames = sound[: len(sound) // frame * frame].reshape(-1, frame)
    return float((rms_dbfs(frames) < threshold).float().mean())


def level_spread(sound: np.ndarray, sfreq: float, threshold: float) -> float:
    """Return by how much the level changes: the standard deviation over the frames of 25 ms that are not silent, in dB.

    Args:
        sound: ``(time,)``.
        sfreq: Sampling rate in Hz.
        threshold: Level in dBFS below which a frame is silent.

    Returns:
        The deviation; NaN where less than half of :data:`STEADY_SECONDS` is not silent, or there is less than all of
        it.

    Example:
        >>> time = np.arange(32000) / 16000
        >>> round(level_spread(0.1 * np.sin(2 * np.pi * 440 * time), 16000.0, -70.0), 3)
        0.0
        >>> level_spread(np.zeros(32000), 16000.0, -70.0)
        nan
    """
    frame = max(1, round(FRAME_SECONDS * sfreq))
    levels = (
        rms_dbfs(sound[: len(sound) // frame * frame].reshape(-1, frame)) if len(sound) >= frame else torch.empty(0)
    )
    loud = levels[levels >= threshold]
    if len(sound) < (STEADY_SECONDS - FRAME_SECONDS) * sfreq or len(loud) * FRAME_SECONDS < STEADY_SECONDS / 2:
        return float("nan")
    return float(loud.std(correction=0))


def frame_mask(  # noqa: PLR0917 - sound, its rate, then the grid of the frames
    sound: np.ndarray, sfreq: float, frames: int, frame_seconds: float, hop_seconds: float, threshold: float
) -> np.ndarray:
    """Return which frames of a window hold sound: their middle lies in it, and they are not silent.

    Args:
        sound: ``(time,)``, at most as long as the window; what is missing behind it is padding.
        sfreq: Its sampling rate in Hz.
        frames: Frames of the window.
        frame_seconds: Length of a frame.
        hop_seconds: Step from one frame to the next.
        threshold: Level in dBFS.

    Returns:
        ``(frames,)`` bool.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal(800) * ([0.1] * 400 + [0.0] * 400)
        >>> frame_mask(noise, 1000.0, 5, 0.2, 0.2, -70.0).tolist()
        [True, True, False, False, False]
    """
    length = max(1, round(frame_seconds * sfreq))
    begins = np.round(np.arange(frames) * hop_seconds * sfreq).astype(int)
    inside = begins + length // 2 < len(sound)
    cut = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, length)), length)[begins[inside]]
    mask = np.zeros(frames, dtype=bool)
    mask[inside] = (rms_dbfs(np.ascontiguousarray(cut)) >= threshold).numpy()
    return mask


def clipped_share(sound: np.ndarray, full_scale: float) -> float:
    """Return the share of samples that stand at full scale in runs of three or more.

    Args:
        sound: ``(time,)``.
        full_scale: From which value on a sample is at full scale.

    Example:
        >>> clipped_share(np.array([0.0, 1.0, 1.0, 1.0, 0.5, 1.0, -1.0, 1.0], dtype="float32"), 0.999)
        0.375
    """
    at_top = (sound >= full_scale).astype(np.int8) - (sound <= -full_scale).astype(np.int8)
    if not at_top.any():
        return 0.0
    edges = np.flatnonzero(np.diff(at_top)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(sound)]]))
    values = at_top[np.concatenate([[0], edges])]
    return float(lengths[(values != 0) & (lengths >= CLIPPED_RUN)].sum() / len(sound))
