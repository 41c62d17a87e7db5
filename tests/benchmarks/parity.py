"""How far each encoder is from its reference on shared random weights; writes ``docs/parity.json`` with ``--write``.

Run with ``python tests/benchmarks/parity.py``. The authors' code is there by its numbers (``tests/golden``), and
transformers and torchvision by themselves, with the published widths and depths on small inputs. Ours is made by the
converter, as a user would. Errors are max|Δ| / max|reference| of the logits (in float32, and in float64 where the
reference can be run in it) and of the gradient that reaches the input.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from evermodels.checkpoints.convert import load_foreign
from evermodels.checkpoints.foreign_format import Request

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "parity.json"
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        model: The family.
        reference: Whose numbers.
        size: What was compared.
        logits: Error in float32.
        double: Error in float64, where the reference can be run in it without tables of float32.
        gradient: Error of the gradient of the input, where the reference gives one.
    """

    model: str
    reference: str
    size: str
    logits: float
    double: float | None = None
    gradient: float | None = None


def relative(got: Tensor, want: Tensor) -> float:
    """Return max|Δ| / max|reference|."""
    assert got.shape == want.shape
    return ((got - want).abs().max() / want.abs().max()).item()


# ------------------------------------------------------------------------------------- numbers of the authors' code


def clip(numbers: Mapping[str, Tensor]) -> Inputs:
    return {"x": numbers["x"].transpose(1, 2)}


def series(numbers: Mapping[str, Tensor]) -> Inputs:
    return {"x": numbers["x"].mT}


def picture(numbers: Mapping[str, Tensor]) -> Inputs:
    return {"x": numbers["x"].mT[:, None]}


def sound(numbers: Mapping[str, Tensor]) -> Inputs:
    video = numbers["video"] if "video" in numbers else numbers["x"].transpose(1, 2)
    return {"video": video, "audio": numbers["audio" if "audio" in numbers else "x_audio"][:, 0]}


def spec(frames: int) -> dict[str, Any]:
    return {
        "window_seconds": 0.335,
        "video": {"num_frames": frames, "size": [16, 16]},
        "audio": {"n_mels": 16, "mean": 0.0, "std": 1.0},
    }


_SMALL = {"embed_dim": 16, "depth": 2, "num_heads": 4}
_CLIP = {"num_frames": 8, "img_size": [16, 16], "depth": 2}
_SWIN = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4], "num_frames": 8, "img_size": [32, 32]}
_AUM = {"embed_dim": 16, "depth": 2}
_TVLT = {"num_heads": 2, "depth": 2, "input_spec": spec(2)}
GOLDEN: dict[str, tuple[str, str, str, Callable[[Mapping[str, Tensor]], Inputs], dict[str, Any]]] = {
    # file: family, whose code, architecture, how its inputs enter, what is asked of the converter
    "videomae_a": ("VideoMAE", "authors", "videomae_base", clip, {**_CLIP, "embed_dim": 24, "num_heads": 3}),
    "adamae_finetune_a": ("AdaMAE", "authors", "videomae_base", clip, {**_CLIP, "embed_dim": 16, "num_heads": 4}),
    "timesformer_a": ("TimeSformer", "authors", "timesformer_base", clip, {**_SMALL, "num_heads": 2}),
    "video_swin_a": ("Video Swin", "torchvision, its numbers kept", "video_swin_tiny", clip, _SWIN),
    "patchtst_a": (
        "PatchTST", "Time-Series-Library", "patchtst_base", series, {**_SMALL, "num_samples": 48, "stride": 8},
    ),
    "itransformer_a": ("iTransformer", "Time-Series-Library", "itransformer_base", series, _SMALL),
    "crossformer_tsl_a": ("Crossformer", "Time-Series-Library", "crossformer_base", series, _SMALL),
    "crossformer_a": ("Crossformer", "authors, last scale", "crossformer_base", series, _SMALL),
    "medformer_a": ("Medformer", "authors", "medformer_base", series, {**_SMALL, "num_samples": 32}),
    "medformer_single_channel_a": (
        "Medformer", "authors, channels apart", "medformer_base", series,
        {"embed_dim": 8, "depth": 1, "num_heads": 2, "num_samples": 20},
    ),
    "aum_fofo_a": ("Audio-Mamba", "authors, Fo-Fo", "audio_mamba_tiny", picture, _AUM),
    "aum_fobi_a": ("Audio-Mamba", "authors, Fo-Bi", "audio_mamba_tiny", picture, _AUM),
    "aum_bibi_a": ("Audio-Mamba", "authors, Bi-Bi", "audio_mamba_tiny", picture, _AUM),
    "tvlt_a": ("TVLT", "authors", "tvlt_audio_base", sound, _TVLT),
    "tvlt_transformers_a": ("TVLT", "transformers 4.40.2, its numbers kept", "tvlt_audio_base", sound, _TVLT),
    "hicmae_a": ("HiCMAE", "authors", "hicmae_audio_base", sound, {"num_heads": 2, "input_spec": spec(4)}),
}  # fmt: skip
_FLOAT32_TABLES = ("patchtst_a", "crossformer_tsl_a", "medformer_a", "medformer_single_channel_a")
_HUGGING = {"model_type": "tvlt", "hidden_act": "gelu", "num_attention_heads": 2, "layer_norm_eps": 1e-6}


def answer(model: nn.Module, inputs: Inputs, name: str) -> Tensor:
    """Return what is compared: logits, or of a forecaster the last scale."""
    if name == "crossformer_a":
        scales: tuple[Tensor, ...] = model.forward_scales(inputs["x"])  # type: ignore[operator]
        return scales[-1]
    out = model(**inputs)
    logits: Tensor = out if isinstance(out, Tensor) else out.logits
    return logits


def recorded(name: str) -> Row:
    """Compare with the numbers of a file."""
    family, whose, architecture, enter, asked = GOLDEN[name]
    numbers: dict[str, dict[str, Tensor]] = {}
    with safe_open(ROOT / "tests" / "golden" / f"{name}.safetensors", "pt") as file:
        for key in file.keys():
            group, _, rest = key.partition("/")
            numbers.setdefault(group, {})[rest] = file.get_tensor(key)
    request = Request(asked, (32, 48) if name.startswith("aum") else None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        torch.save(numbers["weights"], path / "pytorch_model.bin")
        if name == "tvlt_transformers_a":
            (path / "config.json").write_text(json.dumps(_HUGGING))
        model = load_foreign(path, architecture, request=request).model
    key = "logits" if "logits" in numbers["output"] else max(k for k in numbers["output"] if k.startswith("scale"))
    inputs = enter(numbers["input"])
    with torch.no_grad():
        logits = relative(answer(model, inputs, name), numbers["output"][key])
    gradient = None
    if ("input/x" in numbers["grad"] and key == "logits") or "input/video" in numbers["grad"]:
        leaf = numbers["input"]["video" if "video" in numbers["input"] else "x"].clone().requires_grad_()
        given = {k: v for k, v in numbers["input"].items() if k not in ("x", "video")}
        given["video" if "video" in numbers["input"] else "x"] = leaf
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attn_drop"):
                module.attn_drop = 0.0
        model.train()
        if hasattr(model, "augment"):
            model.augment.eval()
        (answer(model, enter(given), name) * numbers["input"]["cotangent"]).sum().backward()
        gradient = relative(leaf.grad, numbers["grad"]["input/video" if "video" in numbers["input"] else "input/x"])
    double = None
    if "output64" in numbers and name not in _FLOAT32_TABLES:
        with torch.no_grad():
            found = answer(model.double().eval(), {k: v.double() for k, v in inputs.items()}, name)
        double = relative(found, numbers["output64"][key])
    dim, depth = getattr(model.config, "embed_dim", None), getattr(model.config, "depth", None)
    size = f"{dim or getattr(model.config, 'dim', '')} wide, {depth or 2} deep"
    return Row(family, whose, size, logits, double, gradient)


# ---------------------------------------------------------------------------------------- packages, published sizes


def randomised(model: nn.Module) -> nn.Module:
    """Draw all parameters anew, so that none is zero or one, and small enough for many blocks."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0, 0.1) if parameter.ndim == 1 and "norm" in name else parameter.normal_(std=0.03)
    return model.eval()


def hugging(kind: str, architecture: str, **config: Any) -> tuple[nn.Module, nn.Module, Callable[[Tensor], Tensor]]:
    """Return transformers' model of published size, and ours converted from its folder."""
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # its wheel may not fit the torch that is there
    import transformers

    suffix = "ForClassification" if kind == "PatchTST" else "ForVideoClassification"
    theirs = randomised(getattr(transformers, f"{kind}{suffix}")(getattr(transformers, f"{kind}Config")(**config)))
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = load_foreign(folder, architecture).model
    if kind == "PatchTST":
        return ours, theirs, lambda x: theirs(x.mT).prediction_logits
    return ours, theirs, lambda x: theirs(x).logits


def swin(size: str) -> tuple[nn.Module, nn.Module, Callable[[Tensor], Tensor]]:
    """Return torchvision's Video Swin of a published size, and ours converted from its file."""
    from torchvision.models import video

    theirs = randomised(getattr(video, f"swin3d_{size[0]}")(num_classes=5))
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "w.pth")
        request = Request({"num_frames": 8, "img_size": [64, 64]})
        ours = load_foreign(Path(folder) / "w.pth", f"video_swin_{size}", request=request).model
    return ours, theirs, lambda x: theirs(x.transpose(1, 2))


_FEW = {"image_size": 64, "num_frames": 8, "num_labels": 5}
PACKAGES: dict[str, tuple[str, Callable[[], tuple[nn.Module, nn.Module, Callable[[Tensor], Tensor]]]]] = {
    "VideoMAE": ("transformers", lambda: hugging("VideoMAE", "videomae_base", **_FEW)),
    "ViViT": ("transformers", lambda: hugging("Vivit", "vivit_base", **_FEW)),
    "TimeSformer": ("transformers", lambda: hugging("Timesformer", "timesformer_base", **_FEW)),
    "PatchTST": (
        "transformers",
        lambda: hugging(
            "PatchTST", "patchtst_base", num_input_channels=19, context_length=512, patch_length=16, patch_stride=8,
            d_model=128, num_attention_heads=16, num_hidden_layers=3, ffn_dim=256, num_targets=5, head_dropout=0.0,
        ),
    ),
    "Video Swin, tiny": ("torchvision", lambda: swin("tiny")),
    "Video Swin, small": ("torchvision", lambda: swin("small")),
    "Video Swin, base": ("torchvision", lambda: swin("base")),
}  # fmt: skip


def installed(name: str) -> Row:
    """Compare with a package, the published widths and depths on a small input."""
    package, make = PACKAGES[name]
    torch.manual_seed(0)
    ours, theirs, call = make()
    x = torch.randn(1, *ours.sample_shape)  # type: ignore[misc]
    with torch.no_grad():
        want = call(x)
        logits = relative(ours(x), want)
    weight, grads = torch.randn_like(want), []
    for model in (ours, call):
        leaf = x.clone().requires_grad_()
        (model(leaf) * weight).sum().backward()
        grads.append(leaf.grad)
    with torch.no_grad():
        theirs.double()
        double = relative(ours.double()(x.double()), call(x.double()))
    c: Any = ours.config
    depths = "+".join(map(str, c.depths)) if hasattr(c, "depths") else c.depth
    version = importlib.metadata.version(package)
    return Row(name, f"{package} {version}", f"{c.embed_dim} wide, {depths} deep", logits, double, relative(*grads))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*GOLDEN, *PACKAGES], help="some of them (default: all)")
    parser.add_argument("--write", action="store_true", help="write docs/parity.json, from which the page is made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = arguments.only or [*PACKAGES, *GOLDEN]
    rows = []
    for name in wanted:
        rows.append(row := recorded(name) if name in GOLDEN else installed(name))
        errors = " ".join("-" if e is None else f"{e:.1e}" for e in (row.logits, row.double, row.gradient))
        print(f"{row.model:20} {row.reference:40} {row.size:22} {errors}", flush=True)
    if arguments.write:
        have = json.loads(TABLE.read_text("utf-8"))["rows"] if TABLE.is_file() and arguments.only else []
        new = {(row.model, row.reference): asdict(row) for row in rows}
        kept = {(row["model"], row["reference"]): row for row in have}
        content = {"torch": torch.__version__.split("+")[0], "rows": list((kept | new).values())}
        TABLE.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
