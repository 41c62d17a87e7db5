"""What another codec, other levels and another box do to a training clip."""

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.datasets.clips import face_clip
from evermodels.datasets.degrade import box_walk, recorded


def _smooth(seed: int = 0) -> np.ndarray:
    waves = np.sin(np.linspace(0, 9, 64)[:, None] + np.linspace(0, 7, 64)[None] + np.arange(4)[:, None, None])
    return (128 + 60 * waves[..., None] * np.array([1.0, 0.8, 0.6])).astype(np.uint8)


def test_a_clip_stays_the_same_face():
    clip = _smooth()
    differences = []
    for seed in range(60):
        changed = recorded(clip, np.random.default_rng(seed))
        assert changed.shape == clip.shape and changed.dtype == np.uint8
        assert np.array_equal(changed, recorded(clip, np.random.default_rng(seed)))
        differences.append(np.abs(changed.astype(float) - clip).mean())
    assert 1 < np.median(differences) < 6
    assert max(differences) < 25, "a range of levels mistaken, the strongest"
    assert len(np.unique(np.round(differences, 3))) > 50


def test_the_draws_do_not_depend_on_the_clip_or_the_choice():
    """A matched pair's neutral and smiling clip get the same, and the generator goes on from the same place."""
    ends = set()
    for clip, probability in ((_smooth(), 1.0), (_smooth(1)[:2], 0.0), (np.zeros((1, 3, 5, 3), np.uint8), 0.5)):
        rng = np.random.default_rng(5)
        recorded(clip, rng, probability)
        ends.add(rng.random())
    assert len(ends) == 1
    assert recorded(clip, np.random.default_rng(5), 0.0) is clip


def test_how_many_are_changed():
    clip = _smooth()
    changed = [not np.array_equal(recorded(clip, np.random.default_rng(seed), 0.3), clip) for seed in range(200)]
    assert 0.2 < np.mean(changed) < 0.4


def test_a_weaker_codec_changes_less():
    clip = _smooth()
    weak, whole = (
        [np.abs(recorded(clip, np.random.default_rng(seed), 1.0, s).astype(float) - clip).mean() for seed in range(60)]
        for s in (0.3, 1.0)
    )
    assert np.mean(weak) < 0.5 * np.mean(whole) and max(weak) < 4, "no range of levels mistaken"
    with pytest.raises(ConfigError, match="strength, colours: expected numbers"):
        recorded(clip, np.random.default_rng(0), 1.0, 2.0)


def test_colours_may_move_further_apart_than_the_rest():
    grey = np.full((1, 16, 16, 3), 128, np.uint8)

    def apart(**how):
        made = [recorded(grey, np.random.default_rng(seed), **how)[0, 8, 8].astype(int) for seed in range(60)]
        return float(np.mean([np.ptp(colour) for colour in made]))

    near, far = apart(strength=0.3), apart(strength=0.3, colours=0.9)
    assert near == apart(strength=0.3, colours=0.3) and far > 2 * near > 0
    assert far == pytest.approx(0.9 * 3.0, abs=0.6)  # the span of three draws is half of their range


def test_a_box_lies_off_for_the_whole_clip():
    boxes = np.stack([box_walk(16, np.random.default_rng(seed), 0.03) for seed in range(200)])
    assert boxes.shape == (200, 16, 3)
    np.testing.assert_allclose(boxes.mean(axis=1).std(axis=0), 0.03, rtol=0.2)
    np.testing.assert_allclose(boxes.std(axis=1).mean(), 0.006, rtol=0.2)


def test_the_box_moves_and_scales_the_picture():
    ramp = np.tile(np.arange(80, dtype=np.uint8)[None, :, None] * 2, (80, 1, 3))
    still = {"view": 0.5, "crossfade": 0, "motion": 0, "light": 0}
    box = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, np.log(1.5)]])
    plain, right, down, large = face_clip(
        ramp, ramp, "neutral", 4, (40, 40), np.random.default_rng(0), **still, box=box
    )
    assert np.array_equal(plain, ramp[20:60, 20:60]) and np.array_equal(down, plain)
    assert np.array_equal(right, ramp[20:60, 24:64])
    assert int(large[20, -1, 0]) - int(large[20, 0, 0]) == pytest.approx(2 * 39 * 1.5, abs=2)


def test_bad_input():
    for clip in (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3), np.uint8)):
        with pytest.raises(ShapeError, match="clip: expected"):
            recorded(clip, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="probability"):
        recorded(_smooth(), np.random.default_rng(0), 1.5)
