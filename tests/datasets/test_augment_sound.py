"""Changes of speech in training: what each keeps and what it changes, whose they are, and that they are drawn anew."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from evermodels.core.errors import ConfigError
from evermodels.core.specs import AudioSpec, InputSpec
from evermodels.datasets import EmoDB, UtteranceWindows
from evermodels.datasets.augment_sound import SoundAugmentation, SoundChange
from evermodels.datasets.emodb_parts import EmoDBSettings
from evermodels.datasets.quadrant_parts import Augmentation
from evermodels.training import load_recipe

SFREQ = 16000
NOTHING = SoundChange(0.0, 1.0, 0.0, 0.0, 0.0, 1.0, (0.0, 0.0), (0.0, 0.0), 0)
SPEC = AudioSpec(n_mels=40, f_min=100.0, f_max=4000.0)
LEVELS = {"W": 0.1, "T": 0.2, "F": 0.4, "N": 0.3}  # amplitude by emotion


def tone(hertz, seconds=1.0, level=0.3):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SFREQ)) / SFREQ)).astype(np.float32)


def loudest(sound):
    return np.abs(np.fft.rfft(sound)).argmax() * SFREQ / len(sound)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    (root / "emodb").mkdir()
    for i, speaker in enumerate(("03", "08", "09", "10", "11")):
        for letter, level in LEVELS.items():
            soundfile.write(root / "emodb" / f"{speaker}a01{letter}.wav", tone(200 + 50 * i, 0.8, level), SFREQ)
    return root


def test_nothing_asked_for_changes_nothing(root):
    drawn = SoundAugmentation().draw(np.random.default_rng(0))
    assert drawn._replace(seed=0, time=(0.0, 0.0), bands=(0.0, 0.0)) == NOTHING
    windows = UtteranceWindows(EmoDB(root / "emodb"), SPEC, 1.0)
    for plain, changed in zip(windows("03a01W"), windows.changed("03a01W", drawn), strict=True):
        assert torch.equal(plain, changed)


def test_speed_changes_pitch_and_length():
    for speed in (0.8, 1.25):
        fast = NOTHING._replace(speed=speed).voices(tone(400), None)
        assert len(fast) == pytest.approx(SFREQ / speed, abs=1) and loudest(fast) == pytest.approx(400 * speed, abs=1)
    drawn = [SoundAugmentation(speed=0.25).draw(np.random.default_rng(i)).speed for i in range(300)]
    assert 0.8 <= min(drawn) < 0.83 and 1.2 < max(drawn) <= 1.25 and np.median(drawn) == pytest.approx(1, abs=0.03)


def test_tilt_is_a_slope_about_a_kilohertz():
    change = NOTHING._replace(tilt=6.0)
    for hertz, factor in ((1000, 1.0), (2000, 2.0), (500, 0.5)):
        out = change.room(tone(hertz, level=0.2), SFREQ)
        assert len(out) == SFREQ
        assert np.abs(out[2000:-2000]).max() == pytest.approx(0.2 * 10 ** (6 * np.log2(factor) / 20), rel=0.02)


def test_noise_and_gain_have_their_levels_and_nothing_is_cut_off():
    sound = tone(300)
    noise = NOTHING._replace(noise=0.1, seed=1).room(sound, SFREQ) - sound
    assert noise.std() == pytest.approx(0.1 * sound.std(), rel=0.03)
    assert np.allclose(NOTHING._replace(gain=-6.0).room(sound, SFREQ), sound * 10**-0.3)
    loud = NOTHING._replace(gain=40.0).room(sound, SFREQ)
    assert np.abs(loud).max() == pytest.approx(1.0) and np.allclose(loud, sound / np.abs(sound).max(), atol=1e-6)
    drawn = [SoundAugmentation(noise=0.5, gain=6.0).draw(np.random.default_rng(i)) for i in range(300)]
    assert 0.005 <= min(d.noise for d in drawn) < 0.006 and 0.45 < max(d.noise for d in drawn) <= 0.5
    assert -6 <= min(d.gain for d in drawn) < -5.8 and 5.8 < max(d.gain for d in drawn) <= 6


def test_a_second_voice_has_its_share_of_the_power():
    sound, other = tone(300), tone(700, 0.5)
    mixed = NOTHING._replace(share=0.36).voices(sound, other)
    assert np.allclose(mixed[: len(other)], 0.8 * sound[: len(other)] + 0.6 * other, atol=1e-6)
    assert np.allclose(mixed[len(other) :], 0.8 * sound[len(other) :], atol=1e-6) and len(mixed) == len(sound)
    shares = np.array([SoundAugmentation(blend=0.4).draw(np.random.default_rng(i)).share for i in range(1000)])
    assert (shares > 0).mean() == pytest.approx(0.4, abs=0.05) and shares.max() <= 0.5


def test_warp_moves_a_tone_as_another_tone(root):
    """What a log-mel of 1 kHz becomes by a factor of 1.2 peaks where 1.2 kHz does; 1 band is the grid's width."""
    reader = UtteranceWindows(EmoDB(root / "emodb"), SPEC, 1.0)._reader
    low, high = (reader._tensor(tone(hertz)) for hertz in (1000, 1200))
    valid = torch.ones(len(low), dtype=torch.bool)
    up = NOTHING._replace(warp=1.2).picture(low, valid, SPEC)
    down = NOTHING._replace(warp=1 / 1.2).picture(high, valid, SPEC)
    assert low.mean(0).argmax() + 2 < high.mean(0).argmax()
    assert abs(int(up.mean(0).argmax() - high.mean(0).argmax())) <= 1
    assert abs(int(down.mean(0).argmax() - low.mean(0).argmax())) <= 1
    one = AudioSpec(n_mels=1)
    assert torch.equal(NOTHING._replace(warp=1.2).picture(low[:, :1], valid, one), low[:, :1])


def test_hidden_stretches_show_the_mean_of_what_is_valid():
    picture, mask = torch.randn(50, 40), torch.zeros(50, dtype=torch.bool)
    mask[5:45] = True
    mean = picture[5:45].mean(0)
    out = NOTHING._replace(time=(0.25, 0.5)).picture(picture, mask, SPEC)
    hidden = (out != picture).any(1).nonzero()[:, 0].tolist()
    assert hidden == list(range(20, 30)) and torch.equal(out[20:30], mean.expand(10, -1))
    out = NOTHING._replace(bands=(0.1, 0.999)).picture(picture, mask, SPEC)
    assert (out != picture).any(0).nonzero()[:, 0].tolist() == [36, 37, 38, 39]
    assert torch.equal(out[mask][:, 36:], mean[36:].expand(40, -1)) and torch.equal(out[~mask], picture[~mask])


def test_noise_makes_no_frame_valid(root):
    windows = UtteranceWindows(EmoDB(root / "emodb"), SPEC, 1.0)
    plain, noisy = (windows.changed("03a01W", NOTHING._replace(noise=n))[1] for n in (0.0, 0.5))
    assert torch.equal(plain, noisy) and not plain.all() and plain.any()
    slow = windows.changed("03a01W", NOTHING._replace(speed=0.9))[1]
    assert slow.sum() == pytest.approx(plain.sum() / 0.9, abs=2)


def items(root, seed=0, epoch=0, **changes):
    parts = EmoDBSettings(augment=SoundAugmentation(**changes), n_validation=1).parts(
        InputSpec(window_seconds=1.0, audio=SPEC), seed=seed, data_root=root
    )
    parts.train.set_epoch(epoch)
    return parts


def test_training_items_depend_on_seed_epoch_and_place(root):
    strong = {"speed": 0.2, "noise": 0.1, "hide_time": 0.3}
    first, again, later, other = (
        items(root, **strong),
        items(root, **strong),
        items(root, epoch=1, **strong),
        items(root, seed=1, **strong),
    )
    plain = items(root)
    assert all(torch.equal(first.train[i]["audio"], again.train[i]["audio"]) for i in range(12))
    for changed in (later, other, plain):
        assert not any(torch.equal(first.train[i]["audio"], changed.train[i]["audio"]) for i in range(12))
    assert first.train[-1]["label"] == first.train[11]["label"]
    assert torch.equal(first.train[-1]["audio"], first.train[11]["audio"])
    for part in ("validation", "test"):
        assert all(torch.equal(first.part(part)[i]["audio"], plain.part(part)[i]["audio"]) for i in range(4))


def test_what_is_laid_over_is_of_another_training_speaker_and_the_same_emotion(root, monkeypatch):
    parts = items(root, blend=1.0)
    seen = []
    monkeypatch.setattr(
        UtteranceWindows, "changed", lambda self, name, change, other, keep: seen.append((name, other)) or self(name)
    )
    for epoch in range(4):
        parts.train.set_epoch(epoch)
        assert len([parts.train[i] for i in range(12)]) == 12
    assert all(name[:2] != other[:2] and name[5] == other[5] for name, other in seen)
    there = set(parts.people("train")["speaker"])
    assert {other[:2] for _, other in seen} == there and len(there) == 3


@pytest.mark.parametrize("changes", [{"speed": 0.2, "noise": 0.1}, {"blend": 1.0, "tilt": 3.0}])
def test_a_few_versions_are_made_once(root, changes, monkeypatch):
    made = []
    make = UtteranceWindows._make_changed
    monkeypatch.setattr(
        UtteranceWindows, "_make_changed", lambda self, *change: made.append(change) or make(self, *change)
    )
    parts, plain, other = items(root, versions=2, **changes), items(root), items(root, seed=5, versions=2, **changes)
    parts.train.read.windows._changed.clear()  # windows are shared by all parts of a process
    seen = [set() for _ in range(12)]
    for epoch in range(30):
        parts.train.set_epoch(epoch)
        other.train.set_epoch(epoch)
        for i in range(12):
            seen[i] |= {float(part.train[i]["audio"].double().sum()) for part in (parts, other)}
    assert all(len(sums) == 3 for sums in seen)  # the same two for both seeds, and the utterance
    assert all(float(plain.train[i]["audio"].double().sum()) in seen[i] for i in range(12))
    assert len(made) == 24 and len(set(made)) == 24


def test_refused(root):
    for key, value in (
        ("blend", 1.5),
        ("speed", -0.1),
        ("warp", 0.9),
        ("hide_time", 1.0),
        ("tilt", 13.0),
        ("noise", 11.0),
        ("versions", 3),
    ):
        with pytest.raises(ConfigError, match=rf"SoundAugmentation\.{key}: expected"):
            SoundAugmentation(**{key: value})
    with pytest.raises(ConfigError, match=r"augment.*unknown key 'sped'\. Did you mean 'speed'"):
        load_recipe("vggish_tiny_emodb", ["data.augment.sped=0.1"])
    waves = InputSpec(window_seconds=1.0, audio=AudioSpec(form="waveform"))
    with pytest.raises(ConfigError, match=r"warp and hide_bands change a log-mel, and the model takes a waveform"):
        EmoDBSettings(augment=SoundAugmentation(warp=0.1, hide_bands=0.1)).parts(waves, data_root=root)
    parts = EmoDBSettings(augment=SoundAugmentation(speed=0.1)).parts(waves, data_root=root)
    assert parts.train[0]["audio"].shape == (SFREQ,)


def test_recipes_that_ask_for_none_keep_their_digest():
    plain = EmoDBSettings()
    assert "augment" not in plain.to_dict() and "sound" not in Augmentation().to_dict()
    some = EmoDBSettings(augment=SoundAugmentation(speed=0.1))
    assert some.to_dict()["augment"]["speed"] == 0.1 and "versions" not in some.to_dict()["augment"]
    assert EmoDBSettings.from_dict(some.to_dict()) == some
    pairs = Augmentation(sound=SoundAugmentation(warp=0.1))
    assert Augmentation.from_dict(pairs.to_dict()) == pairs
