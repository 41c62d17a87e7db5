"""The recordings that come with the package."""

from __future__ import annotations

import numpy as np
import pytest

from evermodels import samples

REST = samples.path("eegmat_subject33_rest.edf")


def test_samples_are_small_and_attributed():
    files = [samples.path(name) for name in samples.names()]
    assert len(files) == 7 and sum(f.stat().st_size for f in files) < 1_500_000
    readme = (REST.parent / "README.md").read_text("utf-8")
    for name in samples.names():
        assert f"`{name}`" in readme
    for said in ("ODC-By 1.0", "CC BY 4.0", "Zyma", "DeBruine", "10.6084/m9.figshare.5047666", "Changes:"):
        assert said in readme


def test_samples_are_the_published_recordings(real_data):
    mne = pytest.importorskip("mne")
    for number, state in ((1, "rest"), (2, "arithmetic")):
        cut = mne.io.read_raw_edf(samples.path(f"eegmat_subject33_{state}.edf"), verbose="ERROR")
        whole = mne.io.read_raw_edf(real_data / "eegmat" / f"Subject33_{number}.edf", verbose="ERROR")
        first = int((cut.info["meas_date"] - whole.info["meas_date"]).total_seconds() * 250)
        assert cut.ch_names == whole.ch_names and cut.info["sfreq"] == 250 and cut.n_times == 7500
        assert np.array_equal(cut.get_data(), whole.get_data(start=first, stop=first + 7500))


def test_faces_of_the_demo_are_test_people(real_data):
    people = sorted({p.name[:3] for p in (real_data / "faces").glob("*_neutral.jpg")})
    assert {name[6:9] for name in samples.names() if name.startswith("faces/")} <= set(people[-17:])
