"""Build hooks: API pages made from each room's ``__all__``, docstring markup, counted tables, notebook, changelog.

Nothing here is written into the repository: the pages exist in the build only. A room or a name that is added to the
package appears without a change to this file or to ``mkdocs.yml``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import griffe
import torch
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import evermodels
from evermodels.backbones.video.frame_encoder import TIMM_NAMES
from evermodels.core import registry
from evermodels.core.errors import DataError
from evermodels.datasets import data_folder
from evermodels.datasets.download import DATA_VARIABLE
from evermodels.datasets.label_rules import rule_table
from evermodels.training import benchmark_table
from evermodels.training.benchmark_results import read_csv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
API = "API reference"
CORE = (
    "evermodels.core.outputs",
    "evermodels.core.specs",
    "evermodels.core.factors",
    "evermodels.core.config",
    "evermodels.core.errors",
    "evermodels.checkpoints.base",
    "evermodels.checkpoints.report",
)
_ROLE = re.compile(r":(?:py:)?(class|func|meth|attr|data|mod|exc|obj):`~?([^`]+)`")
_MATH_ROLE = re.compile(r":math:`([^`]+)`", re.DOTALL)
_MATH_BLOCK = re.compile(
    r"^(?P<pad>[ ]*)\.\. math::[ ]*(?P<first>[^\n]*)\n(?P<rest>(?:(?P=pad)[ ]+[^\n]*\n|[ ]*\n)*)", re.M
)
_EXAMPLE = re.compile(r"^(?P<pad>[ ]*)Example:[ ]*$", re.MULTILINE)
_CODE_FOLLOWS = re.compile(r"::[ ]*$", re.MULTILINE)
_LITERAL = re.compile(r"``([^`]+(?:`[^`]+)*)``")


# --------------------------------------------------------------------------------------------- which names exist


def _rooms() -> list[str]:
    """Public submodules, as the package's own face lists them."""
    return [name for name in evermodels.__all__ if inspect.ismodule(getattr(evermodels, name))]


def _public(module_name: str) -> list[str]:
    """Names of a module in the order in which they are to be read: classes and functions first, tables last."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None)
    if names is None:
        found = vars(module).items()
        names = [n for n, v in found if not n.startswith("_") and getattr(v, "__module__", None) == module_name]
    names = [n for n in names if not n.startswith("__") and not inspect.ismodule(getattr(module, n))]
    return sorted(names, key=lambda n: (not callable(getattr(module, n)), n.lower()))


@functools.cache
def _addresses() -> dict[str, str]:
    """Where each public name is documented: short, dotted and defining names all lead there."""
    addresses: dict[str, str] = {}
    for module_name in ("evermodels", *(f"evermodels.{room}" for room in _rooms()), *CORE):
        module = importlib.import_module(module_name)
        for name in _public(module_name):
            address, value = f"{module_name}.{name}", getattr(module, name)
            home = f"{getattr(value, '__module__', module_name)}.{getattr(value, '__qualname__', name)}"
            for key in (address, home, name):
                addresses.setdefault(key, address)
            if inspect.isclass(value):
                for member in vars(value):
                    if not member.startswith("_"):
                        for key in (f"{address}.{member}", f"{home}.{member}", f"{name}.{member}"):
                            addresses.setdefault(key, f"{address}.{member}")
    return addresses


# ------------------------------------------------------------------------------------------------- API pages


def _page(title: str, module_names: list[str]) -> str:
    first = importlib.import_module(module_names[0])
    parts = [f"# {title}\n"]
    if len(module_names) == 1 and first.__doc__:
        parts.append(to_markdown(inspect.cleandoc(first.__doc__)).split("\nExamples:")[0] + "\n")
    for module_name in module_names:
        if len(module_names) > 1:
            summary = inspect.cleandoc(importlib.import_module(module_name).__doc__ or "").split("\n\n")[0]
            parts.append(f"## {module_name}\n\n{to_markdown(summary)}\n")
        level = 3 if len(module_names) > 1 else 2
        parts += [
            f"::: {module_name}.{name}\n    options:\n      heading_level: {level}\n" for name in _public(module_name)
        ]
    return "\n".join(parts)


@functools.cache
def _pages() -> dict[str, str]:
    pages = {"api/index.md": _page("evermodels", ["evermodels"])}
    for room in _rooms():
        pages[f"api/{room}.md"] = _page(f"evermodels.{room}", [f"evermodels.{room}"])
    pages["api/signals-room.md"] = _page("evermodels.signals.room", ["evermodels.signals.room"])
    pages["api/core.md"] = _page("evermodels.core and checkpoints", list(CORE))
    return pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the API section of the navigation; leave notebooks as they are whose recordings are not there."""
    try:
        os.environ[DATA_VARIABLE] = str(data_folder("eegmat").parent.resolve())  # kernels run in another folder
    except DataError:
        config.plugins["mkdocs-jupyter"].config["execute_ignore"] = ["finetune_on_your_headset.ipynb"]
    for entry in config.nav or []:
        if isinstance(entry, dict) and API in entry:
            titles = {
                "api/index.md": "evermodels",
                "api/signals-room.md": "signals.room",
                "api/core.md": "core and checkpoints",
            }
            entry[API] = [{titles.get(path, Path(path).stem): path} for path in _pages()]
    return config


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made: API reference, changelog, notebooks (executed when they are rendered)."""
    made: dict[str, str] = dict(_pages())
    made["changelog.md"] = (ROOT / "CHANGELOG.md").read_text("utf-8")
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        files.append(File(notebook.name, str(notebook.parent), config.site_dir, config.use_directory_urls))
    return files


# ------------------------------------------------------------------------------- tables counted from the presets


@functools.cache
def _count(name: str, **config: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in registry.build(name, **config).parameters())


def _rows(rows: list[tuple[object, ...]]) -> str:
    cells = [[str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "---|" * len(cells[0]), *lines[1:]])


def _presets(pattern: str) -> dict[str, Any]:
    return {name: registry.model_class(name).presets[name] for name in evermodels.list_models(pattern)}


def _clip(config: Any) -> str:
    video = config.input_spec.video
    return f"{video.num_frames} × {video.size[0]} × {video.size[1]}"


def _ever_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "EEG encoder", "video encoder", "clip", "F × T", "d", "parameters")]
    for name, c in sorted(_presets("ever_*").items(), key=lambda item: _count(item[0])):
        encoders = [
            f"`{encoder.name}`" + "".join(f", {key} {value}" for key, value in encoder.config.items())
            for encoder in c.encoders.values()
        ]
        size = f"{c.spectrogram_size[0]} × {c.spectrogram_size[1]}"
        rows.append((f"`{name}`", *encoders, _clip(c), size, c.dim, f"{_count(name):,}"))
    return _rows(rows)


def _mood_reader_presets() -> str:
    rows: list[tuple[object, ...]] = [
        ("preset", "EEG encoder", "eye encoder", "item", "entropy N × F × C", "eye features", "D", "parameters")
    ]
    for name, c in sorted(_presets("mood_reader_*").items(), key=lambda item: _count(item[0])):
        spec, shape = c.input_spec, " × ".join(map(str, c.entropy_shape()))
        encoders = [f"`{encoder.name}`" for encoder in c.encoders.values()]
        item = f"{spec.window_seconds:g} s at {spec.eeg.sfreq:g} Hz"
        rows.append((f"`{name}`", *encoders, item, shape, len(spec.eye.features), c.dim, f"{_count(name):,}"))
    return _rows(rows)


def _frame_encoder_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "timm's name", "width", "blocks", "frames", "tokens", "parameters")]
    models = {**_presets("swin_frames_*"), **_presets("vit_frames_*")}
    for name, c in models.items():
        width = c.embed_dim * 2 ** (len(c.depths) - 1)
        theirs = f"`{TIMM_NAMES[name]}`" if name in TIMM_NAMES else "–"
        blocks = " + ".join(map(str, c.depths))
        rows.append((f"`{name}`", theirs, width, blocks, _clip(c), c.tokens, f"{_count(name):,}"))
    return _rows([rows[0], *sorted(rows[1:], key=lambda row: _count(str(row[0]).strip("`")))])


def _mbsm_presets() -> str:
    rows: list[tuple[object, ...]] = [
        ("preset", "channels", "window", "patch", "spectrum", "D", "depth", "heads", "parameters")
    ]
    for name, c in sorted(_presets("mbsm_*").items(), key=lambda item: _count(item[0])):
        channels = "any" if c.channels == "positions" else f"{c.in_chans}, fixed"
        spectrum = f"{c.spectrum_bins} frequencies" if c.spectrum_bins else "–"
        sizes = (f"{c.num_samples} samples", f"{c.patch_size} samples", spectrum, c.embed_dim, c.depth, c.num_heads)
        rows.append((f"`{name}`", channels, *sizes, f"{_count(name):,}"))
    return _rows(rows)


def _milmer_presets() -> str:
    rows: list[tuple[object, ...]] = [
        ("preset", "EEG encoder", "video encoder", "window", "clip", "K", "visual tokens", "dim", "parameters")
    ]
    for name, c in sorted(_presets("milmer_*").items(), key=lambda item: _count(item[0])):
        encoders = [f"`{encoder.name}`" for encoder in c.encoders.values()]
        window = f"{c.input_spec.window_seconds:g} s at {c.input_spec.eeg.sfreq:g} Hz"
        with torch.device("meta"):
            before = c.k * registry.build(c.encoders["video"].name).config.tokens
        tokens = f"{before} → {c.num_queries}"
        rows.append((f"`{name}`", *encoders, window, _clip(c), c.k, tokens, c.dim, f"{_count(name):,}"))
    return _rows(rows)


def _label_rules() -> str:
    return _rows([("rule", "source", "classes", "ties and numbers between"), *rule_table()])


def _ever_tiny() -> str:
    c = _presets("ever_tiny")["ever_tiny"]
    spec, size = c.input_spec, " × ".join(map(str, c.spectrogram_size))
    (channels, time), (frames, _, height, width) = spec.shape("eeg"), spec.shape("video")
    return (
        f"In <code>ever_tiny</code>: C {channels}, time {time} ({spec.window_seconds:g} s at {spec.eeg.sfreq:g} Hz), "
        f"F × T {size}, {frames} frames of {height} × {width}, d {c.dim}, K {len(c.regions())}, L {c.num_classes}."
    )


def _audio_mamba_presets() -> str:
    rows: list[tuple[object, ...]] = [
        ("preset", "width", "depth", "patches", "input", "parameters, 1 channel, no head")
    ]
    for name, c in sorted(_presets("audio_mamba_*").items(), key=lambda item: _count(item[0])):
        shapes = [" × ".join(map(str, pair)) for pair in (c.patch_size, c.input_size)]
        rows.append((f"`{name}`", c.embed_dim, c.depth, *shapes, f"{_count(name):,}"))
    return _rows(rows)


def _videomae_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "width", "depth", "heads", "clip", "parameters, no head")]
    models = {**_presets("videomae_*"), **_presets("adamae_*")}
    for name, c in sorted(models.items(), key=lambda item: _count(item[0])):
        rows.append((f"`{name}`", c.embed_dim, c.depth, c.num_heads, _clip(c), f"{_count(name):,}"))
    return _rows(rows)


def _clip_presets(pattern: str) -> str:
    rows: list[tuple[object, ...]] = [("preset", "width", "depth", "heads", "clip", "parameters, no head")]
    for name, c in sorted(_presets(pattern).items(), key=lambda item: _count(item[0])):
        stages = [c.depths, c.num_heads] if hasattr(c, "depths") else [(c.depth,), (c.num_heads,)]
        depths, heads = (" + ".join(map(str, values)) for values in stages)
        rows.append((f"`{name}`", c.embed_dim, depths, heads, _clip(c), f"{_count(name):,}"))
    return _rows(rows)


def _system_presets(pattern: str) -> str:
    rows: list[tuple[object, ...]] = [("preset", "encoders", "d", "parameters")]
    for name, c in sorted(_presets(pattern).items(), key=lambda item: _count(item[0])):
        encoders = ", ".join(f"{modality} `{encoder.name}`" for modality, encoder in c.encoders.items())
        rows.append((f"`{name}`", encoders, c.dim, f"{_count(name):,}"))
    return _rows(rows)


def _baseline_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "one sample", "embedding", "parameters, no head")]
    for stem in ("dgcnn", "rgnn", "sognn", "bfe_net", "eegnet", "spd_net"):
        for name in sorted(_presets(f"{stem}_*"), key=_count):
            with torch.device("meta"):
                model = registry.build(name)
            shape = " × ".join(map(str, model.sample_shape))
            rows.append((f"`{name}`", shape, model.embed_dim, f"{_count(name):,}"))
    return _rows(rows)


def _ast_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "width", "depth", "heads", "frames × mels", "step", "parameters")]
    for name, c in sorted(_presets("ast_*").items(), key=lambda item: _count(item[0])):
        size, step = f"{c.num_frames} × {c.num_mels}", f"{c.stride[0]} × {c.stride[1]}"
        rows.append((f"`{name}`", c.embed_dim, c.depth, c.num_heads, size, step, f"{_count(name):,}"))
    return _rows(rows)


def _eegformer_presets() -> str:
    rows: list[tuple[object, ...]] = [
        ("preset", "features C", "width D", "depth", "segments M", "temporal", "parameters")
    ]
    for name, c in sorted(_presets("eegformer_*").items(), key=lambda item: _count(item[0])):
        rows.append((f"`{name}`", c.num_filters, c.dim, c.depth, c.num_segments, c.temporal_width, f"{_count(name):,}"))
    return _rows(rows)


def _series_presets(family: str) -> str:
    rows: list[tuple[object, ...]] = [
        (
            "preset",
            "window",
            "width",
            "depth",
            "heads",
            "hidden",
            "tokens from",
            "pool",
            "embedding",
            "parameters, no head",
        )
    ]
    for name, c in sorted(_presets(f"{family}_*").items(), key=lambda item: _count(item[0])):
        with torch.device("meta"):
            width = registry.build(name, num_classes=0).embed_dim
        if family == "patchtst":
            tokens = f"{c.patch_size} samples every {c.stride}"
        elif family == "itransformer":
            tokens = "a channel's window"
        elif family == "crossformer":
            tokens = f"{c.segment_size} samples, {c.num_routers} routers"
        else:
            tokens = ", ".join(map(str, c.patch_sizes)) + " samples"
        sizes = (f"{c.in_chans} × {c.num_samples}", c.embed_dim, c.depth, c.num_heads, c.mlp_dim, tokens)
        rows.append((f"`{name}`", *sizes, f"`{c.pool}`", f"{width:,}", f"{_count(name):,}"))
    return _rows(rows)


def _parameters() -> str:
    rows: list[tuple[object, ...]] = [("model", "paper, M", "ours, M", "gap", "reference, M", "what is known")]
    quiet = ("num_classes", "in_chans", "input_size")
    for row in tomllib.loads((ROOT / "docs" / "parameters.toml").read_text("utf-8"))["model"]:
        ours, gaps = [], []
        for one in row.get("ours", ()):
            config = {k: tuple(v) if isinstance(v, list) else v for k, v in one.get("config", {}).items()}
            count = _count(one["preset"], **config) / 1e6
            said = "".join(f", {key} {value}" for key, value in config.items() if key not in quiet)
            ours.append(f"{count:.3f} `{one['preset']}`{said}")
            gap = 100 * (count / row["paper"] - 1)
            gaps.append(f"{gap:+{'.0f' if abs(gap) >= 10 else '.2g'}} %".replace("-", "−") if gap < 10_000 else "–")
        sides = (f"{row['paper']:.3f}", "<br>".join(ours) or "–", "<br>".join(gaps) or "–")
        rows.append((row["title"], *sides, row.get("reference", ""), row["known"]))
    return _rows(rows)


def _benchmark(dataset: str) -> str:
    rows = read_csv((ROOT / "docs" / "results" / "benchmark.csv").read_text("utf-8"))
    if not any(row["dataset"] == dataset for row in rows):
        return "*Not run yet.*"
    return benchmark_table(rows, dataset)


def _parity() -> str:
    content = json.loads((ROOT / "docs" / "parity.json").read_text("utf-8"))
    head = ("model", "against", "size", "logits, float32", "logits, float64", "gradient of the input, float32")
    rows: list[tuple[object, ...]] = [head]
    for row in sorted(content["rows"], key=lambda row: row["model"].lower()):
        errors = ("–" if row[k] is None else f"{row[k]:.1e}" for k in ("logits", "double", "gradient"))
        rows.append((row["model"], row["reference"], row["size"], *errors))
    return _rows(rows)


def _all_presets() -> str:
    rows: list[tuple[object, ...]] = [("preset", "takes", "what", "parameters")]
    for name, row in registry.MODELS.items():
        if row.kind == "backbone":
            rows.append((f"`{name}`", ", ".join(row.takes), row.summary, f"{_count(name, num_classes=0):,}"))
    return _rows(rows)


_COUNTED = {
    "ever presets": _ever_presets,
    "frame encoder presets": _frame_encoder_presets,
    "milmer presets": _milmer_presets,
    "mbsm presets": _mbsm_presets,
    "label rules": _label_rules,
    "mood_reader presets": _mood_reader_presets,
    "ever_tiny": _ever_tiny,
    "audio_mamba presets": _audio_mamba_presets,
    "videomae presets": _videomae_presets,
    "timesformer presets": functools.partial(_clip_presets, "timesformer_*"),
    "video_swin presets": functools.partial(_clip_presets, "video_swin_*"),
    "vivit presets": functools.partial(_clip_presets, "vivit_*"),
    "series patchtst": functools.partial(_series_presets, "patchtst"),
    "series itransformer": functools.partial(_series_presets, "itransformer"),
    "series crossformer": functools.partial(_series_presets, "crossformer"),
    "series medformer": functools.partial(_series_presets, "medformer"),
    "all presets": _all_presets,
    **{
        f"benchmark {name}": functools.partial(_benchmark, name)
        for name in ("eegmat-1", "eegmat-2", "faces", "quadrant", "congruence")
    },
    "parameters": _parameters,
    "parity": _parity,
    "trimodal presets": functools.partial(_system_presets, "trimodal_*"),
    "ast presets": _ast_presets,
    "eegformer presets": _eegformer_presets,
    "mercl presets": functools.partial(_system_presets, "mercl_*"),
    "hicmae presets": functools.partial(_system_presets, "hicmae_*"),
    "tvlt presets": functools.partial(_system_presets, "tvlt_*"),
    "baseline presets": _baseline_presets,
}


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put counted tables where a page says ``<!-- counted: NAME -->``, so that no number is copied by hand.

    Args:
        markdown: The page.
        **kwargs: Not used.
    """
    return re.sub(r"<!-- counted: ([\w -]+?) -->", lambda match: _COUNTED[match[1]](), markdown)


# ----------------------------------------------------------------------------------------- docstring markup


def _equations(match: re.Match[str]) -> str:
    """A ``.. math::`` block as one display equation; blank lines in it separate equations."""
    pad = match["pad"]
    body = inspect.cleandoc("\n" + match["rest"]) if match["rest"].strip() else ""
    body = "\n\n".join(part for part in (match["first"].strip(), body) if part)
    equations = [part.strip() for part in re.split(r"\n\s*\n", body) if part.strip()]
    equations = [rf"\begin{{aligned}} {e} \end{{aligned}}" if r"\\" in e or "&" in e else e for e in equations]
    blocks = [pad + "\\[\n" + "\n".join(pad + line for line in e.splitlines()) + "\n" + pad + "\\]" for e in equations]
    return "\n" + "\n\n".join(blocks) + "\n\n"


def _reference(match: re.Match[str]) -> str:
    kind, name = match[1], match[2].strip()
    short = name.removeprefix("~").rsplit(".", 1)[-1] if match[0].split("`")[1].startswith("~") else name
    text = f"`{short}()`" if kind in ("func", "meth") else f"`{short}`"
    address = _addresses().get(name)
    return f"[{text}][{address}]" if address else text


def to_markdown(text: str) -> str:
    """Turn the little reStructuredText of our docstrings (math, literals, references) into Markdown.

    Args:
        text: A docstring.
    """
    text = _MATH_BLOCK.sub(_equations, text + "\n").rstrip("\n")
    text = _MATH_ROLE.sub(lambda m: rf"\({' '.join(m[1].split())}\)", text)
    text = _ROLE.sub(_reference, text)
    text = _CODE_FOLLOWS.sub(":", text)
    text = _EXAMPLE.sub(r"\g<pad>Examples:", text)  # the name under which Griffe knows doctests
    return _LITERAL.sub(lambda m: f"`{m[1]}`", text)


class Docstrings(griffe.Extension):
    """Griffe extension: every docstring passes :func:`to_markdown`, and named tuples get their constructor."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object.

        Args:
            obj: The object that was just read.
            **kwargs: Not used.
        """
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Give a named tuple the constructor that Python makes of its fields, as Griffe does for dataclasses.

        Args:
            cls: The class that was just read.
            **kwargs: Not used.
        """
        if "__init__" in cls.members or not any(str(base).endswith("NamedTuple") for base in cls.bases):
            return
        kind = griffe.ParameterKind.positional_or_keyword
        fields = [member for member in cls.members.values() if member.is_attribute and member.annotation is not None]
        init = griffe.Function(
            "__init__",
            parent=cls,
            parameters=griffe.Parameters(
                griffe.Parameter("self", kind=kind),
                *(griffe.Parameter(f.name, annotation=f.annotation, kind=kind, default=f.value) for f in fields),
            ),
        )
        cls.set_member("__init__", init)
