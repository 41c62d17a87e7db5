"""Files made to cost memory, to say something else, or to break convert: one of our errors, short, with the way out."""

import json
import struct
import time
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file

from evermodels import cli
from evermodels.backbones import VideoMAE, VideoMAEConfig
from evermodels.checkpoints import archive
from evermodels.checkpoints.convert import convert
from evermodels.checkpoints.foreign import read_foreign
from evermodels.checkpoints.report import merge_names
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError, EvermodelsError

CONFIG = {"num_frames": 4, "img_size": (8, 16), "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
ASKED = {key: CONFIG[key] for key in ("num_frames", "img_size", "embed_dim", "depth", "num_heads")}
HUGGING = {
    "model_type": "videomae",
    "hidden_act": "gelu",
    "image_size": [8, 16],
    "num_attention_heads": 2,
    "num_frames": 4,
    "layer_norm_eps": 1e-12,
    "id2label": {"0": "a", "1": "b", "2": "c"},
}


@pytest.fixture
def state():
    return VideoMAE(VideoMAEConfig(**CONFIG, num_classes=3)).state_dict()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def run(path, **options):
    return convert(
        path, path.parent / "out", **{"architecture": "videomae_base", "licence": "mit", "config": ASKED, **options}
    )


def refused(path, match, error=CheckpointError, **options):
    with pytest.raises(error, match=match) as caught:
        run(path, **options)
    assert type(caught.value) is error and len(str(caught.value)) < 5000
    assert "\x1b" not in str(caught.value) and not (path.parent / "out").exists()
    return str(caught.value)


_THEIRS = {
    "patch_embed.proj": "videomae.embeddings.patch_embeddings.projection",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "attn.q_bias": "attention.attention.q_bias",
    "attn.v_bias": "attention.attention.v_bias",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "blocks": "videomae.encoder.layer",
    "head": "classifier",
}


def hugging(state):
    """Return the tensors as transformers names them."""
    tensors = {}
    for name, tensor in state.items():
        theirs = name
        for old, new in _THEIRS.items():
            theirs = theirs.replace(old, new)
        for kind, part in zip(("query", "key", "value"), tensor.chunk(3), strict=False):
            if "qkv" in name:
                tensors[theirs.replace("attn.qkv", f"attention.attention.{kind}")] = part.contiguous()
        if "qkv" not in name:
            tensors[theirs] = tensor
    return tensors


class TestBoundsBeforeMemory:
    def pack(self, source, target, **options):
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))

    def test_an_archive_that_unpacks_to_far_more(self, path):
        torch.save({"head.bias": torch.zeros(1 << 24)}, path)
        small = path.with_name("small.pth")
        self.pack(path, small, compression=zipfile.ZIP_DEFLATED)
        assert small.stat().st_size < 1 << 17
        refused(small, r"refused .* bytes that would unpack to 67,1.*more than 10 times is not unpacked")

    def test_an_archive_that_was_packed_again_is_read(self, state, path):
        torch.save(state, path)
        again = path.with_name("again.pth")
        self.pack(path, again, compression=zipfile.ZIP_DEFLATED)
        assert again.stat().st_size < path.stat().st_size
        assert torch.equal(read_foreign(again).tensors["head.weight"], state["head.weight"])

    def test_entries_that_share_their_bytes(self, path):
        torch.save({"head.bias": torch.zeros(1 << 12)}, path)
        with zipfile.ZipFile(path, "a") as archive:
            row = next(entry for entry in archive.infolist() if entry.filename.endswith("data/0"))
            archive.filelist += [row] * 50
            archive._didModify = True
        refused(path, "would unpack to")

    def test_a_pickle_of_names_only(self, path, monkeypatch):
        monkeypatch.setattr(archive, "LARGEST_PICKLE", 1 << 16)
        torch.save({"a": torch.zeros(1 << 22), "x" * (1 << 16): 1}, path)
        refused(path, "bytes of names and shapes, at most 65,536 are read")

    def test_a_configuration_that_is_none(self, state, path):
        torch.save(state, path)
        with (path.parent / "config.json").open("wb") as stream:
            stream.truncate(120_000_000)
        refused(path, "config.json: 120,000,000 bytes, expected at most 4,194,304.*put the right one, or none")

    @pytest.mark.parametrize("names", [1, 100_000])
    def test_a_header_of_names_only(self, path, names):
        row = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        header = json.dumps({f"n{k}": row for k in range(names)}).encode().ljust((1 << 23) + 8)
        path = path.with_suffix(".safetensors")
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        start = time.perf_counter()
        refused(path, "bytes of names and shapes, at most 8,388,608 are read")
        assert time.perf_counter() - start < 2

    @pytest.mark.parametrize("classes", [10**12, 10**18, 10**30])
    def test_a_head_that_no_machine_holds(self, state, path, classes):
        torch.save(state, path)
        match = rf"VideoMAEConfig.num_classes|cannot be built from .*'num_classes': {classes}.*--num-classes"
        refused(path, match, ConfigError, num_classes=classes)

    def test_names_of_many_parts(self):
        names = [f"{k}." + "1." * 50_000 for k in range(200)] + ["a.1.b", "a.2.b", "a." + "9" * 5000 + ".b"]
        start = time.perf_counter()
        assert "a.{1…2}.b" in merge_names(names)
        assert time.perf_counter() - start < 2


class TestNoValuesThatCouldBeTaken:
    @pytest.mark.parametrize("kind", ["pth", "safetensors"])
    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
    def test_float8(self, state, path, kind, dtype):
        path = path.with_suffix(f".{kind}")
        state["blocks.0.attn.proj.weight"] = state["blocks.0.attn.proj.weight"].to(dtype)
        torch.save(state, path) if kind == "pth" else save_file(state, path)
        refused(path, "blocks.0.attn.proj.weight': expected float16, bfloat16, .* got torch.float8.*in bfloat16 there")

    def test_meta(self, state, path):
        torch.save({name: tensor.to("meta") for name, tensor in state.items()}, path)
        refused(path, r"has a shape and no values .it lies on meta.*Save the model after its weights were loaded")

    def test_complex_and_integers(self, state, path):
        torch.save({**state, "head.bias": torch.zeros(3, dtype=torch.complex64)}, path)
        refused(path, r"dtype +1 +head.bias +\(torch.complex64 from the file")
        torch.save({**state, "head.bias": torch.zeros(3, dtype=torch.uint16)}, path)
        refused(path, r"dtype +1 +head.bias +\(torch.uint16 from the file")

    def test_a_file_that_changes_meanwhile(self, state, path, monkeypatch):
        torch.save(state, path)
        digest = FileDigest.of_file(path)

        def slow(where):
            with path.open("ab") as stream:
                stream.write(b"\0")
            return digest

        monkeypatch.setattr(FileDigest, "of_file", slow)
        refused(path, "it changed while it was read|refused")


class TestMessages:
    @pytest.mark.parametrize(
        "name", ["x" * 5_000_000, "a\x1b[2J\x1b]0;b\x07" * 500, "layers." + "9" * 900, "a.\n  taken  9  b"]
    )
    @pytest.mark.parametrize("kind", ["pth", "safetensors"])
    def test_names_are_not_echoed(self, state, path, name, kind):
        path = path.with_suffix(f".{kind}")
        content = {**state, name: torch.zeros(8)}
        torch.save(content, path) if kind == "pth" else save_file(content, path)
        text = refused(path, r"Choose the architecture that the file holds|a name of|at most 8,388,608|unexpected +1 ")
        assert len(text) < 1500 and text.count("taken  9") == text.count("a. ")

    def test_keys_beside_the_weights(self, state, path):
        key = ("x" * 10**6, 1)
        torch.save({"model": state, key: 1, "\x1b[2J": 2}, path)
        text = str(run(path))
        assert len(text) < 5000 and "\x1b" not in text and "\\u001b[2J" in text

    def test_what_a_pickle_would_import(self, path):
        module = "m" * 10_000
        path.write_bytes(b"\x80\x02c" + module.encode() + b"\nf\n.")
        assert "Nothing was run, and there is no way around" in refused(path, "refused")


class TestConfigBesideTheWeights:
    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"[" * 3000 + b"]" * 3000, "expected JSON"),
            (b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", "expected JSON"),
            (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "nested deeper"),
            (json.dumps(HUGGING).encode("utf-16"), "expected JSON"),
            ('{"name": "é"}'.encode("latin-1"), "expected JSON"),
            (b"\xef\xbb\xbf{}", "expected JSON"),
            (b"[]", "expected a JSON object"),
            (b'{"a": NaN}', "NaN is not JSON"),
            (b'{"a": 1, "a": 2}', "stands there twice"),
            (b"", "expected JSON"),
        ],
        ids=lambda value: ascii(value)[:20],
    )
    def test_what_is_no_json(self, state, path, content, match):
        torch.save(state, path)
        (path.parent / "config.json").write_bytes(content)
        refused(path, match, ConfigError)

    @pytest.mark.parametrize(
        ("labels", "match"),
        [
            ({"0": "a", "1": "a", "2": "c"}, "id2label: expected a name .* each once, got 'a'"),
            ({"0": "a", "1": "", "2": "c"}, "id2label: expected a name"),
            ({"0": "a", "1": "b\n## Scores", "2": "c"}, "Correct it there, or take id2label out"),
            ({"0": "a", "1": "\x1b[2J", "2": "c"}, "id2label: expected a name"),
            ({"0": "a", "1": ["b"], "2": "c"}, "id2label: expected a name"),
            ({"0": "a", "1": "x" * 10**6, "2": "c"}, "id2label: expected a name"),
        ],
        ids=lambda value: ascii(value)[:30],
    )
    def test_labels_that_are_no_names(self, state, tmp_path, labels, match):
        save_file(hugging(state), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({**HUGGING, "id2label": labels}))
        refused(tmp_path / "model.safetensors", match)

    def test_it_is_read(self, state, tmp_path):
        save_file(hugging(state), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(HUGGING))
        run(tmp_path / "model.safetensors")
        assert json.loads((tmp_path / "out" / "config.json").read_text())["classes"] == ["a", "b", "c"]


JSON = st.recursive(
    st.sampled_from([0, 1, -1, 10**9, 10**30, 1e300, 5e-324, True, None, "", "gelu", [], {}]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_configuration_beside_the_weights(state, tmp_path, data):
    """Whatever its values are, there is a model or an error of ours."""
    tensors = hugging(state)
    save_file(tensors, tmp_path / "model.safetensors")
    changes = data.draw(st.dictionaries(st.sampled_from([*HUGGING, "other"]), JSON, max_size=3))
    shaped = data.draw(st.sampled_from([None, *tensors]))
    if shaped is not None:
        shape = data.draw(st.lists(st.integers(0, 3), max_size=5))
        save_file({**tensors, shaped: torch.zeros(shape)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**HUGGING, **changes}))
    asked = data.draw(
        st.dictionaries(st.sampled_from([*CONFIG, "num_classes", "in_chans", "self", "x"]), JSON, max_size=2)
    )
    try:
        convert(tmp_path, tmp_path / "out", architecture="videomae_base", licence="mit", config={**ASKED, **asked})
    except EvermodelsError as error:
        assert len(str(error)) < 5000
        assert not (tmp_path / "out").exists()
    else:
        for file in (tmp_path / "out").iterdir():
            file.unlink()
        (tmp_path / "out").rmdir()


class TestArguments:
    @pytest.mark.parametrize("size", [[100], [100, 33, 1], "ab", [0, 1], [-1, 3], [1.5, 2], 100, {1: 1, 2: 2}], ids=str)
    def test_source_size(self, state, path, size):
        torch.save(state, path)
        match = "source_size: expected .height, width. in whole numbers above 0, got"
        refused(path, match, ConfigError, source_size=size, architecture="audio_mamba_base")

    @pytest.mark.parametrize(
        "stride", [["a", "b"], [0, 1], [None, None], [1.5, 1], "ab", [[1], 2], [True, True]], ids=str
    )
    def test_stride(self, path, stride):
        from evermodels.backbones import AudioMamba

        torch.save(AudioMamba.from_preset("audio_mamba_nano").state_dict(), path)
        asked = {"architecture": "audio_mamba_nano", "config": {"stride": stride}}
        refused(path, "stride|source_size", ConfigError, **asked)

    @pytest.mark.parametrize("licence", [None, "", " ", 3, ["mit"]], ids=str)
    def test_licence(self, state, path, licence):
        torch.save(state, path)
        refused(path, "licence: expected the licence of the weights.*--licence", ConfigError, licence=licence)

    def test_no_name_of_a_file(self, path):
        with pytest.raises(CheckpointError, match=r"cannot be read|no such file"):
            read_foreign("x" * 5000)
        with pytest.raises(CheckpointError, match=r"cannot be read|no such file"):
            read_foreign("a\0b")
        path.write_bytes(b"x")
        with pytest.raises(ConfigError, match=r"out: .* cannot be used"):
            convert(path, "x" * 5000, architecture="videomae_base", licence="mit")

    def test_the_help_says_that_the_licence_is_needed(self, capsys):
        assert cli.main(["convert", "--help"]) == 0
        usage = capsys.readouterr().out.partition("\n\n")[0]
        assert "--licence L" in usage and "[--licence" not in usage
        assert cli.main(["convert", "a", "b", "--architecture", "videomae_base"]) == 2
        assert "--licence" in capsys.readouterr().err
