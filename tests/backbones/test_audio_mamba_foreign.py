"""Foreign Audio-Mamba weights, converted: the outputs are the reference's; resampled positions by another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import evermodels as em
from evermodels.backbones import AudioMamba, AudioMambaConfig
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError

FILES = {"fo_fo": "aum_fofo_a", "fo_bi": "aum_fobi_a", "bi_bi": "aum_bibi_a"}
SIZE = {"embed_dim": 16, "depth": 2}


def relative(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def converted(source, out, config, **options):
    report = convert(
        source, out, architecture="audio_mamba_base", licence="bsd-3-clause", config={**SIZE, **config}, **options
    )
    return em.from_pretrained(out), report


@pytest.fixture
def file(golden, tmp_path):
    """The Fo-Bi reference as the authors' script saves it: DataParallel's prefix, no container."""
    weights = golden(FILES["fo_bi"])["weights"]
    torch.save({f"module.{key}": value for key, value in weights.items()}, tmp_path / "best_audio_model.pth")
    return tmp_path / "best_audio_model.pth"


@pytest.mark.parametrize("direction", FILES)
def test_the_reference_s_numbers(golden, tmp_path, direction):
    data = golden(FILES[direction])
    state = {f"module.{key}": value for key, value in data["weights"].items()}
    torch.save(state, tmp_path / "best_audio_model.pth")
    ours, report = converted(tmp_path / "best_audio_model.pth", tmp_path / "ours", {}, source_size=(32, 48))
    x = data["input"]["x"].transpose(1, 2).unsqueeze(1)
    with torch.no_grad():
        assert relative(ours(x), data["output"]["logits"]) < 1e-5
    assert ours.config.direction == direction and ours.config.input_size == (32, 48)
    assert len(report.taken) == len(state) and not report.left and not report.fresh


def by_pillow(table: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """Resize each column of a position table as a picture, with Pillow's triangle filter."""
    image = pytest.importorskip("PIL.Image")
    grids = table[0, 1:].reshape(*old, -1).numpy()
    sized = [
        np.asarray(image.fromarray(grids[..., k]).resize((new[1], new[0]), image.Resampling.BILINEAR))
        for k in range(grids.shape[-1])
    ]
    rows = torch.from_numpy(np.stack(sized, axis=-1)).reshape(1, new[0] * new[1], -1)
    return torch.cat([table[:, :1], rows], dim=1)


@pytest.mark.parametrize("size", [(64, 96), (16, 40), (48, 32), (30, 100)])
def test_positions_for_another_spectrogram(golden, file, tmp_path, size):
    table = golden(FILES["fo_bi"])["weights"]["pos_embed.pos_embed"]
    ours, report = converted(file, tmp_path / "ours", {"input_size": list(size)}, source_size=(32, 48))
    got = ours.pos_embed.pos_embed.detach()
    torch.testing.assert_close(got, by_pillow(table, (4, 6), ours.config.grid), rtol=1e-5, atol=1e-5)
    assert torch.equal(got[:, :1], table[:, :1])  # the class token's
    new = ours.config.grid
    how = f"4 by 6 -> {new[0]} by {new[1]} positions, bilinear; the class token's kept"
    assert report.taken["pos_embed.pos_embed"] == how
    # The count of (48, 32) is that of the file: only the grid tells that its rows mean something else.
    assert size != (48, 32) or (got.shape == table.shape and not torch.equal(got, table))
    assert ours(torch.randn(1, 1, *size)).shape == (1, 5)


def test_channels_only_when_asked_for(golden, file, tmp_path):
    asked = {"in_chans": 19}
    with pytest.raises(ConfigError, match=r"in_chans: expected 1 as in the file, got 19.*--spread-channels"):
        converted(file, tmp_path / "ours", asked, source_size=(32, 48))
    assert not (tmp_path / "ours").exists()
    ours, report = converted(file, tmp_path / "ours", asked, source_size=(32, 48), spread_channels=True)
    data = golden(FILES["fo_bi"])
    x = data["input"]["x"].transpose(1, 2).unsqueeze(1)
    with torch.no_grad():  # the same picture in every channel: the reference's own numbers
        assert relative(ours(x.expand(-1, 19, -1, -1)), data["output"]["logits"]) < 1e-5
    assert report.taken["patch_embed.proj.weight"] == "1 -> 19 input channels, spread evenly"
    assert report.config["in_chans"] == "19 (asked for; the file: 1)"


@pytest.mark.parametrize("stride", [None, (10, 16)])
def test_size_of_the_authors_spectrograms_is_read_off_the_positions(tmp_path, stride):
    config = AudioMambaConfig(input_size=(128, 48), embed_dim=16, depth=1, num_classes=3, stride=stride)
    if stride:
        # The reference's convolution leaves out what does not fill a patch: 12 rows, where 128 bins would be padded.
        config = config.replace(input_size=(126, 48))
    source = AudioMamba(config).eval()
    torch.save(source.state_dict(), tmp_path / "model.pth")
    asked = {"depth": 1} if stride is None else {"depth": 1, "stride": list(stride), "input_size": [126, 48]}
    options = {} if stride is None else {"source_size": (126, 48)}
    ours, _ = converted(tmp_path / "model.pth", tmp_path / "ours", asked, **options)
    x = torch.randn(2, 1, *config.input_size)
    torch.testing.assert_close(ours(x), source(x), rtol=0, atol=0)


def test_other_classes(file, tmp_path):
    ours, report = converted(file, tmp_path / "ours", {}, source_size=(32, 48), num_classes=2)
    assert ours.head.weight.shape == (2, 16)
    assert report.fresh == dict.fromkeys(["head.weight", "head.bias"], "num_classes 5 -> 2")
    assert set(report.left) == {"head.weight", "head.bias"}


def test_what_the_file_does_not_say_is_asked(file, tmp_path):
    with pytest.raises(ConfigError, match=r"24 positions are no rows of 128 mel bins.*--source-size"):
        converted(file, tmp_path / "ours", {})
    with pytest.raises(CheckpointError, match=r"expected 1 \+ 5 · 6 positions .* 40 by 48, got 25"):
        converted(file, tmp_path / "ours", {}, source_size=(40, 48))
    for value in (10, "wide", [0, 16]):
        with pytest.raises(ConfigError, match="stride"):
            converted(file, tmp_path / "ours", {"stride": value}, source_size=(32, 48))
    with pytest.raises(CheckpointError, match=r"unexpected.*A_b_log"):
        converted(file, tmp_path / "ours", {"direction": "fo_fo"}, source_size=(32, 48))
    with pytest.raises(CheckpointError, match=r"missing.*D_b"):
        converted(file, tmp_path / "ours", {"direction": "bi_bi"}, source_size=(32, 48))
    with pytest.raises(ConfigError, match="source_size: no layout of videomae_base asks for it"):
        convert(file, tmp_path / "ours", architecture="videomae_base", licence="mit", source_size=(1, 1))


def test_two_class_tokens_and_rotary_positions_have_no_place(golden, tmp_path):
    weights = dict(golden(FILES["fo_bi"])["weights"])
    weights["cls_token_head"] = weights.pop("cls_token")
    weights["rope.freqs_cos"] = torch.zeros(4)
    torch.save(weights, tmp_path / "m.pth")
    with pytest.raises(
        CheckpointError, match=r"(?s)unexpected +2 +cls_token_head, rope.freqs_cos.*missing +1 +cls_token"
    ):
        converted(tmp_path / "m.pth", tmp_path / "ours", {}, source_size=(32, 48))
