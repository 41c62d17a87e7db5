"""The report's table."""

import pytest

from evermodels.checkpoints.report import LoadReport, merge_names
from evermodels.core.errors import CheckpointError


@pytest.mark.parametrize(
    ("names", "merged"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a.0.b"], ["a.0.b"]),
        (["a.0", "a.1", "a.2", "a.3"], ["a.{0…3}"]),
        (["a.0", "a.2", "a.3", "a.7"], ["a.{0, 2…3, 7}"]),
        (["a.10.x", "a.9.x", "b"], ["a.{9…10}.x", "b"]),
        ([f"a.{i}.b.{j}.c" for i in range(2) for j in range(3)], ["a.{0…1}.b.{0…2}.c"]),
        (["a.0.x", "a.1.x", "a.0.y"], ["a.{0…1}.x", "a.0.y"]),
        (["a.0", "a.0"], ["a.0"]),
        (["1.1", "1.2", "x1.2"], ["1.{1…2}", "x1.2"]),
    ],
)
def test_merge_names(names, merged):
    assert merge_names(names) == merged


def test_table_groups_by_reason():
    report = LoadReport("x", ("a.0", "a.1"), {"h": "new"}, {"old": "gone"}, verified="config.json")
    assert str(report).splitlines() == [
        "x: 2 tensors loaded, 1 re-initialised, 1 dropped (sha256 checked against config.json)",
        "  loaded          2  a.{0…1}",
        "  re-initialised  1  h  (new)",
        "  dropped         1  old  (gone)",
    ]


def test_shown_as_one_line():
    report = LoadReport("x", tuple(f"layers.{i}.weight" for i in range(1000)), {"h": "new"}, {"old": "gone"})
    assert repr(report) == (
        "<LoadReport of x: 1000 tensors loaded, 1 re-initialised, 1 dropped (sha256 not declared); print() shows the "
        "table>"
    )
    assert len(str(report).splitlines()) == 4


def test_channels_of_another_headset():
    class Adapter:
        src_ch_names, dst_ch_names, interpolated = ("Cz", "Fz", "Oz"), ("Fz", "Pz", "Oz"), {"Pz": "from Cz +0.9"}

    report = LoadReport("x", ("a", "b")).with_montage(Adapter())
    assert str(report).splitlines() == [
        "x: 2 tensors loaded, 1 channels interpolated, 1 channels reordered (sha256 not declared)",
        "  loaded                 2  a, b",
        "  channels interpolated  1  Pz  (from Cz +0.9)",
        "  channels reordered     1  Fz  (by name)",
    ]


@pytest.mark.parametrize(
    ("faults", "hint"),
    [
        (
            {"missing": {"a.x": "", "b": ""}, "unexpected": {"net.a.x": "", "net.b": ""}},
            "file's names begin with 'net.'",
        ),
        ({"missing": {"net.a.x": "", "net.b": ""}, "unexpected": {"a.x": ""}}, "model's names begin with 'net.'"),
        ({"missing": {"a": ""}, "unexpected": {"b": ""}}, "Use the config.json that was written together"),
        ({"not finite": {"a": ""}}, "use an earlier checkpoint"),
    ],
)
def test_hints(faults, hint):
    with pytest.raises(CheckpointError, match=hint):
        LoadReport("x", faults=faults).raise_faults()


def test_no_fault_no_error():
    LoadReport("x", ("a",)).raise_faults()


def test_long_lists_are_cut():
    names = tuple(f"name{chr(97 + i % 26)}{i}" for i in range(500))
    assert max(map(len, str(LoadReport("x", names)).splitlines())) < 450
