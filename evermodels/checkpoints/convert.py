"""Conversion of foreign weights into a checkpoint of ours: every tensor is taken, named as left, or an error."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from evermodels.checkpoints.config_file import CONFIG_NAME
from evermodels.checkpoints.foreign import ForeignFile, read_foreign
from evermodels.checkpoints.foreign_format import ForeignFormat, Request
from evermodels.checkpoints.read import not_finite
from evermodels.checkpoints.report import count, merge_names, short_name, table_lines
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import (
    CheckpointError,
    ConfigError,
    EvermodelsError,
    UnknownNameError,
    boundary,
    did_you_mean,
    quoted,
    reason,
)
from evermodels.core.memory import physical_memory
from evermodels.core.text import one_line, visible

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel

# An architecture's name promises these: a file of another size is another architecture.
PROMISED = ("family", "embed_dim", "depth", "depths", "num_heads")


@dataclass(frozen=True)
class ConversionReport:
    """What became of each tensor of a foreign file and of our model; prints as a table.

    Args:
        source: The foreign file.
        architecture: Our architecture.
        format: Name of the layout that the file was read in.
        taken: Our tensors that hold the file's values, and what was done to those that do not fit as they are.
        fresh: Our tensors that keep their initial values, and why.
        left: The file's tensors (and other contents) that are not taken, and why.
        config: Configuration values that differ from the architecture's own, and who says so.
        faults: Names that do not fit, by kind of fault. Nothing is written when there is one.

    Example:
        >>> left = {"mask_token": "decoder"}
        >>> print(ConversionReport("a.pth", "videomae_base", "original", taken={"head.bias": ""}, left=left))
        a.pth -> videomae_base (format original): 1 tensors taken, 1 left
          taken  1  head.bias
          left   1  mask_token  (decoder)
    """

    source: str
    architecture: str
    format: str
    taken: Mapping[str, str] = field(default_factory=dict)
    fresh: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        kinds = {"taken": self.taken, "fresh": self.fresh, "left": self.left, **self.faults}
        head = f"{self.source} -> {self.architecture} (format {self.format}): {count(kinds, 'taken')}"
        lines = table_lines({**kinds, "config": {}})
        said = (f"  config  {key} = {one_line(value)}" for key, value in self.config.items())
        return visible("\n".join([one_line(head), *lines, *said]))

    def raise_faults(self) -> None:
        """Raise a :class:`CheckpointError` that shows the table, if anything does not fit.

        Raises:
            CheckpointError: If there is at least one fault.
        """
        if any(self.faults.values()):
            raise CheckpointError(
                f"The file does not fit {self.architecture}, and nothing was written.\n{self}\n"
                "Choose the architecture that the file holds, or give its values with --set KEY=VALUE."
            )


@dataclass(frozen=True)
class Conversion:
    """A model with foreign weights, not yet written.

    Args:
        model: The model, in evaluation mode.
        report: What was taken from where.
        file: The file that was read.
        format: The layout that it was read in.
    """

    model: PretrainedModel
    report: ConversionReport
    file: ForeignFile
    format: ForeignFormat


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    architecture: str,
    licence: str,
    format: str | None = None,
    num_classes: int | None = None,
    origin: str | None = None,
    source_size: Sequence[int] | None = None,
    spread_channels: bool = False,
    config: Mapping[str, Any] | None = None,
) -> ConversionReport:
    """Write foreign weights as a checkpoint folder of ours.

    Args:
        source: A ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, or a folder that holds one.
        out: The folder to write; must not exist, or be empty.
        architecture: A name that ``list_models()`` shows, such as ``"videomae_base"``.
        licence: Licence of the weights as the Hub spells it, such as ``"cc-by-nc-4.0"``; it stays with them.
        format: Layout of the file; default the one that its names show.
        num_classes: Another number of classes: the head alone gets random weights; 0 for the embedding.
        origin: Where the file comes from, for the card: a Hub repository or an address; default the file's name.
        source_size: Height and width of the inputs that the file was trained on, where it does not say.
        spread_channels: Whether the patch embedding may be spread over another number of input channels.
        config: Configuration values that differ from the architecture's and from the file's.

    Returns:
        What was taken, changed, left and initialised; the same text as ``print(report)``.

    Raises:
        CheckpointError: If the file would run code, is damaged, or does not fit; nothing is written then.
        ConfigError: If a value does not fit, or ``out`` is not empty.
        UnknownNameError: If there is no such architecture or format.
    """
    folder = Path(out)
    if not isinstance(licence, str) or not licence.strip():
        known = "; ".join(f"{f.name}: {f.published}" for f in registry.model_class(architecture).foreign_formats)
        raise ConfigError(
            f"licence: expected the licence of the weights, got nothing. Look it up where they come from "
            f"(those published in a layout that {architecture} knows: {known or 'none'}), and give --licence."
        )
    with boundary(ConfigError, f"out: {folder} cannot be used", "Choose a folder that you may write."):
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise ConfigError(f"out: {folder} is not an empty folder. Choose a new one, so that nothing is overwritten.")
    asked = {**(config or {}), **({} if num_classes is None else {"num_classes": num_classes})}
    request = Request(asked, _source_size(source_size), spread_channels)
    done = load_foreign(source, architecture, format=format, request=request)
    done.model.save_pretrained(folder, training=_provenance(done, licence.strip(), origin))
    return done.report


def load_foreign(
    source: str | os.PathLike[str], architecture: str, *, format: str | None = None, request: Request | None = None
) -> Conversion:
    """Build a model with foreign weights in memory; see :func:`convert`.

    Args:
        source: A file, or a folder that holds one.
        architecture: A name that ``list_models()`` shows.
        format: Layout of the file; default the one that its names show.
        request: What else is asked for.

    Raises:
        CheckpointError: If the file would run code, is damaged, or does not fit.
        ConfigError: If a value does not fit.
        UnknownNameError: If there is no such architecture or format.
    """
    request = request or Request()
    cls = registry.model_class(architecture)
    if request.source_size is not None and not any(f.asks_size for f in cls.foreign_formats):
        raise ConfigError(f"source_size: no layout of {architecture} asks for it. Leave it out.")
    file = read_foreign(os.fspath(source))
    layout = _choose(cls, architecture, file, format)
    what, way_out = f"{file.path}: it does not fit {architecture}", "Choose the architecture that the file holds."
    with boundary(CheckpointError, what, way_out):
        return _fill(cls, architecture, file, layout, request)


def _fill(cls: Any, architecture: str, file: ForeignFile, layout: ForeignFormat, request: Request) -> Conversion:
    parts, left, faults = _map_names(layout, file.tensors)
    ours = {name: _join(pieces, name, file) for name, pieces in parts.items()}
    facts = layout.facts(ours, file.config or {}, request)
    classes = facts.pop("classes", None)
    config, said = _configure(cls, architecture, layout, facts, request)
    _check_size(cls, config)
    ours, fresh, dropped = _head(cls, ours, config, facts, parts)
    taken = dict.fromkeys(ours, "")
    for name, fit in layout.fit.items():
        if name in ours:
            ours[name], taken[name] = fit(ours[name], config, facts, request)
    floats = [tensor.dtype for tensor in ours.values() if tensor.is_floating_point()] or [torch.float32]
    model = cls(config).to(reduce(torch.promote_types, floats))
    state = model.state_dict()
    initial = layout.fresh(list(ours))
    for name in state:
        if name not in ours and (why := next((w for p, w in initial.items() if name.startswith(p)), None)):
            fresh[name] = why
    _compare(ours, state, fresh, faults)
    taken = {name: how for name, how in taken.items() if not any(name in names for names in faults.values())}
    report = ConversionReport(
        str(file.path), architecture, layout.name, taken, fresh, {**left, **dropped, **file.beside}, said, faults
    )
    report.raise_faults()
    model.load_state_dict({**state, **ours}, strict=True)
    model.architecture = architecture
    if classes is not None and config.num_classes == len(classes):
        model.classes = tuple(classes)
    return Conversion(model.eval(), report, file, layout)


def _check_size(cls: Any, config: Config) -> None:
    """Refuse a configuration whose model the machine cannot hold, before any of its memory is asked for."""
    try:
        with torch.device("meta"):
            size = sum(tensor.nbytes for tensor in cls(config).state_dict().values())
        if size > (most := physical_memory()):
            raise ConfigError(f"{size:,} bytes of weights, and this machine has {most:,.0f} of memory")
    except (EvermodelsError, RuntimeError, ArithmeticError, TypeError, ValueError) as error:
        values = {key: value for key, value in config.to_dict().items() if value is not None}
        raise ConfigError(
            f"config: {cls.__name__} cannot be built from {quoted(values, 600)} ({reason(error)}). Give other values "
            "with --set KEY=VALUE or --num-classes N."
        ) from error


def _source_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    if not isinstance(size, Sequence) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ConfigError(f"source_size: expected [height, width] in whole numbers above 0, got {quoted(size)}.")
    return size[0], size[1]


def _choose(cls: Any, architecture: str, file: ForeignFile, name: str | None) -> ForeignFormat:
    formats = {layout.name: layout for layout in cls.foreign_formats}
    if not formats:
        raise ConfigError(f"architecture: {architecture} has no foreign layout that could be converted.")
    if name is not None:
        if name not in formats:
            raise UnknownNameError(
                f"format: {architecture} has no {quoted(name)}.{did_you_mean(name, formats)} "
                f"It has: {', '.join(formats)}."
            )
        chosen = formats[name]
    else:
        signed = [f for f in formats.values() if any(re.fullmatch(f.sign, key) for key in file.tensors)]
        if len(signed) != 1:
            first = ", ".join(map(short_name, merge_names(file.tensors)[:8]))
            known = "; ".join(f"{f.name}: {f.summary}" for f in formats.values())
            raise CheckpointError(
                f"{file.path}: in no layout that {architecture} knows ({known}). Its names begin with: {first}. "
                "Choose another architecture, or give the layout with --format."
            )
        chosen = signed[0]
    if chosen.needs_config and file.config is None:
        raise CheckpointError(
            f"{file.path}: expected {CONFIG_NAME} in the same folder, since this layout keeps sizes there that the "
            "weights do not tell. Give the folder as it was saved."
        )
    return chosen


def _map_names(
    layout: ForeignFormat, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, dict[int, str]], dict[str, str], dict[str, dict[str, str]]]:
    """Return the foreign names of each part of our tensors, the names that are left, and those without a place."""
    parts: dict[str, dict[int, str]] = {}
    left: dict[str, str] = {}
    faults: dict[str, dict[str, str]] = {"unexpected": {}, "doubled": {}}
    for key in tensors:
        for pattern, target in layout.keys.items():
            if match := re.fullmatch(pattern, key):
                name, _, part = match.expand(target).partition("@")
                other = parts.setdefault(name, {}).setdefault(int(part or 0), key)
                if other != key:
                    faults["doubled"][key] = f"the same tensor as {short_name(other)}"
                break
        else:
            why = next((w for pattern, w in layout.left.items() if re.fullmatch(pattern, key)), None)
            if why is None:
                faults["unexpected"][key] = "in the file, without a place in our model"
            else:
                left[key] = why
    return parts, left, faults


def _join(parts: Mapping[int, str], name: str, file: ForeignFile) -> Tensor:
    pieces = [file.tensors[parts[k]] for k in sorted(parts)]
    if len(pieces) == 1:
        return pieces[0]
    if len({p.shape for p in pieces}) != 1 or not pieces[0].ndim:
        raise CheckpointError(
            f"{name}: its parts {', '.join(map(short_name, parts.values()))} differ in shape and cannot be joined."
        )
    return torch.cat(pieces)


def _configure(
    cls: Any, architecture: str, layout: ForeignFormat, facts: Mapping[str, Any], request: Request
) -> tuple[Any, dict[str, str]]:
    """Return the configuration: the user's values before the file's before the architecture's, and who said what."""
    preset: Config = cls.presets[architecture]
    asked = request.config
    for key in PROMISED:
        own = getattr(preset, key, None)
        if key in facts and key not in asked and facts[key] != own:
            sizes = {k: facts[k] for k in PROMISED if k in facts}
            fits = [n for n, c in cls.presets.items() if all(getattr(c, k, v) == v for k, v in sizes.items())]
            way_out = f"Choose {' or '.join(fits)}" if fits else "Choose the nearest architecture"
            given = " ".join(f"--set {k}={v}" for k, v in sizes.items())
            raise ConfigError(
                f"architecture: {architecture} has {key} {own}, the file {quoted(facts[key])}. {way_out}, "
                f"or give {given}."
            )
    config = preset.replace(**{**facts, **asked})
    for key, other in layout.unread.items():
        if key not in facts and key not in asked and getattr(config, other) != getattr(preset, other):
            raise ConfigError(
                f"{key}: the file does not tell it, and {architecture}'s {getattr(preset, key)} belongs to {other} "
                f"{getattr(preset, other)}, not {getattr(config, other)}. Give it with --set {key}=N."
            )
    said = {}
    for key, value in config.to_dict().items():
        file_says = list(facts[key]) if isinstance(facts.get(key), tuple) else facts.get(key)
        if key in asked and key in facts and value != file_says:
            said[key] = f"{value!r} (asked for; the file: {file_says!r})"
        elif value != preset.to_dict()[key]:
            said[key] = f"{value!r} ({'asked for' if key in asked else 'from the file'})"
    return config, said


def _head(
    cls: Any,
    ours: dict[str, Tensor],
    config: Any,
    facts: Mapping[str, Any],
    parts: Mapping[str, Mapping[int, str]],
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """Leave the file's head where another number of classes is asked for: what is kept, fresh and left."""
    old, new = facts.get("num_classes"), getattr(config, "num_classes", None)
    if old is None or old == new:
        return ours, {}, {}
    why = f"num_classes {old} -> {new}" if old else f"num_classes {new}, and no head in the file"
    prefixes = cls.head_prefixes
    kept = {name: tensor for name, tensor in ours.items() if not name.startswith(prefixes)}
    left = {key: why for name in ours if name not in kept for key in parts[name].values()}
    with torch.device("meta"):
        fresh = {name: why for name in cls(config).state_dict() if name.startswith(prefixes)}
    return kept, fresh, left


def _compare(
    ours: Mapping[str, Tensor], state: Mapping[str, Tensor], fresh: Collection[str], faults: dict[str, dict[str, str]]
) -> None:
    faults |= {kind: {} for kind in ("missing", "shape", "dtype", "not finite")}
    for name, tensor in state.items():
        if name in fresh:
            continue
        if name not in ours:
            faults["missing"][name] = "in our model, not in the file"
        elif ours[name].shape != tensor.shape:
            faults["shape"][name] = f"{tuple(ours[name].shape)} from the file, {tuple(tensor.shape)} in our model"
        elif ours[name].is_floating_point() != tensor.is_floating_point():
            faults["dtype"][name] = f"{ours[name].dtype} from the file, {tensor.dtype} in our model"
        elif why := not_finite(ours[name]):
            faults["not finite"][name] = why
    for name in ours:
        if name not in state:
            faults["unexpected"][name] = "in the file, not in our model with this configuration"


def _provenance(done: Conversion, licence: str, origin: str | None) -> dict[str, Any]:
    report, file, layout = done.report, done.file, done.format
    source = origin or file.path.name
    changed = {name: why for name, why in report.taken.items() if why}
    return {
        "licence": licence,
        "summary": f"Foreign weights in the layout of `{report.architecture}`, converted by evermodels and not trained "
        f"by it. They come from {source}.",
        "base_model": [origin] if origin and re.fullmatch(r"[\w.-]+/[\w.-]+", origin) else [],
        "attribution": [f"Weights: {source}, under {licence}, which stays with them.", f"Layout: {layout.summary}."],
        "not_this": ["It was not tested by evermodels: what its source says about it holds, and no more."],
        "source": source,
        "source_file": {"name": file.path.name, **file.digest.to_dict()},
        "source_format": layout.name,
        "changed": {**changed, **report.fresh},
        "left": merge_names(report.left),
    }
