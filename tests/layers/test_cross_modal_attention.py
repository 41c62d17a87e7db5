import math

import pytest
import torch

from evermodels.core.errors import ConfigError, ShapeError
from evermodels.layers import CrossModalAttention

NAMES, LENGTHS = ("eeg", "video", "audio"), (3, 5, 2)


def some():
    return {name: torch.randn(2, n, 6, dtype=torch.float64) for name, n in zip(NAMES, LENGTHS, strict=True)}


def layer(**changes):
    return CrossModalAttention(**{"dim": 6, "num_heads": 2, "modalities": NAMES, **changes}).double()


def slow(one, target, source):
    """Eq. 11-13 for one sample, head by head and query by query."""
    q, k, v = (part(x).unflatten(1, (2, 3)) for part, x in ((one.q, target), (one.k, source), (one.v, source)))
    rows = []
    for t in range(len(target)):
        heads = []
        for i in range(2):
            scores = [math.exp(float(q[t, i] @ k[s, i]) / math.sqrt(3)) for s in range(len(source))]
            heads.append(sum(e / sum(scores) * v[s, i] for s, e in enumerate(scores)))
        rows.append(one.proj(torch.cat(heads)))
    return torch.stack(rows)


def test_slow_loop_over_heads_and_steps():
    cross, h = layer(), some()
    with torch.no_grad():
        found = cross(h)
        names = [f"{n}_to_{m}" for m in NAMES for n in NAMES if n != m]
        assert list(found) == names
        for name, x in found.items():
            source, target = name.split("_to_")
            want = torch.stack([slow(cross.attention[name], *ht) for ht in zip(h[target], h[source], strict=True)])
            torch.testing.assert_close(x, want, rtol=1e-10, atol=1e-10)


def test_masked_steps_are_not_attended_to():
    cross, h = layer(), some()
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    found = cross(h, {"video": mask})
    shorter = cross({name: x[:1, mask[0]] if name == "video" else x[:1] for name, x in h.items()})
    torch.testing.assert_close(found["video_to_eeg"][:1], shorter["video_to_eeg"])
    assert torch.equal(found["eeg_to_audio"], cross(h)["eeg_to_audio"])
    bias = cross.attention["video_to_eeg"].proj.bias
    torch.testing.assert_close(found["video_to_eeg"][1], bias.expand(3, -1))  # a source with no step says nothing


def test_the_order_of_the_source_is_free_and_fewer_modalities_are_fine():
    cross, h = layer(), some()
    turned = {**h, "video": h["video"].flip(1)}
    torch.testing.assert_close(cross(turned)["video_to_eeg"], cross(h)["video_to_eeg"])
    torch.testing.assert_close(cross(turned)["eeg_to_video"], cross(h)["eeg_to_video"].flip(1))
    two = cross({"audio": h["audio"], "eeg": h["eeg"]})
    assert list(two) == ["audio_to_eeg", "eeg_to_audio"]
    assert torch.equal(two["audio_to_eeg"], cross(h)["audio_to_eeg"])
    assert cross({"eeg": h["eeg"]}) == {}


def test_gradients_with_masks():
    cross, h = layer(modalities=("eeg", "audio")), some()
    mask = {"audio": torch.tensor([[1, 0], [0, 0]]).bool()}
    parts = [h[name].requires_grad_() for name in ("eeg", "audio")]
    assert torch.autograd.gradcheck(lambda a, b: tuple(cross({"eeg": a, "audio": b}, mask).values()), parts)


def test_what_does_not_fit_is_refused():
    cross, h = layer(), some()
    for wrong in ({**h, "eeg": h["eeg"][:1]}, {**h, "eeg": h["eeg"][..., 1:]}, {**h, "eeg": h["eeg"][0]}):
        with pytest.raises(ShapeError):
            cross(wrong)
    with pytest.raises(ConfigError, match="h: expected some of eeg, video, audio, got 'eye'"):
        cross({**h, "eye": h["eeg"]})
    with pytest.raises(ShapeError, match="masks"):
        cross(h, {"eeg": torch.ones(2, 5, dtype=torch.bool)})
    with pytest.raises(ConfigError, match="expected bool"):
        cross(h, {"eeg": torch.ones(2, 3)})
    for values in ({"dim": 5}, {"num_heads": 0}, {"modalities": ("eeg",)}, {"modalities": "eeg"}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match=next(iter(values))):
            layer(**values)
