"""The mechanism of convert: nothing is run, nothing is dropped in silence, nothing half is written."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file
from torch import nn

import evermodels as em
from evermodels import cli
from evermodels.backbones import VideoMAE, VideoMAEConfig
from evermodels.checkpoints.convert import convert
from evermodels.checkpoints.foreign import read_foreign
from evermodels.checkpoints.verify import FileDigest
from evermodels.core import registry
from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError

CONFIG = {"num_frames": 4, "img_size": (8, 16), "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
ASKED = {key: CONFIG[key] for key in ("num_frames", "img_size", "embed_dim", "depth", "num_heads")}


@pytest.fixture
def source():
    return VideoMAE(VideoMAEConfig(**CONFIG, num_classes=3)).eval()


@pytest.fixture
def state(source):
    return source.state_dict()


def run(path, out, **options):
    return convert(path, out, **{"architecture": "videomae_base", "licence": "mit", "config": ASKED, **options})


def refused(path, out, match, error=CheckpointError, **options):
    with pytest.raises(error, match=match) as caught:
        run(path, out, **options)
    assert type(caught.value) is error
    assert not out.exists(), "something was written"
    return str(caught.value)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


class Stateful:
    def __setstate__(self, state):
        os.mkdir(state["marker"])  # noqa: PTH102


class TestPickles:
    @pytest.mark.parametrize("place", ["top", "beside", "inside", "in the arguments", "as a key"])
    @pytest.mark.parametrize("writer", ["zip", "legacy", "plain pickle"])
    def test_a_payload_is_refused_and_not_run(self, state, tmp_path, place, writer):
        marker, path = tmp_path / "marker", tmp_path / "model.pth"
        payload = Payload(marker)
        content = {
            "top": payload,
            "beside": {"model": state, "optimizer": payload},
            "inside": {**state, "extra": payload},
            "in the arguments": {"model": state, "args": argparse.Namespace(hook=payload)},
            "as a key": {"model": state, (payload,): 1},
        }[place]
        if writer == "plain pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=writer == "zip")
        said = refused(path, tmp_path / "out", r"could run any code\. Nothing was run, and there is no way around")
        assert not marker.exists(), "the payload was run"
        if writer == "zip":
            assert "mkdir" in said  # it says what would have been imported
        pickle.loads(pickle.dumps(payload))  # the payload does work
        assert marker.exists()

    def test_a_class_with_setstate_is_refused(self, state, tmp_path):
        thing = Stateful()
        thing.marker = str(tmp_path / "marker")
        torch.save({"model": state, "args": thing}, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", "Stateful")
        assert not (tmp_path / "marker").exists()

    def test_a_whole_module_is_refused(self, tmp_path):
        torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", "Nothing was run.*bare state dict")

    def test_the_arguments_of_a_training_script_are_read(self, state, tmp_path):
        torch.save({"model": state, "args": argparse.Namespace(lr=1e-3)}, tmp_path / "model.pth")
        assert run(tmp_path / "model.pth", tmp_path / "out").left == {"args": "beside 'model' in the file"}
        assert argparse.Namespace not in torch.serialization.get_safe_globals()  # allowed for this one read


class TestDamage:
    @pytest.mark.parametrize("kind", ["pth", "safetensors"])
    @pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
    def test_cut_short(self, state, tmp_path, kind, part):
        path = tmp_path / f"model.{kind}"
        torch.save(state, path) if kind == "pth" else save_file(state, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        refused(path, tmp_path / "out", "cut short|damaged")

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"<!DOCTYPE html><html>404</html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
            (b"\x80\x04\x95" + bytes(40), "damaged"),
            (b"hello", "get it again"),
        ],
        ids=["page", "pointer", "pickle", "text"],
    )
    def test_something_else(self, tmp_path, content, match):
        (tmp_path / "model.pth").write_bytes(content)
        refused(tmp_path / "model.pth", tmp_path / "out", match)

    def test_a_flipped_bit_in_the_weights(self, state, tmp_path):
        path = tmp_path / "model.pth"
        torch.save(state, path)
        content = bytearray(path.read_bytes())
        content[content.index(state["head.weight"].numpy().tobytes()) + 5] ^= 1
        path.write_bytes(content)
        torch.load(path, weights_only=True)  # which does not see it
        refused(path, tmp_path / "out", "refused .the checksum of .* differs")

    def test_a_file_without_checksums(self, state, tmp_path):
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(state, tmp_path / "model.pth")
        finally:
            torch.serialization.set_crc32_options(True)
        run(tmp_path / "model.pth", tmp_path / "out")

    def test_values_that_are_not_finite(self, state, tmp_path):
        state["blocks.1.norm2.bias"][3] = float("nan")
        torch.save(state, tmp_path / "model.pth")
        match = r"not finite +1 +blocks.1.norm2.bias +\(1 NaN, 0 infinite of 8"
        refused(tmp_path / "model.pth", tmp_path / "out", match)

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (["a"], "expected a mapping from names to tensors, got list"),
            ({}, "holds no tensors"),
            ({"model": {"a": torch.zeros(1)}, "state_dict": {}}, "got model, state_dict"),
            ({"model": {"a": {"b": torch.zeros(1)}}}, "got dict as 'a'"),
            ({"a": torch.zeros(1), "epoch": 3}, "got int as 'epoch'"),
            ({1: torch.zeros(1)}, "got Tensor as 1"),
            ({"a": torch.eye(2).to_sparse()}, "expected a dense tensor"),
            ({"a": torch.zeros(1).expand(10**9)}, "fewer values in the file"),
        ],
    )
    def test_not_a_state_dict(self, tmp_path, content, match):
        torch.save(content, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", match)

    def test_no_file(self, tmp_path):
        refused(tmp_path / "nowhere", tmp_path / "out", "no such file or folder.*hf download")
        (tmp_path / "empty").mkdir()
        refused(tmp_path / "empty", tmp_path / "out", r"expected model.safetensors or pytorch_model.bin.*got nothing")
        (tmp_path / "empty" / "model-00001-of-00002.safetensors").touch()
        (tmp_path / "empty" / "model-00002-of-00002.safetensors").touch()
        refused(tmp_path / "empty", tmp_path / "out", "split over several files")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), legacy=st.booleans())
def test_damaged_bytes_give_one_kind_of_error(tmp_path, data, legacy):
    """Whatever bytes change, there are tensors or an error of ours: never another one, never a call."""
    path = tmp_path / "model.pth"
    state = {"model": {"blocks.0.norm1.weight": torch.ones(3)}, "args": argparse.Namespace(lr=1e-3)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert all(isinstance(tensor, torch.Tensor) for tensor in read_foreign(path).tensors.values())
    except CheckpointError as error:
        assert str(path) in str(error)


class TestNothingIsDroppedInSilence:
    def test_every_key_of_the_file_counts(self, state, tmp_path):
        path = tmp_path / "model.safetensors"
        for key in state:
            save_file({k: v for k, v in state.items() if k != key}, path)
            # Without the one tensor that sizes are read from, the message is about that.
            refused(path, tmp_path / "out", rf"missing +1 +{key}|unexpected|in no layout|{key}: expected a tensor")

    @pytest.mark.parametrize("key", ["pos_embed", "blocks.0.attn.qkv.bias", "blocks.0.attn.k_bias", "heads.weight"])
    def test_a_key_without_a_place(self, state, tmp_path, key):
        torch.save({**state, key: torch.zeros(8)}, tmp_path / "model.pth")
        match = rf"unexpected +1 +{re.escape(key)} +\(in the file, without a place"
        refused(tmp_path / "model.pth", tmp_path / "out", match)

    def test_a_key_that_stands_there_twice(self, state, tmp_path):
        torch.save({**state, "encoder.head.bias": torch.zeros(3)}, tmp_path / "model.pth")
        match = r"doubled +1 +encoder.head.bias +\(the same tensor as head.bias"
        refused(tmp_path / "model.pth", tmp_path / "out", match)

    def test_another_block_more(self, state, tmp_path):
        more = {k.replace("blocks.1.", "blocks.2."): v.clone() for k, v in state.items() if k.startswith("blocks.1.")}
        torch.save({**state, **more}, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", r"32 tensors taken, 13 unexpected")
        config = {key: value for key, value in ASKED.items() if key != "depth"}
        refused(tmp_path / "model.pth", tmp_path / "out", "depth 12, the file 3", ConfigError, config=config)

    def test_shape_and_type(self, state, tmp_path):
        torch.save({**state, "blocks.0.attn.proj.weight": torch.zeros(8, 9)}, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", r"shape +1 .*\(8, 9\) from the file, \(8, 8\) in our model")
        torch.save({**state, "blocks.0.attn.proj.weight": torch.zeros(8, 8).long()}, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", tmp_path / "out", r"dtype +1 .*torch.int64 from the file")

    def test_wrappers_of_data_parallel_and_compile(self, source, state, tmp_path):
        torch.save({f"module._orig_mod.{k}": v for k, v in state.items()}, tmp_path / "model.pth")
        assert read_foreign(tmp_path / "model.pth").wrapper == "module._orig_mod."
        run(tmp_path / "model.pth", tmp_path / "out")
        x = torch.randn(2, 4, 3, 8, 16)
        torch.testing.assert_close(em.from_pretrained(tmp_path / "out")(x), source(x), rtol=0, atol=0)
        torch.save({f"module.{k}" if k != "head.bias" else k: v for k, v in state.items()}, tmp_path / "half.pth")
        refused(tmp_path / "half.pth", tmp_path / "none", r"in no layout that videomae_base knows.*module\.patch_embed")

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_type_of_the_weights_stays(self, state, tmp_path, dtype):
        torch.save({k: v.to(dtype) for k, v in state.items()}, tmp_path / "model.pth")
        run(tmp_path / "model.pth", tmp_path / "out")
        model = em.from_pretrained(tmp_path / "out")
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert torch.equal(model.head.weight, state["head.weight"].to(dtype))

    def test_mixed_types_take_the_one_that_loses_nothing(self, state, tmp_path):
        torch.save({k: v.half() if k == "head.bias" else v for k, v in state.items()}, tmp_path / "model.pth")
        run(tmp_path / "model.pth", tmp_path / "out")
        assert {p.dtype for p in em.from_pretrained(tmp_path / "out").parameters()} == {torch.float32}


class TestArguments:
    def test_the_licence_must_be_given(self, state, tmp_path):
        torch.save(state, tmp_path / "model.pth")
        for nothing in (None, "", " "):
            match = "licence: expected .*VideoMAE cc-by-nc-4.0, AdaMAE mit.*--licence"
            refused(tmp_path / "model.pth", tmp_path / "out", match, ConfigError, licence=nothing)

    def test_nothing_is_overwritten(self, state, tmp_path):
        torch.save(state, tmp_path / "model.pth")
        before = (tmp_path / "model.pth").read_bytes()
        with pytest.raises(ConfigError, match="is not an empty folder"):
            run(tmp_path / "model.pth", tmp_path)
        with pytest.raises(ConfigError, match="is not an empty folder"):
            run(tmp_path / "model.pth", tmp_path / "model.pth")
        assert [p.name for p in tmp_path.iterdir()] == ["model.pth"]
        assert (tmp_path / "model.pth").read_bytes() == before

    def test_a_checkpoint_of_ours_is_none(self, source, tmp_path):
        source.save_pretrained(tmp_path / "ours")
        refused(tmp_path / "ours", tmp_path / "out", "a checkpoint of ours already.*from_pretrained", ConfigError)

    def test_names(self, state, tmp_path):
        path, out = tmp_path / "model.pth", tmp_path / "out"
        torch.save(state, path)
        refused(path, out, "Did you mean 'videomae_base'", UnknownNameError, architecture="videomae_bas")
        refused(path, out, "no foreign layout", ConfigError, architecture="ever_tiny")
        refused(path, out, "no 'orignal'. Did you mean 'original'", UnknownNameError, format="orignal")
        mamba = {"architecture": "audio_mamba_base", "config": {}}
        refused(path, out, r"audio_mamba_base knows.*names begin with: patch_embed\.proj\.weight", **mamba)
        refused(path, out, r"expected config\.json", format="transformers")
        refused(path, out, "unknown key 'embed_dmi'", ConfigError, config={**ASKED, "embed_dmi": 8})


def test_the_card_carries_licence_and_source(state, tmp_path):
    torch.save({"model": state, "epoch": 3}, tmp_path / "checkpoint.pth")
    report = run(
        tmp_path / "checkpoint.pth", tmp_path / "out", licence="cc-by-nc-4.0", origin="org/name", num_classes=0
    )
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    digest = FileDigest.of_file(tmp_path / "checkpoint.pth")
    for text in ("license: cc-by-nc-4.0", "- org/name", "under cc-by-nc-4.0, which stays", digest.sha256, "MCG-NJU"):
        assert text in card
    training = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["training"]
    assert training["source_file"] == {"name": "checkpoint.pth", **digest.to_dict()}
    assert training["licence"] == "cc-by-nc-4.0" and training["left"] == ["head.weight", "head.bias", "epoch"]
    model = em.from_pretrained(tmp_path / "out")
    assert model.architecture == "videomae_base" and model.config.num_classes == 0
    text = str(report)
    assert "30 tensors taken, 3 left" in text and "(num_classes 3 -> 0)" in text and "config  embed_dim = 8" in text


def test_every_declared_format_is_whole():
    with_formats = set()
    for name in registry.MODELS:
        formats = registry.model_class(name).foreign_formats
        with_formats |= {name} if formats else set()
        assert len({f.name for f in formats}) == len(formats)
        for layout in formats:
            for pattern in (layout.sign, *layout.keys, *layout.left):
                re.compile(pattern)
            assert layout.summary and layout.published
    assert {"videomae_base", "adamae_base", "audio_mamba_base"} <= with_formats


def test_command_line(source, state, tmp_path, capsys):
    torch.save(state, tmp_path / "model.pth")
    arguments = ["convert", str(tmp_path / "model.pth"), str(tmp_path / "out"), "--architecture", "videomae_base"]
    for key, value in ASKED.items():
        arguments += ["--set", f"{key}={list(value) if isinstance(value, tuple) else value}"]
    assert cli.main(arguments) == 2
    assert "required: --licence" in capsys.readouterr().err
    assert cli.main([*arguments, "--licence", "mit", "--set", "in_chans=1"]) == 2
    assert "--spread-channels" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert cli.main([*arguments, "--licence", "mit"]) == 0
    out = capsys.readouterr().out
    assert "32 tensors taken" in out and f"checkpoint: {tmp_path / 'out'}" in out
    x = torch.randn(2, 4, 3, 8, 16)
    torch.testing.assert_close(em.from_pretrained(tmp_path / "out")(x), source(x), rtol=0, atol=0)
