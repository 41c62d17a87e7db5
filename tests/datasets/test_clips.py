"""Clips from two photographs: what they show, and what they must not give away."""

import numpy as np
import pytest

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.datasets import crossfade_weights, face_clip

DARK = np.full((86, 86, 3), 60, np.uint8)
BRIGHT = np.full((86, 86, 3), 200, np.uint8)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_generator_gives_the_same_clip():
    photo = _rng(1).integers(0, 255, (86, 86, 3), np.uint8)
    a, b, c = (face_clip(photo, photo, "neutral", 16, (64, 48), _rng(seed)) for seed in (0, 0, 1))
    assert a.shape == (16, 64, 48, 3)
    assert a.dtype == np.uint8
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_motion_light_and_timing_do_not_depend_on_the_expression():
    """With the two photographs alike, the classes' clips are the same: nothing but the picture tells them apart."""
    photo = _rng(1).integers(0, 255, (86, 86, 3), np.uint8)
    for seed in range(10):
        a, b = (face_clip(photo, photo, name, 16, (32, 32), _rng(seed), flip=True) for name in ("neutral", "smiling"))
        assert np.array_equal(a, b)


def test_without_motion_and_light_a_clip_is_the_photograph():
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None], (80, 80, 3)).copy()
    clip = face_clip(ramp, BRIGHT[:80, :80], "neutral", 3, (40, 40), _rng(), view=0.5, crossfade=0, motion=0, light=0)
    assert (clip == ramp[20:60, 20:60]).all()


def test_the_flip_mirrors():
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None], (80, 80, 3)).copy()
    kinds = set()
    for seed in range(20):
        still = {"view": 0.5, "crossfade": 0, "motion": 0, "light": 0}
        clip = face_clip(ramp, ramp, "neutral", 1, (40, 40), _rng(seed), flip=True, **still)[0]
        mirrored = np.array_equal(clip, ramp[20:60, 20:60][:, ::-1])
        assert mirrored or np.array_equal(clip, ramp[20:60, 20:60])
        kinds.add(mirrored)
    assert kinds == {True, False}


def test_half_of_the_clips_begin_with_the_other_expression():
    begins = {name: 0 for name in ("neutral", "smiling")}
    for name, own in (("neutral", 60), ("smiling", 200)):
        for seed in range(400):
            clip = face_clip(DARK, BRIGHT, name, 16, (4, 4), _rng(seed), motion=0, light=0)
            level = clip.mean((1, 2, 3))
            assert abs(level[-1] - own) < 1
            # own expression for at least half of the clip
            assert (np.abs(level - own) < 1).sum() >= 8
            begins[name] += abs(level[0] - own) > 1
    assert begins["neutral"] == begins["smiling"]
    assert 160 < begins["neutral"] < 240


def test_crossfade_weights_rise_once():
    for seed in range(50):
        weights = crossfade_weights(32, _rng(seed), probability=1.0)
        assert (np.diff(weights) >= 0).all()
        assert weights[0] < 1.0
        assert (weights[16:] == 1.0).all()
    assert (crossfade_weights(5, _rng(), probability=0.0) == 1).all()


def test_frames_move_smoothly():
    """Neighbouring frames are more alike than distant ones."""
    photo = np.kron(_rng(3).integers(0, 255, (11, 11, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    near, far = [], []
    for seed in range(30):
        clip = face_clip(photo, photo, "neutral", 16, (64, 64), _rng(seed)).astype(float)
        near.append(np.abs(clip[1:] - clip[:-1]).mean())
        far.append(np.abs(clip[12:] - clip[:4]).mean())
    assert 0.5 < np.mean(near) < 0.6 * np.mean(far)


@pytest.mark.parametrize("num_frames", [1, 2, 7, 40])
def test_any_number_of_frames(num_frames):
    assert face_clip(DARK, BRIGHT, "smiling", num_frames, (8, 8), _rng()).shape == (num_frames, 8, 8, 3)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"neutral": DARK[:, :, 0]}, ShapeError, "neutral: expected an RGB photograph"),
        ({"smiling": BRIGHT.astype(float)}, ShapeError, "smiling: expected an RGB photograph.*float64"),
        ({"smiling": BRIGHT[:50]}, ShapeError, "smiling: expected the shape of neutral"),
        ({"expression": "happy"}, ConfigError, "expression: expected one of neutral, smiling, got 'happy'"),
        ({"num_frames": 0}, ConfigError, "num_frames, size"),
        ({"size": (0, 8)}, ConfigError, "num_frames, size"),
        ({"view": 0.0}, ConfigError, "view"),
    ],
)
def test_bad_input(values, error, message):
    arguments = {"neutral": DARK, "smiling": BRIGHT, "expression": "neutral", "num_frames": 4, "size": (8, 8)}
    with pytest.raises(error, match=message):
        face_clip(**{**arguments, **values}, rng=_rng())
