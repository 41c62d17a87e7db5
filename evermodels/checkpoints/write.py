"""Writing a checkpoint: every file is complete before it gets its name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from evermodels._version import __version__
from evermodels.checkpoints.card import CardInfo, model_card
from evermodels.checkpoints.config_file import (
    CARD_NAME,
    CONFIG_NAME,
    DTYPES,
    FORMAT_VERSION,
    WEIGHTS_NAME,
    parse_config,
)
from evermodels.checkpoints.read import not_finite
from evermodels.checkpoints.strict_json import content_digest, dump_json, parse_json
from evermodels.checkpoints.verify import FileDigest
from evermodels.core.errors import CheckpointError, ConfigError, quoted
from evermodels.core.factors import Factor
from evermodels.core.files import PartlyReplacedError, whole_files

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel


@contextlib.contextmanager
def checkpoint_files(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Write a checkpoint's files, all or none; a mix of two saves, as a kill leaves it, is found by the reader.

    Args:
        folder: Where the files go; made if it does not exist.

    Raises:
        CheckpointError: If the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_files(folder) as temporary:
            yield temporary
    except PartlyReplacedError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error}). Check that the place is a folder, may be written and has room; "
            "what stood there before is untouched."
        ) from error


def save_pretrained(
    model: PretrainedModel,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    factors: Sequence[Factor | Mapping[str, Any]] | None = None,
    training: Mapping[str, Any] | None = None,
    card: CardInfo | Mapping[str, Any] | str | None = None,
) -> Path:
    """Write a model as a checkpoint folder; see :meth:`PretrainedModel.save_pretrained`."""
    folder = Path(folder)
    state, dtype = _state(model)
    # Factors belong to the classes: with other names, the model's own say nothing.
    names = _names(classes)
    if factors is None:
        factors = model.factors if names is None or names == model.classes else ()
    names = _names(model.classes) if names is None else names
    architecture = model.architecture or type(model).__name__
    content = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture,
        "library_version": __version__,
        "dtype": dtype,
        "config": model.whole_config(),
        "classes": list(names) if names is not None else None,
        "training": dict(training) if training is not None else None,
    }
    if factors:  # a key that older readers do not know is written only where it says something
        content["factors"] = [f.to_dict() if isinstance(f, Factor) else f for f in factors]
    # The same reader that will load it checks it now, before anything is written.
    checked = parse_config(dump_json(content, "training"), "save_pretrained")
    text = card if isinstance(card, str) else model_card(checked, _card_info(card), name=folder.name)
    try:
        readable = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"card: expected a text, in which the folder's name may stand, got {error}.") from error
    with checkpoint_files(folder) as temporary:
        weights, readme = temporary(WEIGHTS_NAME), temporary(CARD_NAME)
        readme.write_bytes(readable)
        save_file(state, weights, metadata={"format": "pt"})
        weights.chmod(readme.stat().st_mode)  # safetensors makes files that only their owner can read
        digest = FileDigest.of_file(weights)
        content["files"] = {WEIGHTS_NAME: digest.to_dict()}
        plain = parse_json(dump_json(content, "training"), "training")  # keys are texts, as the reader will see them
        plain["sha256"] = content_digest(plain)
        temporary(CONFIG_NAME).write_bytes(dump_json(plain, "training"))
    return folder


def _names(classes: Any) -> tuple[str, ...] | None:
    if classes is not None and (isinstance(classes, (str, bytes, Mapping)) or not isinstance(classes, Iterable)):
        what = f"the text {quoted(classes)}" if isinstance(classes, str) else quoted(classes)
        raise ConfigError(f"classes: expected a list of names, got {what}. Give one name per class, as in ['a', 'b'].")
    return None if classes is None else tuple(classes)


def _card_info(card: CardInfo | Mapping[str, Any] | None) -> CardInfo:
    if card is None:
        return CardInfo()
    return card if isinstance(card, CardInfo) else CardInfo.from_dict(card, where="card")


def _state(model: PretrainedModel) -> tuple[dict[str, Tensor], str]:
    state: dict[str, Tensor] = {}
    owners: dict[int, str] = {}
    dtypes: set[torch.dtype] = set()
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.is_meta:
            raise CheckpointError(f"{name}: expected a tensor with values, got {type(tensor).__name__} without.")
        if tensor.numel() and (first := owners.setdefault(tensor.data_ptr(), name)) != name:
            raise CheckpointError(f"{name}: shares its memory with {first}. Give each its own copy before saving.")
        if tensor.is_floating_point():
            dtypes.add(tensor.dtype)
            if not_finite(tensor):
                raise CheckpointError(
                    f"{name}: has values that are not finite: the training diverged. Nothing is saved."
                )
        state[name] = tensor.detach().cpu().contiguous()
    names = {dtype: name for name, dtype in DTYPES.items()}
    if len(dtypes) > 1 or not dtypes <= set(names):
        raise ConfigError(
            f"dtype: expected one floating-point type for all weights, got {', '.join(sorted(map(str, dtypes)))}. "
            "Call model.float() first."
        )
    return state, names[dtypes.pop()] if dtypes else "float32"
