import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import evermodels as em
from evermodels.backbones import VGGish, VGGishConfig
from evermodels.checkpoints.convert import convert
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError
from evermodels.core.specs import AudioSpec
from evermodels.signals import Audio
from evermodels.signals.audio.reader import Reader

SMALL = {
    "num_frames": 40,
    "num_mels": 33,
    "example_frames": 16,
    "example_hop": 8,
    "widths": (3, 4, 5, 6),
    "hidden": (7, 8),
    "embed_dim": 9,
}


def rule(index: int, shape: torch.Size, seed: int = 5, gain: float = 1.4) -> torch.Tensor:
    """Values of one tensor by the rule that stands in the notes of the reference numbers."""
    count, out = math.prod(shape), torch.empty(math.prod(shape))
    scale = 0.1 if len(shape) == 1 else gain * math.sqrt(3) / math.sqrt(count // shape[0])
    steps = np.arange(1 << 16, dtype=np.uint64)
    shift, first, second = (np.uint64(k) for k in (30, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
    with np.errstate(over="ignore"):
        for start in range(0, count, len(steps)):  # pieces that stay in the processor's cache
            z = steps[: count - start] + np.uint64(start + (seed << 48) + (index << 40))
            z *= np.uint64(0x9E3779B97F4A7C15)
            z ^= z >> shift
            z *= first
            z ^= z >> np.uint64(27)
            z *= second
            z ^= z >> np.uint64(31)
            out[start : start + len(z)] = torch.from_numpy(((z >> np.uint64(40)) / 2**24 * 2 - 1) * scale)
    return out.view(shape)


def test_reference_numbers(golden):
    numbers = golden("vggish_a")
    with torch.device("meta"):
        model = VGGish.from_preset("vggish_base")
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    model.load_state_dict({n: rule(k, shape) for k, (n, shape) in enumerate(shapes.items())}, assign=True)
    model.eval()
    want, waveform = numbers["output"], numbers["input"]["waveform"].float().numpy()
    reader = Reader(AudioSpec.vggish(), 0.975)
    windows = reader.windows(Audio(waveform, sfreq=16000.0), (0.0, 0.96), 0.975)
    examples = torch.stack([window.tensor for window in windows])
    torch.testing.assert_close(examples, want["log_mel"][:, 0], rtol=0, atol=2e-5)
    with torch.no_grad():
        x = numbers["input"]["x"][:, 0]
        pooled = model.features(x[:, None]).mean((2, 3))
        assert (pooled - want["pooled_features"]).abs().max() < 1e-5 * want["pooled_features"].abs().max()
        for given, name in ((x, "embedding"), (want["log_mel"][:, 0], "embedding_of_waveform")):
            assert (model(given) - want[name]).abs().max() < 1e-5 * want[name].abs().max()


@pytest.fixture
def small():
    torch.manual_seed(1)
    return VGGish(VGGishConfig(**SMALL)).eval()


def test_each_step_is_a_stretch(small):
    x = torch.randn(2, 40, 33)
    steps = small.forward_features(x)
    assert steps.shape == (2, 4, 9) and small.config.num_steps == 4
    alone = VGGish(small.config.replace(num_frames=16)).eval()
    alone.load_state_dict(small.state_dict())
    for k in range(4):
        torch.testing.assert_close(steps[:, k], alone(x[:, 8 * k : 8 * k + 16]))
    torch.testing.assert_close(small(x), steps.mean(1))
    assert (steps > 0).any(2).all()


def test_a_step_is_valid_where_a_frame_is(small):
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[0, 15], mask[1, 39] = True, True
    assert small.step_mask(mask).tolist() == [[True, True, False, False], [False, False, False, True]]
    with pytest.raises(ShapeError, match="frames=40"):
        small.step_mask(mask[:, 1:])


def test_released_weights_come_in(tmp_path):
    torch.manual_seed(2)
    shapes = {}
    before = 1
    for k, width in zip((0, 3, 6, 8, 11, 13), (2, 3, 4, 4, 5, 5), strict=True):
        shapes[f"features.{k}"] = (width, before, 3, 3)
        before = width
    shapes |= {"embeddings.0": (7, 5 * 6 * 4), "embeddings.2": (7, 7), "embeddings.4": (128, 7)}
    state = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    torch.save(state | {"pproc.pca_means": torch.zeros(128, 1)}, tmp_path / "vggish.pth")
    options = {"architecture": "vggish_base", "licence": "apache-2.0"}
    report = convert(tmp_path / "vggish.pth", tmp_path / "ours", config={"num_frames": 200}, **options)
    model = em.from_pretrained(tmp_path / "ours")
    assert model.config.widths == (2, 3, 4, 5) and model.config.num_mels == 64 and model.config.num_steps == 2
    assert list(report.left) == ["pproc.pca_means"]
    x = torch.randn(2, 96, 64)
    h = x[:, None]
    for k in (0, 3, 6, 8, 11, 13):
        h = F.conv2d(h, state[f"features.{k}.weight"], state[f"features.{k}.bias"], padding=1).relu()
        h = F.max_pool2d(h, 2) if k in (0, 3, 8, 13) else h
    h = h.transpose(1, 3).transpose(1, 2).flatten(1)
    for k in (0, 2, 4):
        h = F.linear(h, state[f"embeddings.{k}.weight"], state[f"embeddings.{k}.bias"]).relu()
    filled = torch.cat([x, x, torch.zeros(2, 8, 64)], dim=1)
    torch.testing.assert_close(model(filled), h, rtol=1e-4, atol=1e-4)
    state["features.3.weight"] = torch.randn(3, 2, 5, 5)
    torch.save({**state, "features.0.weight": torch.randn(2, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="another model than VGGish"):
        convert(tmp_path / "other.pth", tmp_path / "none", **options)


def test_what_cannot_be_is_refused():
    for values, said in (
        ({"num_mels": 15}, "num_mels: expected at least 16"),
        ({"num_frames": 15}, "num_frames: expected at least example_frames"),
        ({"widths": (1, 2, 3)}, "widths"),
        ({"hidden": (0,)}, "hidden"),
        ({"example_hop": 0}, "example_hop"),
        ({"drop_rate": 1.0}, "drop_rate"),
    ):
        with pytest.raises(ConfigError, match=said):
            VGGishConfig(**{**SMALL, **values})
