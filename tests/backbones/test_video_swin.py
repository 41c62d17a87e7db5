from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from evermodels.backbones import VideoSwin, VideoSwinConfig
from evermodels.backbones.video.video_swin import Block, Windows, relative_positions
from evermodels.backbones.video.video_swin_foreign import resample_table
from evermodels.core.errors import CheckpointError, ConfigError, ShapeError
from evermodels.layers import attention_maps
from tests.backbones.clips import check_checkpointing, check_gradients, clip, converted, randomised, relative

TINY = VideoSwinConfig(
    num_frames=6, img_size=(20, 28), embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=(2, 3, 3), num_classes=3
)
SIZES = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4]}


def small(**changes):
    """torchvision's model of any sizes, with random weights."""
    pytest.importorskip("torchvision")
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    sizes = {
        "patch_size": [2, 4, 4],
        "embed_dim": 8,
        "depths": [2, 2, 2],
        "num_heads": [2, 2, 4],
        "window_size": [2, 3, 3],
    }
    return randomised(
        SwinTransformer3d(**{**sizes, "num_classes": 5, "stochastic_depth_prob": 0.0, **changes}), std=0.3
    )


def taken(model, folder, **config):
    """The same model as ours, by conversion."""
    torch.save(model.state_dict(), folder / "w.pth")
    out = folder / "-".join(["ours", *(f"{k}{v}" for k, v in config.items() if k in ("num_frames", "clipped_bias"))])
    return converted(folder / "w.pth", out, "video_swin_tiny", "bsd-3-clause", config=config)


class TestGolden:
    @pytest.fixture
    def model(self, golden, tmp_path):
        data = golden("video_swin_a")
        torch.save(data["weights"], tmp_path / "w.pth")
        config = {**SIZES, "num_frames": 8, "img_size": [32, 32]}
        ours, report = converted(tmp_path / "w.pth", tmp_path / "ours", "video_swin_tiny", config=config)
        assert set(report.taken) == set(ours.state_dict()) and ours.config.window_size == (2, 4, 4)
        assert set(report.left.values()) == {"computed from the sizes"}
        return ours, data

    def test_stages(self, model):
        model, data = model
        got = {}

        def keep(name):
            return lambda m, i, o: got.__setitem__(name, o)

        first, second = model.layers
        model.patch_embed.register_forward_hook(keep("patch_tokens"))
        for k in (0, 1):
            first.blocks[k].attn.register_forward_hook(keep(f"block{k}_attention"))
        first.blocks[1].register_forward_hook(keep("features0"))
        first.downsample.register_forward_hook(keep("features1"))
        second.blocks[1].register_forward_hook(keep("features2"))
        model.norm.register_forward_hook(keep("norm"))
        got["logits"] = model(data["input"]["x"].transpose(1, 2))
        assert got.keys() == data["output"].keys()
        for key, value in got.items():
            assert relative(value, data["output"][key]) < 1e-5, key

    def test_float64(self, model):
        model, data = model
        logits = model.double()(data["input"]["x"].transpose(1, 2).double())
        assert relative(logits, data["output64"]["logits"]) < 1e-10

    def test_gradients(self, model):
        names = {
            "features.0.1.": "layers.0.blocks.1.",
            "features.1.": "layers.0.downsample.",
            "features.2.0.": "layers.1.blocks.0.",
        }

        def rename(name):
            for old, new in names.items():
                name = name.replace(old, new)
            return name

        check_gradients(*model, rename=rename)


class TestTorchvision:
    @pytest.mark.parametrize(
        ("frames", "size"),
        [(8, (48, 48)), (5, (45, 38)), (2, (24, 64)), (1, (4, 4))],
        ids=["divides", "padding", "one window along time", "one token"],
    )
    def test_any_size(self, tmp_path, frames, size):
        model = small()
        sizes = {
            "embed_dim": 8,
            "depths": [2, 2, 2],
            "num_heads": [2, 2, 4],
            "num_frames": frames,
            "img_size": list(size),
        }
        ours, _ = taken(model, tmp_path, **sizes)
        x = torch.randn(2, frames, 3, *size)
        with torch.no_grad():
            want = model(x.transpose(1, 2))
            assert relative(ours(x), want) < 1e-5
            assert relative(ours.double()(x.double()), model.double()(x.double().transpose(1, 2))) < 1e-12

    def test_gradients_through_shifted_windows(self, tmp_path):
        model = small()
        sizes = {"embed_dim": 8, "depths": [2, 2, 2], "num_heads": [2, 2, 4], "num_frames": 8, "img_size": [32, 48]}
        ours, _ = taken(model, tmp_path, **sizes)
        x, weight = torch.randn(2, 8, 3, 32, 48, requires_grad=True), torch.randn(2, 5)
        (want,) = torch.autograd.grad((model(x.transpose(1, 2)) * weight).sum(), x)
        (got,) = torch.autograd.grad((ours(x) * weight).sum(), x)
        assert relative(got, want) < 1e-4

    def test_the_published_depths_and_windows(self, tmp_path):
        """swin3d_t, a quarter as wide, on a small clip: its last stages are clipped in height and width."""
        sizes = {"embed_dim": 24, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
        model = small(**sizes, window_size=[8, 7, 7])
        x = torch.randn(1, 4, 3, 64, 64)
        ours, _ = taken(model, tmp_path, **sizes, num_frames=4, img_size=[64, 64])
        assert ours.config.window_size == (8, 7, 7)
        sound = VideoSwin(ours.config.replace(clipped_bias="geometric")).eval()
        sound.load_state_dict(ours.state_dict())
        with torch.no_grad():
            want = model(x.transpose(1, 2))
            assert relative(ours(x), want) < 1e-5
            assert relative(sound(x), want) > 1e-4


@pytest.mark.parametrize(("name", "count"), [("tiny", 27_850_470), ("small", 49_509_078), ("base", 87_638_984)])
def test_counts(name, count):
    pytest.importorskip("torchvision")
    from torchvision.models import video

    with torch.device("meta"):
        model = VideoSwin.from_preset(f"video_swin_{name}")
        theirs = getattr(video, f"swin3d_{name[0]}")()
    assert sum(p.numel() for p in model.parameters()) == count
    head = sum(p.numel() for p in theirs.head.parameters())
    assert sum(p.numel() for p in theirs.parameters()) - head == count


def test_windows_by_a_plain_loop():
    """Each window by itself, found by the distance of its tokens on the torus; padding takes part, as published."""
    model = randomised(VideoSwin(TINY), std=0.4).double()
    stage = model.layers[0]
    attn, grid = stage.blocks[1].attn, TINY.grids[0]
    assert attn.cut == Windows((2, 3, 3), (1, 1, 1)) and grid == (3, 5, 7)
    x = torch.randn(1, *grid, 8, dtype=torch.float64)
    padded = F.pad(x, (0, 0, 0, 2, 0, 1, 0, 1))[0]
    sides = padded.shape[:3]
    assert tuple(sides) == (4, 6, 9)
    places = [(t, h, w) for t in range(4) for h in range(6) for w in range(9)]
    got = attn(x, stage.index)[0]
    for query in [(0, 0, 0), (2, 4, 6), (2, 2, 3), (0, 4, 2)]:
        shifted = [(p - 1) % side for p, side in zip(query, sides, strict=True)]
        window = [s // w for s, w in zip(shifted, (2, 3, 3), strict=True)]
        keys = []
        for place in places:
            its = [(p - 1) % side for p, side in zip(place, sides, strict=True)]
            same = [s // w for s, w in zip(its, (2, 3, 3), strict=True)] == window
            # A token rolled from the beginning to the end is no neighbour of those at the end.
            rolled = [p < 1 for p in place] == [q < 1 for q in query]
            if same and rolled:
                keys.append(place)
        at = lambda places: torch.stack([padded[p] for p in places])  # noqa: E731 - one word for a lookup
        q, k, v = attn.qkv(at([query])).chunk(3, -1)[0], *attn.qkv(at(keys)).chunk(3, -1)[1:]
        out = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = (q[:, part] @ k[:, part].T)[0] / 2
            for n, key in enumerate(keys):
                offset = [a - b for a, b in zip(query, key, strict=True)]
                row = ((offset[0] + 1) * 5 + offset[1] + 2) * 5 + offset[2] + 2
                scores[n] = scores[n] + attn.relative_position_bias_table[row, head]
            out.append(scores.softmax(-1) @ v[:, part])
        torch.testing.assert_close(got[query], attn.proj(torch.cat(out)), rtol=1e-9, atol=1e-11)


def test_relative_positions_of_clipped_windows():
    full = relative_positions((2, 3, 3), (2, 3, 3), first_rows=True)
    assert torch.equal(full, relative_positions((2, 3, 3), (2, 3, 3), first_rows=False))
    in_time = [relative_positions((1, 3, 3), (2, 3, 3), first_rows=first) for first in (True, False)]
    assert torch.equal(*in_time)  # where time alone is clipped, the first rows are right
    first, sound = (relative_positions((2, 2, 3), (2, 3, 3), first_rows=first) for first in (True, False))
    assert not torch.equal(first, sound)
    rows = torch.tensor([0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14])  # of the full window those with height 0 and 1
    assert torch.equal(sound, full[rows][:, rows]) and torch.equal(first, full[:12, :12])


def test_attention_maps():
    model = VideoSwin(TINY).eval()
    maps = attention_maps(model, clip(TINY))
    assert {name: tuple(w.shape) for name, w in maps.items()} == {
        "layers.0.blocks.0.attn": (2, 2 * 2 * 3, 2, 18, 18),
        "layers.0.blocks.1.attn": (2, 2 * 2 * 3, 2, 18, 18),
        "layers.1.blocks.0.attn": (2, 2 * 1 * 2, 2, 18, 18),
        "layers.1.blocks.1.attn": (2, 2 * 1 * 2, 2, 18, 18),
    }
    torch.testing.assert_close(maps["layers.0.blocks.1.attn"].sum(-1), torch.ones(2, 12, 2, 18))


def test_compiled_with_shifted_windows():
    """The contract test has one block a stage, none of them shifted."""
    block = randomised(VideoSwin(TINY)).layers[0].blocks[1]
    index = VideoSwin(TINY).layers[0].index
    x = torch.randn(2, 3, 5, 7, 8)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x, index), block(x, index), rtol=1e-5, atol=1e-6)


def test_meta_then_buffers():
    with torch.device("meta"):
        model = VideoSwin(TINY)
    source = VideoSwin(TINY).eval()
    assert not any("index" in key for key in source.state_dict())
    model.load_state_dict(source.state_dict(), assign=True)
    model.reset_buffers()
    x = clip(TINY)
    torch.testing.assert_close(model.eval()(x), source(x), rtol=0, atol=0)


def test_checkpointing_gives_the_same_gradients():
    check_checkpointing(VideoSwin(TINY), clip(TINY))


def test_regularisers_act_in_training_only():
    config = TINY.replace(drop_path_rate=0.5, drop_rate=0.3, attn_drop_rate=0.3, head_drop_rate=0.3)
    model, plain = VideoSwin(config), VideoSwin(TINY)
    plain.load_state_dict(model.state_dict())
    x = clip(config)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x), model(x))
    rates = [
        m.drop_path.drop_prob for m in model.modules() if isinstance(m, Block) and hasattr(m.drop_path, "drop_prob")
    ]
    assert rates == pytest.approx([0.5 / 3, 1 / 3, 0.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": ()}, "depths.*1 to 8 stages"),
        ({"num_heads": (2, 3)}, "num_heads.*divisor of the width 16 in stage 1"),
        ({"window_size": (2, 0, 3)}, "window_size.*at least 1"),
        ({"window_size": (16, 12, 12)}, "at most 2,048 tokens in a window"),
        ({"img_size": (0, 8)}, "img_size.*at least 1"),
        ({"clipped_bias": "none"}, "clipped_bias: expected one of 'first_rows', 'geometric'"),
        ({"num_frames": 10**6, "img_size": (224, 224)}, "at most 262,144 tokens"),
        ({"drop_rate": 1.0}, "drop_rate"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ConfigError, match=message):
        TINY.replace(**changes)


def test_channels_before_frames():
    with pytest.raises(ShapeError, match="channels before frames"):
        VideoSwin(TINY)(torch.zeros(2, 3, 6, 20, 28))


class TestConvert:
    def original(self, model, prefix: str = "backbone.") -> dict:
        """Our names are those of the authors; beside them their files hold what is computed."""
        state = {prefix + k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
        state[f"{prefix}layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(18, 18, dtype=torch.long)
        head = {f"cls_head.fc_cls.{k}": v for k, v in model.head.state_dict().items()}
        return state | head

    @pytest.mark.parametrize("prefix", ["backbone.", ""])
    def test_the_authors(self, tmp_path, prefix):
        model = randomised(VideoSwin(TINY))
        whole = {"meta": {"epoch": 30}, "state_dict": self.original(model, prefix)}
        torch.save(whole, tmp_path / "swin_tiny_patch244_window877_kinetics400_1k.pth")
        config = {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "num_frames": 6, "img_size": [20, 28]}
        ours, report = converted(
            tmp_path / "swin_tiny_patch244_window877_kinetics400_1k.pth",
            tmp_path / "ours",
            "video_swin_tiny",
            config=config,
        )
        assert report.format == "original" and ours.config.window_size == (2, 3, 3)
        x = clip(TINY)
        torch.testing.assert_close(ours(x), model(x), rtol=0, atol=0)

    def test_other_windows_interpolate_the_tables(self, tmp_path):
        model = randomised(VideoSwin(TINY))
        torch.save(self.original(model), tmp_path / "w.pth")
        config = {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": [4, 5, 5]}
        ours, report = converted(tmp_path / "w.pth", tmp_path / "ours", "video_swin_tiny", config=config)
        name = "layers.1.blocks.0.attn.relative_position_bias_table"
        assert report.taken[name] == "windows 2 by 3 by 3 -> 4 by 5 by 5, trilinear"
        want = resample_table(model.state_dict()[name], (2, 3, 3), (4, 5, 5))
        torch.testing.assert_close(ours.state_dict()[name], want)
        corners = torch.tensor([0, -1])
        torch.testing.assert_close(want[corners], model.state_dict()[name][corners])

    def test_windows_that_the_tables_do_not_tell(self, tmp_path):
        config = TINY.replace(window_size=(5, 2, 2))  # 81 offsets, as 1 by 5 by 5 has
        model = randomised(VideoSwin(config))
        torch.save(self.original(model), tmp_path / "w.pth")
        asked = {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "num_frames": 6, "img_size": [20, 28]}
        with pytest.raises(ConfigError, match=r"window_size: tables of 81 .* 5 by 2 by 2 or 1 by 5 by 5.*--set"):
            converted(tmp_path / "w.pth", tmp_path / "no", "video_swin_tiny", config=asked)
        asked["window_size"] = [5, 2, 2]
        ours, _ = converted(tmp_path / "w.pth", tmp_path / "ours", "video_swin_tiny", config=asked)
        x = clip(config)
        torch.testing.assert_close(ours(x), model(x), rtol=0, atol=0)

    def test_neighbours_are_refused(self, golden, tmp_path):
        from evermodels.backbones import FrameEncoder

        frames = FrameEncoder.from_preset("swin_frames_nano").state_dict()
        state = {k.removeprefix("net."): v for k, v in frames.items()}
        state["layers.0.downsample.reduction.weight"] = state["layers.1.downsample.reduction.weight"]
        torch.save(state, tmp_path / "swin.pth")
        with pytest.raises(CheckpointError, match=r"holds Swin, not Video Swin\. swin_frames_tiny takes it"):
            converted(tmp_path / "swin.pth", tmp_path / "ours", "video_swin_tiny")
        torch.save(golden("timesformer_a")["weights"], tmp_path / "t.pth")
        with pytest.raises(CheckpointError, match="in no layout that video_swin_tiny knows"):
            converted(tmp_path / "t.pth", tmp_path / "ours", "video_swin_tiny")
        with pytest.raises(ConfigError, match=r"video_swin_tiny has embed_dim 96, the file 8"):
            torch.save(self.original(VideoSwin(TINY)), tmp_path / "w.pth")
            converted(tmp_path / "w.pth", tmp_path / "ours", "video_swin_tiny")
