"""Damaged, changed and hostile files: nothing loads wrong, and each message says what to do."""

import json
import pickle
import shutil
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import evermodels as em
from evermodels.checkpoints import load, table
from evermodels.checkpoints.config_file import parse_config, parse_json
from evermodels.checkpoints.read import not_finite
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ChecksumError, ConfigError


def rewrite(folder, change):
    """Change the weights on purpose: the digest is taken out of config.json, as its message says."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    changed = change(tensors)
    save_file(tensors if changed is None else changed, path)
    edit(folder, lambda content: content.pop("files"))


def edit(folder, change):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    path.write_text(json.dumps(content))


def _nine(tensors):
    tensors["scale"].fill_(9.0)


def test_rewritten_weights_load_without_the_digest(saved, model):
    rewrite(saved, _nine)
    loaded = em.from_pretrained(saved)
    assert loaded.scale.item() == 9.0
    assert loaded.load_report.verified is None
    assert "sha256 not declared" in str(loaded.load_report)


def _nan(tensors):
    tensors["layers.1.weight"][0, 1] = float("nan")


def _largest(tensors):
    tensors["stem.weight"].fill_(torch.finfo(torch.float32).max)


def _inf(tensors):
    tensors["norm.running_var"][0] = float("-inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {f"module.{name}": v for name, v in t.items()},
            r"(?s)missing +14 .*layers.\{0…1\}.weight.*unexpected +14 .*begin with 'module.'.*save the inner module",
        ),
        (
            lambda t: {name.removeprefix("layers."): v for name, v in t.items() if name.startswith("layers.")},
            r"(?s)missing +14 .*unexpected +4",
        ),
        (lambda t: {n: v for n, v in t.items() if n != "scale"}, r"(?s)missing +1 +scale +\(in the model, not in the"),
        (lambda t: {**t, "more.3.x": torch.ones(1)}, r"(?s)unexpected +1 +more.3.x +\(in the file, not in the model"),
        (lambda t: {**t, "stem.weight": t["stem.weight"].T.contiguous()}, r"shape +1 +stem.weight +\(\(6, 4\) in the "),
        (_nan, r"(?s)not finite +1 +layers.1.weight +\(1 NaN, 0 infinite of 16\).*earlier checkpoint"),
        (_inf, r"not finite +1 +norm.running_var +\(0 NaN, 1 infinite of 4\)"),
        (lambda t: {**t, "scale": t["scale"].double()}, r"dtype +1 +scale +\(torch.float64 in the file, torch.float32"),
        (
            lambda t: {**t, "norm.num_batches_tracked": torch.tensor(1, dtype=torch.int32)},
            r"dtype +1 +norm.num_batches",
        ),
        (lambda t: {**t, "scale": torch.ones(1)}, r"shape +1 +scale +\(\(1,\) in the file, \(\) in the model\)"),
        (lambda t: {}, r"missing +14"),
    ],
)
def test_weights_that_do_not_fit(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=message) as error:
        em.from_pretrained(saved)
    assert "nothing was loaded" in str(error.value)


def test_large_finite_values_are_accepted(saved):
    rewrite(saved, _largest)
    em.from_pretrained(saved)


def places(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return data, 8 + length


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("cut", ["0", "4", "header-1", "header", "middle", "end-1"])
def test_cut_short(saved, cut, digest):
    path = saved / "model.safetensors"
    data, header = places(path)
    end = {"0": 0, "4": 4, "header-1": header - 1, "header": header, "middle": (header + len(data)) // 2}
    path.write_bytes(data[: end.get(cut, len(data) - 1)])
    if not digest:
        edit(saved, lambda content: content.pop("files"))
    with pytest.raises(
        CheckpointError, match="declared" if digest else "cut short or damaged: get the checkpoint again"
    ):
        em.from_pretrained(saved)


def test_longer_than_it_should_be(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    edit(saved, lambda content: content.pop("files"))
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        em.from_pretrained(saved)


@pytest.mark.parametrize("place", ["length", "header", "first", "last"])
def test_one_bit_flipped(saved, place):
    path = saved / "model.safetensors"
    data, header = places(path)
    index = {"length": 0, "header": header // 2, "first": header, "last": len(data) - 1}[place]
    path.write_bytes(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
    with pytest.raises(ChecksumError, match=r"(?s)model.safetensors.*found: .*declared: .*take 'files' out") as error:
        em.from_pretrained(saved)
    assert FileDigest.of_file(path).sha256 in str(error.value)
    assert FileDigest.of_bytes(data).sha256 in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>not found</html>", r"a web page, not weights .*repeat it"),
        (b"\n <html>", r"a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", r"Git LFS pointer.*git lfs pull"),
        (b"PK\x03\x04" + bytes(100), r"a pickle can run any code.*model.safetensors only"),
        (b"", r"not a whole safetensors file"),
        (struct.pack("<Q", 1 << 60) + b"{}", r"not a whole safetensors file"),
        (struct.pack("<Q", 2) + b"{}", r"missing +14"),
        (struct.pack("<Q", 1) + b"{", r"not a whole safetensors file"),
    ],
)
def test_something_else(saved, content, message):
    (saved / "model.safetensors").write_bytes(content)
    edit(saved, lambda config: config.pop("files"))
    with pytest.raises(CheckpointError, match=message):
        em.from_pretrained(saved)


class Payload:
    """Writes a marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "checkpoint.pth", "model.safetensors"])
def test_a_pickle_is_never_opened(saved, tmp_path, name):
    marker = tmp_path / "marker"
    (saved / "model.safetensors").unlink()
    edit(saved, lambda config: config.pop("files"))
    (saved / name).write_bytes(pickle.dumps(Payload(marker)))
    for target in (saved, saved / name) if name != "model.safetensors" else (saved,):
        with pytest.raises(CheckpointError, match=r"a pickle can run any code.*model.safetensors only"):
            em.from_pretrained(target)
    torch.save(Payload(marker), saved / name)
    with pytest.raises(CheckpointError, match=r"a pickle can run any code"):
        em.from_pretrained(saved)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Payload(marker))).close()
    assert marker.exists()  # the payload does work


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_is_missing(saved, name):
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: cannot be read .*A checkpoint is a folder"):
        em.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(clases=["a"]), r"unknown key 'clases'. Did you mean 'classes'"),
        (lambda c: c["config"].update(dmi=4), r"config: TinyConfig: unknown key 'dmi'. Did you mean 'dim'"),
        (lambda c: c["config"].update(dim="4"), r"TinyConfig.dim: expected int, got '4' \(str\)"),
        (lambda c: c["config"].update(dim=True), r"TinyConfig.dim: expected int, got True"),
        (lambda c: c["config"].update(dim=0), r"TinyConfig.dim: expected at least 1, got 0"),
        (lambda c: c["config"].update(in_features=-3), r"Tiny cannot be built from these values"),
        (lambda c: c["config"].update(in_features=10**30), r"Tiny cannot be built from these values"),
        (lambda c: c.update(config=[]), r"CheckpointConfig.config: expected a mapping, got \[\]"),
        (lambda c: c.pop("config"), r"missing key 'config'"),
        (lambda c: c.pop("format_version"), r"format_version: expected 1, got None"),
        (lambda c: c.update(format_version=2, new=1), r"format_version: expected 1, got 2. .*newer evermodels"),
        (lambda c: c.update(format_version=True), r"format_version: expected 1, got True"),
        (
            lambda c: c.update(architecture="tiny_tset"),
            r"architecture: 'tiny_tset' does not exist. Did you mean 'tiny_t",
        ),
        (lambda c: c.update(architecture="os.system"), r"architecture: 'os.system' does not exist"),
        (lambda c: c.update(architecture=7), r"CheckpointConfig.architecture: expected str, got 7"),
        (lambda c: c.update(classes=["a", "b"]), r"classes: expected 3 names, as config.num_classes says"),
        (lambda c: c.update(classes=["a", "b", "b"]), r"classes: expected names, each once"),
        (lambda c: c.update(dtype="float8"), r"dtype: expected one of 'float16'"),
        (lambda c: c.update(dtype="float64"), r"dtype +13 .*torch.float32 in the file, torch.float64 expected"),
        (lambda c: c["input_spec"]["eeg"].update(unit="V"), r"unit: expected one of 'uV', got 'V'"),
        (lambda c: c["input_spec"]["eeg"].update(sfreq=-1), r"sfreq: expected a positive rate"),
        (
            lambda c: c["files"].update({"../x": {"size": 1, "sha256": "0" * 64}}),
            r"files: expected only 'model.safetens",
        ),
        (lambda c: c["files"]["model.safetensors"].update(sha256="0"), r"sha256: expected 64 lower-case"),
        (lambda c: c["files"]["model.safetensors"].update(size=3), r"this is not the file that was declared"),
    ],
)
def test_wrong_config(saved, change, message):
    edit(saved, change)
    with pytest.raises((ConfigError, CheckpointError), match=message) as error:
        em.from_pretrained(saved)
    assert str(saved) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"expected JSON, got b''"),
        (b"<html>", r"expected JSON, got b'<html>'.*get the checkpoint again"),
        (b"[1]", r"expected a JSON object, got list"),
        (b'{"a": 1, "a": 2}', r"the key 'a' stands there twice"),
        (b'{"a": NaN}', r"NaN is not JSON"),
        (b'{"a": -Infinity}', r"-Infinity is not JSON"),
        (b"\xff\xfe{}", r"expected JSON"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", r"nested deeper than 50"),
        (b"[" * 100_000, r"expected JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", r"expected JSON"),
    ],
)
def test_config_that_is_not_json(saved, text, message):
    (saved / "config.json").write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        em.from_pretrained(saved)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=40) | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_as_config(data):
    with pytest.raises(ConfigError):
        parse_config(data, "config.json")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["architecture", "config", "classes", "dtype", "input_spec", "files", "x"]), value=JSON)
def test_any_value_in_a_config(key, value):
    content = {"format_version": 1, "architecture": "tiny_test", "config": {}, key: value}
    try:
        parsed = parse_config(json.dumps(content).encode(), "config.json")
    except ConfigError:
        return
    assert parse_json(json.dumps(parsed.to_dict()).encode(), "again")["format_version"] == 1


@pytest.fixture
def listed(saved, tmp_path, monkeypatch):
    """The saved folder as a bundled entry of a table of its own."""
    bundled, path = tmp_path / "bundled", tmp_path / "table.json"
    shutil.copytree(saved, bundled / "tiny_test.own")
    entry = {
        "bundled": True,
        "files": {p.name: FileDigest.of_file(p).to_dict() for p in (bundled / "tiny_test.own").iterdir()},
        "licence": "apache-2.0",
        "data": "none",
        "protocol": "none",
        "score": {"metric": "UAR", "value": 0.5},
        "recipe": "by hand",
    }
    path.write_text(json.dumps({"format_version": 1, "entries": {"tiny_test.own": entry}}))
    monkeypatch.setattr(table, "TABLE_PATH", path)
    monkeypatch.setattr(load, "BUNDLED", bundled)
    return bundled / "tiny_test.own"


def test_a_name_of_the_table(listed, model):
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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_bundled_files_are_verified(listed, name):
    path = listed / name
    data = path.read_bytes()
    path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    with pytest.raises(ChecksumError, match=rf"(?s){name}.*found.*declared.*pip install --force-reinstall"):
        em.from_pretrained("tiny_test.own")


def test_wrong_digest_in_the_table(listed):
    content = json.loads(table.TABLE_PATH.read_text())
    content["entries"]["tiny_test.own"]["files"]["model.safetensors"]["sha256"] = "ab" * 32
    table.TABLE_PATH.write_text(json.dumps(content))
    with pytest.raises(ChecksumError, match="abababab"):
        em.from_pretrained("tiny_test.own")


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
