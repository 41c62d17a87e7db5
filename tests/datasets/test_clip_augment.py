"""Changes of training clips: what each keeps and what it changes."""

import numpy as np
import pytest

from evermodels.core.errors import ConfigError
from evermodels.datasets.clip_augment import ComposeClips, Cutout, Greyscale

CLIP = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
ALL = [Greyscale(1.0), Cutout(1.0), ComposeClips([Greyscale(0.5), Cutout(0.5)])]


@pytest.mark.parametrize("change", ALL, ids=lambda change: type(change).__name__)
def test_same_generator_same_clip_and_the_input_stays(change):
    before = CLIP.copy()
    results = [change(CLIP, np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(*results)
    assert results[0].shape == CLIP.shape
    assert results[0].dtype == np.uint8
    assert np.array_equal(CLIP, before)
    assert any(not np.array_equal(change(CLIP, np.random.default_rng(seed)), CLIP) for seed in range(10))


def test_grey_is_the_luma():
    grey = Greyscale(1.0)(CLIP, np.random.default_rng(0))
    r, g, b = (CLIP[..., i].astype(float) for i in range(3))
    assert np.abs(grey[..., 0] - (0.299 * r + 0.587 * g + 0.114 * b)).max() <= 0.5
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_cutout_is_one_rectangle_in_all_frames():
    for seed in range(20):
        out = Cutout(1.0, 0.5)(CLIP, np.random.default_rng(seed))
        changed = (out != CLIP).any(-1)
        rows, columns = (np.flatnonzero(changed.any((0, axis))) for axis in (2, 1))
        box = out[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == np.rint(CLIP.mean((0, 1, 2)))).all()
        assert box.shape[1] <= 10
        assert box.shape[2] <= 15
        assert changed.sum() <= box[..., 0].size


def test_never_at_probability_0():
    for change in (Greyscale(0.0), Cutout(0.0)):
        assert all(np.array_equal(change(CLIP, np.random.default_rng(seed)), CLIP) for seed in range(20))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Greyscale(1.5), r"Greyscale.probability: expected a number in 0..1, got 1.5"),
        (lambda: Cutout(-0.1), r"Cutout.probability"),
        (lambda: Cutout(0.5, 2.0), r"Cutout.size: expected a number in 0..1, got 2.0"),
    ],
)
def test_impossible_values(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
