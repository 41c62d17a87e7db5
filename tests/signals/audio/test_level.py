import math

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.signals.audio import energy_mask, rms_dbfs
from evermodels.signals.audio.level import SILENT_DBFS, clipped_share, silent_share


def test_level_by_hand():
    square = torch.tensor([1.0, -1.0] * 50)
    assert float(rms_dbfs(square)) == pytest.approx(0.0, abs=1e-6)
    time = torch.arange(16000, dtype=torch.float64) / 16000
    sine = torch.sin(2 * math.pi * 100 * time)
    assert float(rms_dbfs(sine)) == pytest.approx(-3.0103, abs=1e-4)
    assert float(rms_dbfs(0.01 * sine)) == pytest.approx(-43.0103, abs=1e-4)
    assert float(rms_dbfs(0.01 * sine + 0.5)) == pytest.approx(-43.0103, abs=1e-3)  # an offset is no sound
    assert float(rms_dbfs(torch.full((100,), 0.25))) == -150.0
    assert rms_dbfs(sine.numpy()[None].repeat(3, 0)).shape == (3,)


def test_level_of_half_precision_does_not_underflow():
    noise = 1e-4 * torch.randn(4000)
    assert float(rms_dbfs(noise.half())) == pytest.approx(float(rms_dbfs(noise)), abs=0.1)


def test_mask_by_energy():
    gains = torch.tensor([1.0, 10 ** (-60 / 20), 10 ** (-80 / 20), 0.0])
    batch = gains[:, None] * torch.tensor([1.0, -1.0] * 500)
    assert energy_mask(batch).tolist() == [True, True, False, False]
    assert energy_mask(batch, -50.0).tolist() == [True, False, False, False]
    with pytest.raises(ConfigError, match="threshold: expected a level in dBFS, -150 to below 0, got 3"):
        energy_mask(batch, 3)


@pytest.mark.parametrize(
    "waveform", [torch.zeros(2, 0), torch.tensor(1.0), torch.ones(5, dtype=torch.int16), np.ones(5, "int16")]
)
def test_bad_waveform(waveform):
    with pytest.raises(ShapeError, match=r"waveform: expected \(..., time\) .* floating type in -1..1"):
        rms_dbfs(waveform)


def test_silent_share():
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype("float32")
    noise[4000:8000] = 0
    assert silent_share(noise, 16000, SILENT_DBFS) == pytest.approx(0.25, abs=0.01)
    assert silent_share(np.zeros(7, "float32"), 16000, SILENT_DBFS) == 1.0  # shorter than a frame


def test_clipped_share():
    loud = np.clip(np.sin(2 * np.pi * 100 * np.arange(16000) / 16000) * 1.5, -1, 1).astype("float32")
    expected = 1 - 2 * math.asin(1 / 1.5) / math.pi
    assert clipped_share(loud, 1 - 2**-14) == pytest.approx(expected, abs=0.01)
    peaks = np.zeros(100, "float32")
    peaks[[10, 11, 20, 21]] = 1, 1, -1, 1
    assert clipped_share(peaks, 1 - 2**-14) == 0.0
    full = np.sin(2 * np.pi * 200 * np.arange(48000) / 48000)
    assert clipped_share(np.round(full * 32767) / 32768, 1 - 2**-14) == 0.0  # a tone that just reaches full scale
