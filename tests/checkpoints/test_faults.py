"""Damaged, changed and hostile files: nothing loads wrong, and each message says what to do.

The faults are in ``local_cases.py``, ``content_cases.py`` and ``save_cases.py``, which the fault table counts too.
Those between the Hub and a model have their own test.
"""

import struct

import pytest
import torch
from safetensors.torch import load_file

import evermodels as em
from evermodels.checkpoints.read import not_finite, read_tensors
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError
from tests.checkpoints import (
    argument_cases,
    cache_cases,
    content_cases,
    local_cases,
    race_cases,
    rights_cases,
    save_cases,
    table_cases,
)
from tests.checkpoints.local_cases import list_in_table, parts, prepare, rewrite, use_table, world

CASES = [
    *local_cases.CASES,
    *cache_cases.CASES,
    *argument_cases.CASES,
    *race_cases.CASES,
    *content_cases.CASES,
    *save_cases.CASES,
    *table_cases.CASES,
    *rights_cases.CASES,
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_fault(case, prepared, tmp_path):
    with world(tmp_path, prepared) as made:
        assert case.run(made) > 0


def test_names_of_the_cases_differ():
    names = [(case.kind, case.name) for case in CASES]
    assert len(set(names)) == len(names)


def test_the_undamaged_load(prepared, tmp_path):
    with world(tmp_path, prepared) as made:
        for where in ("folder", "bare", "name"):
            made.loads(where)


def test_a_flipped_value_without_any_digest_is_what_remains(prepared, tmp_path):
    """The limit of what can be found, which the docs say: it is why every save declares digests."""
    with world(tmp_path, prepared) as made:
        path = made.folder("bare") / "model.safetensors"
        data = path.read_bytes()
        at = parts(data)["last tensor"].start
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        report = made.load("bare").load_report
        assert report.verified is None
        assert "sha256 not declared" in str(report)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 15392])
def test_a_header_whose_length_looks_like_something_else(tmp_path, length):
    """The first bytes of a file are the header's length, and those of a pickle or of a web page for some lengths."""
    path = tmp_path / "model.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'.ljust(length)
    path.write_bytes(struct.pack("<Q", length) + header + bytes(12))
    found, _ = read_tensors(path, load_file(path), source="x")
    assert torch.equal(found["w"], torch.zeros(3))


def _nine(tensors):
    tensors["scale"].fill_(9.0)


def _largest(tensors):
    tensors["stem.weight"].fill_(torch.finfo(torch.float32).max)


def test_rewritten_weights_load_without_the_digest(saved):
    rewrite(saved, _nine)
    loaded = em.from_pretrained(saved)
    assert loaded.scale.item() == 9.0
    assert loaded.load_report.verified is None


def test_large_finite_values_are_accepted(saved):
    rewrite(saved, _largest)
    em.from_pretrained(saved)


def test_the_message_shows_both_digests(saved):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError) as error:
        em.from_pretrained(saved)
    assert FileDigest.of_file(path).sha256 in str(error.value)
    assert FileDigest.of_bytes(data).sha256 in str(error.value)


def test_a_name_of_the_table(saved, model, tmp_path, monkeypatch):
    list_in_table(saved, tmp_path)
    use_table(monkeypatch, tmp_path)
    x = torch.randn(2, 6)
    for loaded in (
        em.from_pretrained("tiny_test.own"),
        em.create_model("tiny_test", pretrained=True),
        em.create_model("tiny_test.own", pretrained=True, sfreq=10.0, ch_names=("Fz", "Cz", "T7")),
    ):
        assert torch.equal(loaded(x), model(x))
        assert loaded.load_report.verified == "the weight table"
    assert em.list_models(pretrained=True) == ["tiny_test.own"]
    assert em.list_models("tiny*", pretrained=True, modality="eeg") == ["tiny_test.own"]
    assert em.list_models("tiny*", pretrained=True, modality="video") == []
    with pytest.raises(ConfigError, match=r"sfreq: tiny_test.own takes EEG at 10 Hz, got 20.0. Resample"):
        em.create_model("tiny_test", pretrained=True, sfreq=20.0)
    with pytest.raises(CheckpointError, match=r"Did you mean 'tiny_test.own'\? Pretrained weights exist for: tiny_te"):
        em.from_pretrained("tiny_test.onw")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (7, 13), (1000,), (0, 3)])
def test_not_finite_finds_each_place(shape, dtype):
    tensor = torch.randn(shape).to(dtype)
    assert not_finite(tensor) == ""
    assert not_finite(torch.full(shape, torch.finfo(dtype).max, dtype=dtype)) == ""
    for index in {0, tensor.numel() // 2, tensor.numel() - 1} if tensor.numel() else ():
        for value, text in (
            (float("nan"), "1 NaN, 0 inf"),
            (float("inf"), "0 NaN, 1 inf"),
            (-float("inf"), "0 NaN, 1"),
        ):
            bad = tensor.clone()
            bad.view(-1)[index] = value
            assert not_finite(bad).startswith(text)
