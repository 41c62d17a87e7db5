"""Channel names, regions, positions and presets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evermodels import montage
from evermodels.core.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("EEG T3", "T7"),
        ("t4", "T8"),
        ("EEG T5", "P7"),
        ("T6", "P8"),
        ("T7", "T7"),
        ("Fc5.", "FC5"),
        ("C5..", "C5"),
        ("Iz..", "Iz"),
        ("T10.", "T10"),
        ("FP1", "Fp1"),
        ("EEG Fp1-REF", "Fp1"),
        ("EEG FP2-LE", "Fp2"),
        (" eeg cz ", "Cz"),
        ("FCZ", "FCz"),
        ("POZ", "POz"),
        ("C3-M2", "C3"),
        ("A2-A1", "A2-A1"),
        ("EEG A2-A1", "A2-A1"),
        ("EEG A1", "A1"),
        ("CB1", "CB1"),
        ("AFF5H", "AFF5h"),
    ],
)
def test_canonical(spelling: str, name: str) -> None:
    assert montage.canonical(spelling) == name
    assert montage.canonical(name) == name


@pytest.mark.parametrize("name", ["ECG ECG", "Fp9z", "", "STATUS", "Fp1-F7", "11", "EEG"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="is not a name of the 10-05 system"):
        montage.canonical(name)


def test_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"'EEG CPX'.*Did you mean .*'CPz'"):
        montage.canonical("EEG CPX")
    with pytest.raises(UnknownNameError, match="expected a string, got 3"):
        montage.canonical(3)  # type: ignore[arg-type]


def test_doubled_channel() -> None:
    with pytest.raises(UnknownNameError, match="'EEG T3' and 'T7' are both the electrode T7"):
        montage.canonical_all(["EEG T3", "Cz", "T7"])
    with pytest.raises(UnknownNameError, match=r"preset: 'Cz' does not exist.*one of: deap.*are a list"):
        montage.regions("Cz")


def test_regions_by_hand() -> None:
    names = ["O1", "EEG T3", "A2-A1", "Fc5.", "FP1", "FT9", "CPz", "P3", "POz", "Iz", "AF7", "TP10", "CB1", "M1", "T5"]
    assert montage.regions(names) == {
        "frontal": [4, 10],
        "temporal": [1, 5, 11],
        "central": [3, 6],
        "parietal": [7, 14],
        "occipital": [0, 8, 9],
    }
    assert list(montage.regions(names)) == ["frontal", "temporal", "central", "parietal", "occipital"]
    assert montage.regions(["A1", "M2"]) == {}
    with pytest.raises(UnknownNameError, match="expected 'lobes', got 'gyri'"):
        montage.regions(names, scheme="gyri")


@pytest.mark.parametrize(
    ("name", "region"),
    [("AFF5h", "frontal"), ("FFT7h", "frontal"), ("FTT7h", "temporal"), ("FCC3h", "central"), ("CCP3h", "central"),
     ("TPP7h", "temporal"), ("PPO3h", "parietal"), ("POO3h", "occipital"), ("OI1h", "occipital")],
)  # fmt: skip
def test_regions_of_the_ten_five_names(name: str, region: str) -> None:
    assert montage.regions([name]) == {region: [0]}


def test_every_known_name_has_a_region_or_none() -> None:
    names = list(montage._table()["positions"])
    found = montage.regions(names)
    without = set(range(len(names))) - {i for row in found.values() for i in row}
    assert sum(len(row) for row in found.values()) + len(without) == len(names)
    assert {names[i] for i in without} == {"A1", "A2", "M1", "M2"}


@pytest.mark.parametrize(
    ("name", "count", "first", "last", "sizes"),
    [
        ("DEAP", 32, "Fp1", "O2", {"frontal": 9, "temporal": 2, "central": 11, "parietal": 5, "occipital": 5}),
        ("seed", 62, "Fp1", "CB2", {"frontal": 14, "temporal": 6, "central": 21, "parietal": 9, "occipital": 10}),
        ("eav", 30, "Fp1", "PO10", {"frontal": 7, "temporal": 2, "central": 11, "parietal": 5, "occipital": 5}),
        ("muse", 4, "TP9", "TP10", {"frontal": 2, "temporal": 2}),
        ("epoc", 14, "AF3", "AF4", {"frontal": 6, "temporal": 2, "central": 2, "parietal": 2, "occipital": 2}),
        ("eegmat", 19, "Fp1", "Pz", {"frontal": 7, "temporal": 2, "central": 3, "parietal": 5, "occipital": 2}),
        ("eegmmidb", 64, "FC5", "Iz", {"frontal": 17, "temporal": 8, "central": 21, "parietal": 9, "occipital": 9}),
    ],
)
def test_presets(name: str, count: int, first: str, last: str, sizes: dict[str, int]) -> None:
    names = montage.preset(name)
    assert (len(names), names[0], names[-1]) == (count, first, last)
    assert montage.canonical_all(names) == names
    assert {region: len(row) for region, row in montage.regions(names).items()} == sizes
    assert montage.positions(names).shape == (count, 3)


def test_unknown_preset() -> None:
    with pytest.raises(UnknownNameError, match=r"'deep' does not exist\. Did you mean 'deap'"):
        montage.preset("deep")


def test_eegmat_preset_is_the_order_of_the_files(real_data: Path) -> None:
    header = (real_data / "eegmat" / "Subject00_1.edf").read_bytes()[256 : 256 + 20 * 16].decode("ascii")
    labels = [header[i : i + 16].strip() for i in range(0, len(header), 16)]
    assert montage.canonical_all(labels) == (*montage.preset("eegmat"), "A2-A1")


def test_positions() -> None:
    names = montage.preset("seed")
    places = dict(zip(names, montage.positions(names), strict=True))
    np.testing.assert_allclose([np.linalg.norm(p) for p in places.values()], 1.0)
    for left, right in [("Fp1", "Fp2"), ("T7", "T8"), ("C3", "C4"), ("P7", "P8"), ("CB1", "CB2")]:
        np.testing.assert_allclose(places[left] * [-1, 1, 1], places[right], atol=0.05)
        assert places[left][0] < 0 < places[right][0]
    assert places["Cz"][2] > 0.99
    assert places["Fpz"][1] > 0.95 > -0.95 > places["Oz"][1]
    assert abs(places["T7"][1]) < 0.05
    np.testing.assert_allclose(places["CB1"], montage.positions(["I1"])[0])
    np.testing.assert_array_equal(montage.positions(["T3"]), montage.positions(["T7"]))


def test_positions_are_mnes() -> None:
    mne = pytest.importorskip("mne")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mne.channels.make_standard_montage("standard_1005").get_positions()["ch_pos"]
    ours = json.loads((Path(montage.__file__).parent / "montage_1005.json").read_text(encoding="utf-8"))["positions"]
    for name, place in ours.items():
        np.testing.assert_allclose(place, theirs[name] * 1000, atol=1e-3)


def test_no_position() -> None:
    with pytest.raises(UnknownNameError, match="'A2-A1' is a difference of two electrodes"):
        montage.positions(["Cz", "A2-A1"])


def test_head2d() -> None:
    x, y = montage.head2d(["Cz", "Fpz", "T8", "C4"]).T
    assert np.hypot(x[0], y[0]) < 0.1
    assert y[1] > 0.9
    assert x[2] > x[3] > 0.3
    # equidistant: half the angle is half the radius
    points = montage.positions(["C4"])[0]
    assert np.hypot(x[3], y[3]) == pytest.approx(np.arccos(points[2]) / (np.pi / 2))


def test_spherical_spline_golden(golden) -> None:
    reference = golden("spherical_spline_a")
    places = (reference["input"][f"positions_{side}"].numpy() for side in ("source", "target"))
    np.testing.assert_allclose(montage._spline_weights(*places), reference["output"]["matrix"], atol=1e-9)
    fitted = reference["output"]["head_positions"] - reference["output"]["fitted_origin"]
    names = montage.preset("eav")
    bad = [names.index(name) for name in ("FC2", "T7", "Pz", "PO10")]
    good = [i for i in range(30) if i not in bad]
    weights = montage._spline_weights(fitted[good].numpy(), fitted[bad].numpy())
    np.testing.assert_allclose(weights, reference["output"]["matrix_bad_from_good_fitted_origin"], atol=1e-9)
    signal = reference["input"]["signal"].numpy()
    np.testing.assert_allclose(
        weights @ signal[good], reference["output"]["interpolated_signal"][bad], rtol=1e-9, atol=1e-12
    )


def test_interpolation_by_name_golden(golden) -> None:
    want = montage.preset("eav")
    have = [name for name in want if name not in ("FC2", "T7", "Pz", "PO10")]
    matrix = montage.interpolation_matrix(have, want)
    theirs = golden("spherical_spline_a")["output"]["matrix"].numpy()
    for row, name in enumerate(want):
        if name in have:
            np.testing.assert_array_equal(matrix[row], np.eye(26)[have.index(name)])
        else:
            np.testing.assert_allclose(matrix[row], theirs[row], atol=1e-4)


def test_interpolation_is_mnes() -> None:
    mne = pytest.importorskip("mne")
    want = montage.preset("eegmat")
    have = [name for name in want if name in montage.preset("epoc")]
    places = {name: np.array(montage._table()["positions"][name]) / 1000 for name in want}
    raw = mne.io.RawArray(
        np.random.default_rng(0).standard_normal((19, 40)), mne.create_info(list(want), 100.0, "eeg"), verbose="ERROR"
    )
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"))
    ours = montage.interpolation_matrix(have, want) @ raw.get_data(picks=have)
    raw.info["bads"] = [name for name in want if name not in have]
    raw.interpolate_bads(origin=(0.0, 0.0, 0.0), method={"eeg": "spline"}, verbose="ERROR")
    np.testing.assert_allclose(ours, raw.get_data(), atol=1e-6)


def test_interpolation_by_slow_loops() -> None:
    from scipy.special import eval_legendre

    have, want = ["Fz", "C3", "C4", "Oz", "M1"], ["Pz", "CB1"]
    place = {n: np.array(montage._table()["positions"][{"CB1": "I1"}.get(n, n)]) for n in (*have, *want)}

    def g(a: str, b: str) -> float:
        cosine = place[a] @ place[b] / np.linalg.norm(place[a]) / np.linalg.norm(place[b])
        terms = [(2 * n + 1) / (n**4 * (n + 1) ** 4) * eval_legendre(n, cosine) for n in range(1, 51)]
        return sum(terms) / (4 * np.pi)

    values = np.array([3.0, -1.0, 2.0, 5.0, 0.5])
    system = np.ones((6, 6))
    system[5, 5] = 0
    for i, a in enumerate(have):
        for j, b in enumerate(have):
            system[i, j] = g(a, b) + 1e-5 * (i == j)
    *c, c0 = np.linalg.solve(system, [*values, 0])
    expected = [c0 + sum(ci * g(name, a) for ci, a in zip(c, have, strict=True)) for name in want]
    np.testing.assert_allclose(montage.interpolation_matrix(have, want) @ values, expected, rtol=1e-8)


@pytest.mark.parametrize("name", montage.MONTAGES)
def test_interpolation_between_presets(name: str) -> None:
    have, want = montage.preset(name), montage.preset("eegmat")
    matrix = montage.interpolation_matrix(have, want)
    assert matrix.shape == (len(have), 19)[::-1]
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-9)
    for row, channel in enumerate(want):
        if channel in have:
            assert matrix[row, have.index(channel)] == 1 == np.count_nonzero(matrix[row])
        else:
            assert np.count_nonzero(matrix[row]) == len(have)
    order = np.random.default_rng(0).permutation(len(have))
    shuffled = montage.interpolation_matrix([have[i] for i in order], want)
    np.testing.assert_allclose(shuffled, matrix[:, order], atol=1e-7)


def test_earlobes_are_copied_and_never_interpolated() -> None:
    matrix = montage.interpolation_matrix(["EEG A2-A1", "Cz", "A1", "Pz"], ["CPz", "A2-A1"])
    assert (matrix[0] != 0).tolist() == [False, True, False, True]
    assert matrix[1].tolist() == [1, 0, 0, 0]
    for missing in ("A1", "A2-A1"):
        with pytest.raises(ConfigError, match=f"{missing} lies off the scalp and cannot be interpolated"):
            montage.interpolation_matrix(["Cz", "Pz"], ["CPz", missing])
    with pytest.raises(ConfigError, match="at least one electrode on the scalp, got A1, A2"):
        montage.interpolation_matrix(["A1", "A2"], ["Cz"])
    with pytest.raises(UnknownNameError, match="is not a name of the 10-05 system"):
        montage.interpolation_matrix(["Cz", "ECG"], ["Cz"])
