"""Saving and loading: same outputs, same facts, nothing but the head renewed."""

import json

import pytest
import torch
from safetensors.torch import load_file

import evermodels as em
from evermodels.checkpoints.config_file import parse_config
from evermodels.checkpoints.read import assign, meta_tensors
from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError


def test_same_outputs_and_facts(model, saved, tiny_class):
    x = torch.randn(5, 6)
    for loaded in (em.from_pretrained(saved), em.from_pretrained(str(saved)), tiny_class.from_pretrained(saved)):
        assert torch.equal(loaded(x), model(x))
        assert not loaded.training
        assert loaded.config == model.config
        assert loaded.input_spec == model.input_spec
        assert loaded.classes == ("a", "b", "c")
        assert loaded.provenance == {"recipe": "by hand", "seed": 1}
        assert loaded.architecture == "tiny_test"
        assert all(p.requires_grad for p in loaded.parameters())
        assert set(loaded.load_report.loaded) == set(model.state_dict())
        assert not loaded.load_report.reinitialised
        assert loaded.load_report.verified == "config.json"


def test_exactly_three_files_of_plain_rights(saved, tmp_path):
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    (tmp_path / "plain").touch()
    assert {p.stat().st_mode for p in saved.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_weights_do_not_depend_on_the_file(model, saved):
    loaded = em.from_pretrained(saved)
    path = saved / "model.safetensors"
    path.write_bytes(b"\0" * path.stat().st_size)
    x = torch.randn(5, 6)
    assert torch.equal(loaded(x), model(x))


def test_each_weight_has_memory_of_its_own(saved):
    loaded = em.from_pretrained(saved)
    for name, tensor in loaded.state_dict().items():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size(), name


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    em.from_pretrained(saved)
    assert torch.equal(torch.rand(4), expected)


def test_save_after_load_into_the_same_folder(saved):
    loaded = em.from_pretrained(saved)
    with torch.no_grad():
        loaded.scale.fill_(7.0)
    loaded.save_pretrained(saved)
    again = em.from_pretrained(saved)
    assert again.scale.item() == 7.0
    assert again.classes == ("a", "b", "c")
    assert again.provenance is None  # what is not given is not claimed


def test_config_made_by_hand(tiny_class, tmp_path):
    model = tiny_class(tiny_class.config_class(dim=5, depth=1)).eval()
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "own"))
    assert json.loads((tmp_path / "own" / "config.json").read_text())["architecture"] == "Tiny"
    assert loaded.architecture is None
    assert loaded.config == model.config
    x = torch.randn(2, 6)
    assert torch.equal(loaded(x), model(x))


def test_computed_buffers_are_rebuilt(saved):
    loaded = em.from_pretrained(saved)
    assert "table" not in load_file(saved / "model.safetensors")
    assert torch.equal(loaded.table, torch.arange(6).float())
    assert meta_tensors(loaded) == []


@pytest.mark.parametrize("place", ["buffer", "attribute", "list"])
def test_a_tensor_left_without_values_is_an_error(model, place):
    with torch.device("meta"):
        empty = type(model)(model.config)
        if place == "buffer":
            empty.norm.register_buffer("extra", torch.ones(2), persistent=False)
        elif place == "attribute":
            empty.norm.extra = torch.ones(2)
        else:
            empty.norm.extra = [torch.ones(2)]
    with pytest.raises(CheckpointError, match=r"Tiny: norm.extra got no values.*reset_buffers"):
        assign(empty, model.state_dict())


def test_other_number_of_classes_touches_the_head_only(model, saved):
    loaded = em.from_pretrained(saved, num_classes=5)
    for name, tensor in loaded.state_dict().items():
        if name.startswith("head."):
            assert tensor.shape[0] == 5
        else:
            assert torch.equal(tensor, model.state_dict()[name])
    report = loaded.load_report
    assert set(report.reinitialised) == {"head.weight", "head.bias"}
    assert set(report.loaded) == {n for n in model.state_dict() if not n.startswith("head.")}
    assert "num_classes 3 -> 5" in str(report)
    assert loaded.config.num_classes == 5
    assert loaded.classes is None
    assert not loaded.training
    assert loaded(torch.randn(2, 6)).shape == (2, 5)


def test_same_number_of_classes_keeps_the_head(model, saved):
    loaded = em.from_pretrained(saved, num_classes=3)
    assert torch.equal(loaded.head.weight, model.head.weight)
    assert loaded.classes == ("a", "b", "c")


def test_no_classes_drops_the_head(model, saved):
    loaded = em.from_pretrained(saved, num_classes=0)
    assert set(loaded.load_report.dropped) == {"head.weight", "head.bias"}
    assert not loaded.load_report.reinitialised
    assert loaded(torch.randn(2, 6)).shape == (2, 4)


def test_strict_even_with_other_classes(saved):
    path = saved / "config.json"
    content = json.loads(path.read_text())
    content["config"]["dim"] = 8
    del content["sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"stem\.weight"):
        em.from_pretrained(saved, num_classes=5)


def test_reset_classifier_may_not_touch_the_rest(saved, tiny_class, monkeypatch):
    def reset(self, num_classes):
        self.norm = torch.nn.BatchNorm1d(4)

    monkeypatch.setattr(tiny_class, "reset_classifier", reset)
    with pytest.raises(CheckpointError, match=r"changed norm.weight.*not part of the declared head \(head.\)"):
        em.from_pretrained(saved, num_classes=5)


def test_dtype(model, saved, tmp_path):
    assert em.from_pretrained(saved, dtype=torch.float64).stem.weight.dtype == torch.float64
    half = em.from_pretrained(saved).to(torch.bfloat16).save_pretrained(tmp_path / "half")
    loaded = em.from_pretrained(half)
    assert {t.dtype for t in (*loaded.parameters(), loaded.table)} == {torch.bfloat16}
    assert em.from_pretrained(half, dtype=torch.float32).stem.weight.dtype == torch.float32
    with pytest.raises(ConfigError, match=r"dtype: expected a floating-point type .* got torch.int64"):
        em.from_pretrained(saved, dtype=torch.int64)
    model.head.double()
    with pytest.raises(ConfigError, match=r"one floating-point type .* torch.float32, torch.float64. Call model.float"):
        model.save_pretrained(tmp_path / "mixed")


def test_saved_through_compile(model, tmp_path):
    compiled = torch.compile(model, backend="eager")
    loaded = em.from_pretrained(compiled.save_pretrained(tmp_path / "compiled"))
    assert set(loaded.load_report.loaded) == set(model.state_dict())


@pytest.mark.parametrize("names", [("Fz", "Cz", "T7"), ["EEG Fz", "cz", "T3"]])
def test_same_channels(saved, names):
    em.from_pretrained(saved, ch_names=names)


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (("Cz", "Fz", "T7"), ConfigError, r"ch_names: Tiny takes no EEG by channel name. Leave it out"),
        (("Fz", "Fz", "Cz", "T7"), UnknownNameError, r"'Fz' and 'Fz' are both the electrode Fz"),
        (("Fz", "Cz", "Q9"), UnknownNameError, r"'Q9'"),
        ("Fz", ConfigError, r"preset: 'Fz' does not exist.*Names of channels are a list"),
    ],
)
def test_other_channels_of_a_model_that_takes_none(saved, names, error, message):
    with pytest.raises(error, match=message):
        em.from_pretrained(saved, ch_names=names)


def test_channels_in_another_order_are_taken_by_name():
    own = em.from_pretrained("ever_tiny.quadrant")
    names = own.input_spec.eeg.ch_names[::-1]
    loaded = em.from_pretrained("ever_tiny.quadrant", ch_names=names)
    assert loaded.input_spec.eeg.ch_names == names
    assert loaded.load_report.interpolated == {}
    assert set(loaded.load_report.reordered) == {*names} - {names[9]}  # of 19 reversed, the middle one stays
    eeg = torch.randn(1, 19, own.input_spec.shape("eeg")[1])
    assert torch.equal(loaded(eeg=eeg.flip(1)).logits, own(eeg=eeg).logits)


def test_another_headset(tmp_path):
    own = em.from_pretrained("ever_tiny.quadrant")
    names = em.montage.preset("epoc")
    loaded = em.create_model("ever_tiny.quadrant", pretrained=True, ch_names=names)
    assert loaded.input_spec.eeg.ch_names == names
    for (name, a), (_, b) in zip(own.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    report = loaded.load_report
    assert set(report.interpolated) == set(own.input_spec.eeg.ch_names) - set(names)
    assert str(report).count("channels interpolated") == 1 + len(report.interpolated)
    assert "Cz  (from " in str(report)
    again = em.from_pretrained(loaded.save_pretrained(tmp_path / "epoc"))  # the adapter is part of the checkpoint
    assert (again.load_report.interpolated, again.load_report.reordered) == (report.interpolated, report.reordered)
    eeg = torch.randn(1, len(names), own.input_spec.shape("eeg")[1])
    assert torch.equal(again(eeg=eeg).logits, loaded(eeg=eeg).logits)


def test_too_few_real_channels_are_refused_unless_told():
    names = ("Fz", "Cz", "Pz", "O1")
    with pytest.raises(
        ConfigError, match=r"only 4 of the 19 .*from_pretrained\(name\).adapt_montage\(ch_names, min_real=0"
    ):
        em.from_pretrained("ever_tiny.quadrant", ch_names=names)
    model = em.from_pretrained("ever_tiny.quadrant")
    assert len(model.adapt_montage(names, min_real=0.0)) == 15
    assert len(model.load_report.interpolated) == 15


def test_one_truth_on_inputs(saved):
    content = json.loads((saved / "config.json").read_text())
    assert content["format_version"] == 2 and "input_spec" not in content
    model = em.create_model("ever_tiny")
    assert parse_config(json.dumps(ever_content(model)).encode(), "x").input_spec == model.input_spec
    content = ever_content(model) | {"input_spec": model.input_spec.to_dict()}
    with pytest.raises(ConfigError, match=r"config\.json: unknown key 'input_spec'"):
        parse_config(json.dumps(content).encode(), "x")


def ever_content(model):
    return {"format_version": 2, "architecture": "ever_tiny", "config": model.config.to_dict()}


def test_another_class(saved, tiny_class):
    class Other(tiny_class):
        pass

    with pytest.raises(CheckpointError, match="holds Tiny, not Other"):
        Other.from_pretrained(saved)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such.name", r"no_such.name: neither a pretrained name, nor a folder, nor .* weights exist for: ever_tiny"),
        ("../secret", r"../secret: neither a pretrained name, nor a folder"),
        ("/no/such/place", r"neither a pretrained name, nor a folder"),
        ("C:\\no\\such", r"neither a pretrained name, nor a folder"),
        ("\\\\server\\share", r"neither a pretrained name, nor a folder"),
        ("a/b/c", r"neither a pretrained name, nor a folder"),
        ("x" * 5000, r"neither a pretrained name, nor a folder"),
        ("a\0b", r"neither a pretrained name, nor a folder"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(CheckpointError, match=message):
        em.from_pretrained(name)


def test_a_file_instead_of_the_folder(saved):
    with pytest.raises(CheckpointError, match="a file; give its folder"):
        em.from_pretrained(saved / "model.safetensors")


def test_revision_is_for_the_hub(saved):
    with pytest.raises(ConfigError, match=r"revision: .* has no revision, got 'main'"):
        em.from_pretrained(saved, revision="main")
    with pytest.raises(ConfigError, match=r"revision: ever_tiny.quadrant is pinned by the weight table, got 'main'"):
        em.from_pretrained("ever_tiny.quadrant", revision="main")


def test_model_without_a_head(saved, tiny_class, monkeypatch):
    monkeypatch.delattr(tiny_class, "reset_classifier")
    with pytest.raises(ConfigError, match="Tiny has no head that could be renewed"):
        em.from_pretrained(saved, num_classes=7)


def test_create_model(tiny_class):
    model = em.create_model("tiny_test", num_classes=7, dim=3)
    assert (model.config.num_classes, model.config.dim, model.training) == (7, 3, True)
    with pytest.raises(ConfigError, match=r"sfreq: 'tiny_test' has no such setting"):
        em.create_model("tiny_test", sfreq=200.0)
    with pytest.raises(ConfigError, match=r"unknown key 'dmi'. Did you mean 'dim'"):
        em.create_model("tiny_test", dmi=3)
    with pytest.raises(UnknownNameError, match=r"'tiny_test.x' is a checkpoint's name"):
        em.create_model("tiny_test.x")
    with pytest.raises(UnknownNameError, match="'tiny_test' has no pretrained weights"):
        em.create_model("tiny_test", pretrained=True)
    with pytest.raises(UnknownNameError, match=r"checkpoint: 'tiny_test.x' does not exist"):
        em.create_model("tiny_test.x", pretrained=True)
    with pytest.raises(ConfigError, match="dim: pretrained weights come with their own configuration"):
        em.create_model("tiny_test", pretrained=True, dim=3)
