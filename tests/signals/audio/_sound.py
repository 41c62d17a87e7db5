"""A sound to test with."""

from __future__ import annotations

import numpy as np


def tone(seconds: float, sfreq: float, hertz: float = 440.0, amplitude: float = 0.3) -> np.ndarray:
    """A tone and a little noise, ``(time,)`` float32."""
    time = np.arange(round(seconds * sfreq)) / sfreq
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (amplitude * np.sin(2 * np.pi * hertz * time) + 0.01 * noise).astype("float32")
