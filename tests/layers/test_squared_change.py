"""SquaredChange against a slow loop, and inside EVER."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import SquaredChange


@pytest.mark.parametrize("bins", [4, 5])
def test_equals_a_loop(bins) -> None:
    batch = 3 + 2 * torch.randn(40, 2, bins, 6, dtype=torch.float64)
    change = SquaredChange(2, bins).double()
    change.fit([change.means(batch[:25]), change.means(batch[25:])])
    x = batch.numpy()
    m = np.stack([x[:, :, g : g + 2].mean((2, 3)) for g in range(0, bins, 2)], axis=-1)
    q = np.minimum(((m - m.mean(0)) / m.std(0)) ** 2, 9) - 1
    expected = np.stack([q[:, :, f // 2] for f in range(bins)], axis=-1)[..., None].repeat(6, axis=-1)
    np.testing.assert_allclose(change(batch).numpy(), expected, atol=1e-12)


def test_either_direction_counts_alike_and_outliers_are_bounded() -> None:
    change = SquaredChange(1, 2)
    x = torch.full((1, 1, 2, 3), 2.0)
    torch.testing.assert_close(change(x), change(-x))
    assert change(x).unique().item() == 3.0 and change(100 * x).unique().item() == 8.0


def test_what_never_changes_gives_the_same_for_all() -> None:
    change = SquaredChange(1, 2)
    constant = torch.full((8, 1, 2, 3), 5.0)
    change.fit([change.means(constant)])
    assert change(constant).unique().item() == -1.0


def test_ever_gives_it_to_the_encoder_and_not_to_the_graph() -> None:
    model = em.create_model("ever_tiny", squared_change=True).eval()
    eeg = 10 * torch.randn(12, 19, 500)
    model.fit_statistics([{"eeg": eeg[:8]}, {"eeg": eeg[8:]}])
    seen = {}
    model.eeg_encoder.register_forward_pre_hook(lambda _, args: seen.update(encoder=args[0]))
    model.fusion.register_forward_pre_hook(lambda _, args: seen.update(graph=args[0]))
    model(eeg=eeg, video=torch.randn(12, 16, 3, 64, 64))
    assert seen["encoder"].shape == (12, 38, 32, 16) and seen["graph"].shape == (12, 19, 32, 16)
    torch.testing.assert_close(seen["encoder"][:, :19], seen["graph"])
    raw = model.spectrogram.stft(eeg)
    torch.testing.assert_close(seen["encoder"][:, 19:], model.spectrogram.squared_change(raw).contiguous())
    # The training set itself has mean square 1, less what is cut off.
    assert abs(seen["encoder"][:, 19:].mean()) < 0.1
    assert sum(p.numel() for p in model.parameters()) <= 1_500_000


def test_ever_without_a_norm_fits_it_too(tmp_path) -> None:
    model = em.create_model("ever_tiny", squared_change=True, spectrogram_norm="scalar", modalities=("eeg",)).eval()
    eeg = 10 * torch.randn(8, 19, 500)
    model.fit_statistics({"eeg": part} for part in eeg.split(4))
    assert (model.spectrogram.squared_change.std != 1).all()
    again = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    torch.testing.assert_close(again(eeg=eeg).logits, model(eeg=eeg).logits)


def test_refused() -> None:
    with pytest.raises(ConfigError, match="num_bins: expected at least 1"):
        SquaredChange(2, 0)
    with pytest.raises(ShapeError, match="frequency=4"):
        SquaredChange(2, 4)(torch.zeros(1, 2, 5, 3))
    with pytest.raises(ShapeError, match="at least one batch"):
        SquaredChange(2, 4).fit([])
