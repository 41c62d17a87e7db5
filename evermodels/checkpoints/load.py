"""``from_pretrained``: a bundled name or a folder in, a verified model in evaluation mode out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evermodels import montage
from evermodels.checkpoints.config_file import (
    CONFIG_NAME,
    DTYPES,
    WEIGHTS_NAME,
    CheckpointConfig,
    class_of,
    parse_config,
)
from evermodels.checkpoints.read import PICKLES, assign, read_bytes, read_tensors, refuse_pickle
from evermodels.checkpoints.table import BUNDLED, load_table, what_exists
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel
    from evermodels.checkpoints.report import LoadReport


@dataclass(frozen=True)
class Source:
    """Where a checkpoint's files lie, and what is known of them beforehand.

    Args:
        name: Name or folder, for messages and the report.
        folder: Folder that holds the files.
        digests: Size and sha256 of each file, by name, as the weight table declares them.
        declared_by: Who declared them.
        way_out: What to do when a file is not the declared one.
    """

    name: str
    folder: Path
    digests: Mapping[str, FileDigest] = field(default_factory=dict)
    declared_by: str | None = None
    way_out: str = "Get the folder again from where it came."


def from_pretrained(
    name_or_dir_or_repo: str | os.PathLike[str],
    *,
    revision: str | None = None,
    num_classes: int | None = None,
    ch_names: Sequence[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    expected_class: type[PretrainedModel] | None = None,
) -> Any:
    """Load a pretrained model.

    The digest of every file that the weight table or ``config.json`` declares is checked before the file is parsed;
    names, shapes and types of the weights must be exactly the model's, and their values finite.

    Args:
        name_or_dir_or_repo: A name such as ``"ever_tiny.quadrant"`` (``list_models(pretrained=True)`` shows them), or a
            folder that ``model.save_pretrained`` wrote.
        revision: Commit of a Hub repository; neither a bundled name nor a folder has one.
        num_classes: Another number of classes: the head alone gets fresh random weights; 0 for the embedding.
        ch_names: The EEG channels of your recording in your order; must be the checkpoint's own.
        cache_dir: For the Hub; a bundled name or a folder does not use it.
        token: For the Hub; a bundled name or a folder does not use it.
        local_files_only: For the Hub; a bundled name or a folder never uses the network.
        device: Where the model goes; default the CPU.
        dtype: Floating-point type that the model is cast to; default the checkpoint's.
        expected_class: Class that the checkpoint must hold; ``EVER.from_pretrained`` sets it.

    Returns:
        The model in evaluation mode, with ``config``, ``input_spec``, ``classes``, ``provenance`` and ``load_report``.

    Raises:
        CheckpointError: If the checkpoint does not exist, is damaged, is a pickle, or does not fit the model.
        ChecksumError: If a file is not the declared one.
        ConfigError: If ``config.json`` or an argument has an unknown key, a wrong type or an impossible value.
    """
    del cache_dir, token, local_files_only  # nothing local needs them
    if dtype is not None and not dtype.is_floating_point:
        raise ConfigError(f"dtype: expected a floating-point type such as torch.float32, got {dtype}.")
    source = locate(name_or_dir_or_repo)
    if revision is not None:
        raise ConfigError(
            f"revision: {source.name} is on this machine and has no revision, got {revision!r}. Leave it out."
        )
    config_path = source.folder / CONFIG_NAME
    content = parse_config(
        read_bytes(config_path, source.digests.get(CONFIG_NAME), source.way_out), where=str(config_path)
    )
    cls = class_of(content.architecture, str(config_path))
    if expected_class is not None and not issubclass(cls, expected_class):
        raise CheckpointError(
            f"{source.name}: holds {cls.__name__}, not {expected_class.__name__}. "
            f"Load it with {cls.__name__}.from_pretrained or evermodels.from_pretrained."
        )
    model, report = _load(source, content, cls)
    _check_channels(model, ch_names, source)
    if num_classes is not None:
        _renew_head(model, report, num_classes)
    model.eval()
    dtype = dtype or DTYPES[content.dtype]
    return model.to(device=device, dtype=dtype)


def locate(name_or_dir: str | os.PathLike[str]) -> Source:
    """Find a checkpoint's files on this machine.

    Args:
        name_or_dir: A name of the weight table, or a folder.

    Raises:
        CheckpointError: If it is neither.
    """
    text = os.fspath(name_or_dir)
    table = load_table()
    if isinstance(name_or_dir, str) and text in table and table[text].bundled:
        way_out = "Install it again: pip install --force-reinstall evermodels"
        return Source(text, BUNDLED / text, table[text].files, "the weight table", way_out)
    path = Path(text)
    if path.is_file():
        if path.suffix.lower() in PICKLES:
            refuse_pickle(path)
        raise CheckpointError(f"{path}: a file; give its folder, which holds {CONFIG_NAME} and {WEIGHTS_NAME}.")
    if path.is_dir():
        return Source(text, path)
    if isinstance(name_or_dir, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise CheckpointError(
            f"{text}: no such folder, and this version does not load from the Hub by itself. Fetch the repository with "
            f"huggingface_hub.snapshot_download({text!r}) and give the folder that it returns. {what_exists()}"
        )
    hint = did_you_mean(text, table)
    raise CheckpointError(f"{text}: neither a pretrained name nor a folder.{hint} {what_exists()}")


def _load(source: Source, content: CheckpointConfig, cls: Any) -> tuple[PretrainedModel, LoadReport]:
    path = source.folder / WEIGHTS_NAME
    if not path.is_file():
        for other in sorted(source.folder.iterdir()):
            if other.suffix.lower() in PICKLES:
                refuse_pickle(other)
    model = _empty(cls, content, source.folder / CONFIG_NAME)
    declared, by, way_out = source.digests.get(WEIGHTS_NAME), source.declared_by, source.way_out
    if declared is None and WEIGHTS_NAME in content.files:
        declared, by = content.files[WEIGHTS_NAME], CONFIG_NAME
        way_out += f" If the weights were changed on purpose, take 'files' out of {CONFIG_NAME}."
    tensors, report = read_tensors(
        path, model.state_dict(), source=source.name, declared=declared, declared_by=by, way_out=way_out
    )
    assign(model, tensors)
    if content.architecture != cls.__name__:
        model.architecture = content.architecture
    if content.input_spec is not None:
        model.input_spec = content.input_spec
    model.classes = content.classes
    model.provenance = content.training
    model.load_report = report
    return model, report


def _empty(cls: Any, content: CheckpointConfig, path: Path) -> PretrainedModel:
    """Return the model on ``meta``: its shapes without memory or random numbers."""
    try:
        with torch.device("meta"):
            model = cls(cls.config_class.from_dict(content.config))
            return model.to(DTYPES[content.dtype])
    except ConfigError as error:
        raise ConfigError(f"{path}: config: {error}") from error
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{path}: config: {cls.__name__} cannot be built from these values ({error}). "
            "Use the config.json that was written together with the weights."
        ) from error


def _check_channels(model: PretrainedModel, ch_names: Sequence[str] | None, source: Source) -> None:
    if ch_names is None:
        return
    if model.input_spec is None or model.input_spec.eeg is None:
        raise ConfigError(f"ch_names: {source.name} takes no EEG by channel name. Leave it out.")
    if isinstance(ch_names, str):
        raise ConfigError(f"ch_names: expected a list of names, got the text {ch_names!r}.")
    own = [montage.canonical(name) for name in model.input_spec.eeg.ch_names]
    given = [montage.canonical(name) for name in ch_names]
    if given == own:
        return
    missing = [name for name in own if name not in given]
    extra = [name for name in given if name not in own]
    if not missing and not extra and len(given) == len(own):
        raise ConfigError(
            f"ch_names: the channels of {source.name} in another order. Bring the recording into the order of "
            "model.input_spec.eeg.ch_names; evermodels.signals.Preprocessor(model.input_spec) does it by name."
        )
    raise ConfigError(
        f"ch_names: {source.name} needs {len(own)} channels, got {len(given)}; "
        f"missing: {', '.join(missing) or 'none'}; left over: {', '.join(extra) or 'none'}. "
        "This version does not carry a checkpoint to another set of channels: "
        "give a recording with the missing ones (left-over ones are ignored by evermodels.signals.Preprocessor)."
    )


def _renew_head(model: PretrainedModel, report: LoadReport, num_classes: int) -> None:
    old = getattr(model.config, "num_classes", None)
    if old is None:
        raise ConfigError(f"num_classes: {type(model).__name__} has no classes. Leave it out.")
    if num_classes == old:
        return
    before, classes = model.state_dict(keep_vars=True), model.classes
    model.reset_classifier(num_classes)
    after = model.state_dict(keep_vars=True)
    fresh = [name for name, tensor in after.items() if before.get(name) is not tensor]
    gone = [name for name in before if name not in after]
    if outside := [name for name in (*fresh, *gone) if not name.startswith(model.head_prefixes)]:
        raise CheckpointError(
            f"{type(model).__name__}.reset_classifier changed {', '.join(outside)}, which is not part of the declared "
            f"head ({', '.join(model.head_prefixes)}). This is a fault in the model: please report it."
        )
    why = f"num_classes {old} -> {num_classes}"
    model.classes = classes if classes is not None and len(classes) == num_classes else None
    model.load_report = replace(
        report,
        loaded=tuple(name for name in report.loaded if name not in {*fresh, *gone}),
        reinitialised=dict.fromkeys(fresh, why),
        dropped=dict.fromkeys(gone, why),
    )
