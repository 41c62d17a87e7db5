"""Windows without labels: what is left out, published layouts, batches of mixed montages; EEGMAT's folds."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError, DataError
from evermodels.core.specs import EEGSpec, InputSpec
from evermodels.datasets import (
    DataSettings,
    EEGMATSettings,
    MixedMontages,
    MixingSampler,
    Muse,
    SSVEPExo,
    UnlabelledWindows,
    check_disjoint,
    join_montages,
)
from evermodels.datasets.splits import PARTS


def table(path, seconds=20.0, gap_at=None, saturate_at=None):
    """A file as the publisher of the headband's recordings writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(seconds * 256)
    times = 1.5e9 + np.arange(n) / 256
    data = 20 * np.random.default_rng(0).standard_normal((n, 5))
    if gap_at is not None:
        times[round(gap_at * 256) :] += 30.0
    if saturate_at is not None:
        data[round(saturate_at * 256), 2] = 999.5
    lines = ["timestamps,TP9,AF7,AF8,TP10,Right AUX,Marker"]
    lines += [",".join(f"{v:.3f}" for v in (t, *row)) + ",0" for t, row in zip(times, data, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def test_muse_as_published(tmp_path):
    table(tmp_path / "visual/P300/subject1/session1/data_a.csv", gap_at=7.0)
    table(tmp_path / "visual/P300/subject2/session1/data_b.csv", saturate_at=6.0)
    table(tmp_path / "auditory/SSAEP/subject1/session2/data_c.csv")
    muse = Muse(tmp_path)
    assert {file.person for file in muse.files} == {
        "visual-P300/subject1",
        "visual-P300/subject2",
        "auditory-SSAEP/subject1",
    }
    by_person = {file.person: muse.windows(file) for file in muse.files}
    whole, gap, full = (
        by_person[p] for p in ("auditory-SSAEP/subject1", "visual-P300/subject1", "visual-P300/subject2")
    )
    assert whole.windows.shape == (4, 4, 1000) and whole.left_out == {"gap": 0, "saturated": 0}
    assert gap.left_out == {"gap": 1, "saturated": 0} and len(gap.windows) == 3  # 7 s and 13 s
    assert full.left_out == {"gap": 0, "saturated": 1} and len(full.windows) == 3
    together = muse.unlabelled()
    assert len(together) == 10 and together.left_out == {"gap": 1, "saturated": 1}
    assert together[0]["ch_names"] == ("TP9", "AF7", "AF8", "TP10") and abs(float(together.windows.std()) - 12) < 3
    assert len(Muse(tmp_path, task=["SSAEP"]).files) == 1
    with pytest.raises(DataError, match=r"'P30' is not there.*P300"):
        Muse(tmp_path, task=["P30"])
    (tmp_path / "visual/P300/subject1/session1/data_a.csv").write_text("timestamps,TP9\n1,2\n")
    with pytest.raises(DataError, match=r"data_a\.csv cannot be read.*timestamps, TP9, AF7"):
        Muse(tmp_path).unlabelled()


def test_real_recordings(real_data):
    muse = Muse(real_data / "muse", task=["SSAEP"])
    made = muse.unlabelled()
    assert len(muse.files) == 6 and made.windows.shape[1:] == (4, 1000) and torch.isfinite(made.windows).all()
    paused = [file for file in Muse(real_data / "muse").files if file.longest_gap > 0.1]
    assert [file.subject for file in paused] == ["subject1308", "subject1311"]
    assert muse.windows(paused[1]).left_out == {"gap": 20, "saturated": 0}
    exo = SSVEPExo(real_data / "exo")
    assert len(exo.files) == 24 and len(set(exo.files.values())) == 12
    saturated = exo.windows(real_data / "exo" / "subject11_2.edf")
    assert saturated.left_out["saturated"] > 0 and np.abs(saturated.windows).max() < 1000
    clean = exo.windows(real_data / "exo" / "subject01_1.edf")
    assert clean.left_out == {"gap": 0, "saturated": 0} and clean.windows.shape == (43, 8, 1000)


def test_exo_as_published(tmp_path):
    mne = pytest.importorskip("mne")
    rng = np.random.default_rng(0)
    data = np.vstack([0.008 * rng.standard_normal((8, 2560)), np.zeros((1, 2560))])
    data[3, 100] = 0.5  # where its amplifier ends
    info = mne.create_info([*SSVEPExo.ch_names, "stim"], 256.0, [*["eeg"] * 8, "stim"])
    path = tmp_path / "subject01" / "record-[2012.07.06-19.02.16]_raw.fif"
    path.parent.mkdir()
    mne.io.RawArray(data, info, verbose="error").save(path, verbose="error")
    made = SSVEPExo(tmp_path, l_freq=None, h_freq=None).unlabelled()
    assert made.left_out == {"gap": 0, "saturated": 1} and len(made) == 1 and made.people == ("subject01",)
    assert 5 < float(made.windows.std()) < 9  # µV
    with pytest.raises(DataError, match=r"holds neither subject01_1\.edf"):
        SSVEPExo(path.parent)


def sets():
    muse = UnlabelledWindows(torch.ones(40, 4, 10), ("TP9", "AF7", "AF8", "TP10"), ["a"] * 40)
    one = UnlabelledWindows(2 * torch.ones(5, 1, 10), ("Cz",), ["b"] * 5)
    return {"muse": muse, "one": one}


def test_windows_of_a_person_come_together():
    persons = {"muse": ["a"] * 13 + ["b"] * 2 + ["a"] * 5, "one": ["c"] * 5}
    sampler = MixingSampler(
        {"muse": 20, "one": 5}, 8, steps=12, shares={"muse": 3, "one": 1}, together=4, persons=persons
    )
    batches, seen = list(sampler), collections.Counter()
    whose = [*persons["muse"], *persons["one"]]
    for batch in batches:
        for run in (batch[:4], batch[4:]):
            assert len({whose[i] for i in run}) == 1  # two of "b" fill four places
            seen.update(run)
    assert set(seen) == set(range(25)) and list(sampler) == batches
    assert max(seen[i] for i in (0, 12, 15)) <= 5  # nobody's windows more often than the set is gone through
    sampler.set_epoch(1)
    assert list(sampler) != batches


def test_batches_mix_montages_by_shares():
    mixed = MixedMontages(sets())
    sampler = MixingSampler(mixed.sizes, 8, steps=10, shares={"muse": 3, "one": 1})
    batches = list(sampler)
    assert len(batches) == len(sampler) == 10 and all(len(batch) == 8 for batch in batches)
    assert [sum(i >= 40 for i in batch) for batch in batches] == [2] * 10
    seen = collections.Counter(i for batch in batches for i in batch)
    assert set(seen) == set(range(45))  # each set is gone through before a window comes again
    assert set(seen[i] for i in range(40)) <= {1, 2} and all(seen[i] == 4 for i in range(40, 45))
    assert list(sampler) == batches
    sampler.set_epoch(1)
    assert list(sampler) != batches
    batch = join_montages([mixed[i] for i in batches[0]])
    assert batch["eeg"].shape == (8, 4, 10)
    for eeg, names, person in zip(batch["eeg"], batch["ch_names"], batch["person"], strict=True):
        assert len(names) == (4 if person == "a" else 1)
        assert (eeg[: len(names)] == (1 if person == "a" else 2)).all() and not eeg[len(names) :].any()
    with pytest.raises(ConfigError, match="shares: expected 0 or more for some of muse, one, got mus 1"):
        MixingSampler(mixed.sizes, 8, steps=1, shares={"mus": 1})
    with pytest.raises(ConfigError, match=r"divisor of batch_size \(8\), got 3"):
        MixingSampler(mixed.sizes, 8, steps=1, together=3)
    with pytest.raises(ConfigError, match="whose each window"):
        MixingSampler(mixed.sizes, 8, steps=1, together=2, persons={"muse": ["a"] * 40})
    with pytest.raises(DataError, match="one length"):
        MixedMontages({**sets(), "long": UnlabelledWindows(torch.ones(1, 1, 11), ("Cz",), ["c"])})
    with pytest.raises(DataError, match="2 channels"):
        UnlabelledWindows(torch.ones(1, 1, 11), ("Cz", "Pz"), ["c"])


def test_folds_of_eegmat():
    folds = [EEGMATSettings(fold=k).split() for k in range(6)]
    assert [p for fold in folds for p in fold.test] == [f"{i:02d}" for i in range(36)]
    for fold in folds:
        check_disjoint({part: {"person": fold.part(part)} for part in PARTS})
        assert (len(fold.train), len(fold.validation), len(fold.test)) == (26, 4, 6)
    fixed = EEGMATSettings(protocol=1, train_people=4).split()
    assert fixed.train == ("00", "01", "02", "03") and fixed.validation[0] == "28" and fixed.test[0] == "32"
    for wrong in ({"fold": 6}, {"protocol": 1, "fold": 1}, {"train_people": 0}, {"baseline_seconds": -1.0}):
        with pytest.raises(ConfigError, match=list(wrong)[-1]):
            EEGMATSettings(**wrong)


def test_other_people_of_eegmat_are_drawn():
    drawn = EEGMATSettings(protocol=1, draw=3)
    split = drawn.split()
    check_disjoint({part: {"person": split.part(part)} for part in PARTS})
    assert (len(split.train), len(split.validation), len(split.test)) == (28, 4, 4)
    assert split.test == ("05", "07", "14", "19") != EEGMATSettings(protocol=1, draw=4).split().test
    assert drawn.to_dict()["draw"] == 3 and DataSettings.from_dict(drawn.to_dict()) == drawn
    assert "draw" not in EEGMATSettings(protocol=1).to_dict()  # digests of recipes without it stay
    for wrong in ({"protocol": 1, "draw": 40}, {"protocol": 1, "draw": -1}, {"protocol": 2, "draw": 0}):
        with pytest.raises(ConfigError, match="draw"):
            EEGMATSettings(**wrong)


def test_parts_of_eegmat(real_data):
    settings = DataSettings.from_dict({"dataset": "eegmat", "protocol": 1, "train_people": 1})
    names = ("Fz", "Cz", "A2-A1")
    spec = InputSpec(5.0, eeg=EEGSpec(names, 200.0))
    parts = settings.parts(spec, data_root=real_data)
    assert parts.classes == ("rest", "arithmetic") and parts.people("train") == {"person": ["00"]}
    assert parts.class_counts() == [36, 12]  # 182 s and 62 s
    item = parts.train[0]
    assert item["eeg"].shape == (3, 1000) and item["label"] == 0 and item["person"] == "00"
    assert parts.people("test") == {"person": ["32", "33", "34", "35"]}
    with pytest.raises(ConfigError, match="EEGMAT gives EEG in µV as it is"):
        settings.parts(InputSpec(5.0, eeg=EEGSpec(names, 200.0, scale="zscore")), data_root=real_data)
