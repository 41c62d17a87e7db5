"""``from_pretrained``: a name, a folder or a Hub repository in, a verified model in evaluation mode out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evermodels import montage
from evermodels.checkpoints import hub
from evermodels.checkpoints.arguments import check_arguments, find_device, find_dtype
from evermodels.checkpoints.config_file import CONFIG_NAME, DTYPES, WEIGHTS_NAME, CheckpointConfig, parse_config
from evermodels.checkpoints.opened import WHAT_BELONGS_THERE
from evermodels.checkpoints.read import PICKLES, assign, read_bytes, read_tensors, refuse_pickle
from evermodels.checkpoints.table import (
    TableEntry,
    bundled_folder,
    left_out,
    load_table,
    no_weights,
    what_exists,
)
from evermodels.checkpoints.verify import BlobName, FileDigest
from evermodels.core import registry
from evermodels.core.errors import (
    CheckpointError,
    ChecksumError,
    ConfigError,
    EvermodelsError,
    boundary,
    did_you_mean,
    quoted,
)
from evermodels.core.warning import tell_licence

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel

_WAY_OUT = "Get the checkpoint again from where it came; if it was written by this version, please report it."


@dataclass(frozen=True)
class Location:
    """Where a checkpoint's files lie, and what is known of them beforehand.

    Args:
        name: Name, folder, or repository with its commit, for messages and the report.
        folder: Folder that holds the files.
        digests: Size and sha256 of each file, or the name of its blob in the Hub's cache, by name, where declared.
        declared_by: Who declared them.
        way_out: What to do when a file is not the declared one.
        cached: Whether the folder is the Hub's cache, whose damaged files are removed to be fetched again.
    """

    name: str
    folder: Path
    digests: Mapping[str, FileDigest | BlobName] = field(default_factory=dict)
    declared_by: str = ""
    way_out: str = "Get the folder again from where it came."
    cached: bool = False

    def declared(self, name: str) -> dict[str, FileDigest | BlobName]:
        """Return what a file must be, by who says so.

        Args:
            name: The file's name.
        """
        return {self.declared_by: self.digests[name]} if name in self.digests else {}

    def path(self, name: str) -> Path:
        """Return the path of a file, and refuse a link that leads out of the checkpoint, and a pipe or a device.

        Args:
            name: The file's name.

        Raises:
            CheckpointError: If it is one.
        """
        path, real = self.folder / name, Path(os.path.realpath(self.folder / name))
        if not any(real.is_relative_to(f) for f in hub.allowed_folders(Path(os.path.realpath(self.folder)))):
            raise CheckpointError(
                f"{path}: a link to {real}, which is outside the checkpoint's folder. "
                "Give the folder that holds the file itself, or put a copy here if you trust it."
            )
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: cannot be read (not a file). {WHAT_BELONGS_THERE}")
        return path


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
) -> PretrainedModel:
    """Load a pretrained model from a name, a folder or a repository on the Hub.

    The digest of every declared file is checked before the file is parsed; names, shapes and types of the weights must
    be exactly the model's, and their values finite. Only the head may be renewed, and ``load_report`` says so. The Hub
    is spoken to by its own client, so ``HF_ENDPOINT``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN`` hold.

    Args:
        name_or_dir_or_repo: A name such as ``"ever_tiny.quadrant"`` (``list_models(pretrained=True)`` shows them), a
            folder that ``model.save_pretrained`` wrote, or a repository ``"organisation/name"``.
        revision: Branch, tag or 40-digit commit of a repository; a commit that is cached is loaded without any network
            call. A name is pinned already and a folder has none.
        num_classes: Another number of classes: the head alone gets fresh random weights; 0 for the embedding.
        ch_names: The EEG channels of your recording in your order, any spelling, for models that take raw EEG: channels
            are taken by name, missing ones interpolated before the model by spherical splines; no weight changes, and
            ``load_report`` says which were made from what. At least half of the model's channels must be there.
        cache_dir: Folder of the Hub's cache; default ``HF_HUB_CACHE``.
        token: Token for a private repository; default the one that ``hf auth login`` stored; ``False`` for none.
        local_files_only: Whether the network is left alone: a repository loads only if it is cached.
        device: Where the model goes; default the CPU.
        dtype: Floating-point type that the model is cast to; default the checkpoint's.

    Returns:
        The model in evaluation mode, with ``config``, ``input_spec``, ``classes``, ``provenance`` and ``load_report``.

    Raises:
        CheckpointError: If the checkpoint does not exist, cannot be fetched, is damaged, is a pickle, or does not fit
            the model; a misfit shows the table of missing, left-over, wrongly shaped and not finite tensors.
        ChecksumError: If a file is not the declared one.
        ConfigError: If ``config.json`` or an argument has an unknown key, a wrong type or an impossible value.
        UnknownNameError: If ``ch_names`` has an unknown name, or two for the same electrode.

    Example:
        >>> from evermodels import montage
        >>> model = from_pretrained("ever_tiny.quadrant", ch_names=montage.preset("epoc"))
        >>> list(model.load_report.interpolated)
        ['Fp1', 'Fp2', 'C3', 'C4', 'P3', 'P4', 'Fz', 'Cz', 'Pz']
        >>> from_pretrained("ever_tinny.quadrant")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.CheckpointError: ever_tinny.quadrant: neither a pretrained name, nor a folder, nor ...
    """
    where: dict[str, Any] = {
        "revision": revision,
        "cache_dir": cache_dir,
        "token": token,
        "local_files_only": local_files_only,
    }
    check_arguments(name_or_dir_or_repo, num_classes=num_classes, ch_names=ch_names, **where)
    dtype, device, text = find_dtype(dtype), find_device(device), os.fspath(name_or_dir_or_repo)
    with boundary(CheckpointError, f"{quoted(name_or_dir_or_repo)}: it cannot be loaded", _WAY_OUT):
        model, saved_dtype = _load_from(locate(name_or_dir_or_repo, **where))
        if ch_names is not None:
            _adapt_channels(model, ch_names)
        if num_classes is not None:
            _renew_head(model, num_classes)
        licence = (model.provenance or {}).get("licence")
        if isinstance(licence, str):
            tell_licence(text, licence)
        model.eval()
        dtype = dtype or saved_dtype
        # What was made here, a head or a table, has the default type.
        if device is None and {saved_dtype, dtype} == {torch.get_default_dtype()}:
            return model
        return model.to(device=device, dtype=dtype)


def _load_from(source: Location) -> tuple[PretrainedModel, torch.dtype]:
    try:
        return _load(source)
    except ChecksumError as error:
        if not source.cached:
            raise
        raise ChecksumError(f"{error} {hub.forget(source.folder)}") from error


def locate(
    name_or_dir_or_repo: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Location:
    """Find a checkpoint's files; those of a Hub repository are fetched unless they are cached.

    The arguments are those of :func:`evermodels.from_pretrained`.

    Raises:
        CheckpointError: If it is neither a name nor a folder nor a repository, or cannot be fetched.
        ConfigError: If there is a revision where none can be.
    """
    text = os.fspath(name_or_dir_or_repo)
    table = load_table()
    entry = table.get(text) if isinstance(name_or_dir_or_repo, str) else None
    path = Path(text)
    arguments: dict[str, Any] = {"cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
    if entry is not None or _exists(path):
        if revision is not None:
            where = "is pinned by the weight table" if entry is not None else "is on this machine and has no revision"
            raise ConfigError(f"revision: {text} {where}, got {revision!r}. Leave it out.")
        return _of_folder(path) if entry is None else _of_entry(text, entry, arguments)
    if isinstance(name_or_dir_or_repo, str) and hub.is_repo_id(text):
        found = hub.fetch(text, revision=revision, **arguments)
        return Location(f"{text}@{found.commit}", found.folder, found.blobs, "the Hub", "", cached=True)
    if text in registry.MODELS:
        raise CheckpointError(no_weights(text))
    raise CheckpointError(
        f"{text}: neither a pretrained name, nor a folder, nor a Hub repository 'organisation/name'."
        f"{did_you_mean(text, table)} {what_exists()}"
    )


def _of_entry(name: str, entry: TableEntry, arguments: dict[str, Any]) -> Location:
    if left_out(name, entry):
        raise CheckpointError(
            f"{name}: its licence ({entry.licence}) allows no commercial use, so it does not come with the package. "
            f"Take its folder from the repository (evermodels/checkpoints/bundled_noncommercial/{name}), and give the "
            "folder's path instead of the name."
        )
    if entry.bundled or entry.repo_id is None:
        way_out = "Install it again: pip install --force-reinstall evermodels"
        return Location(name, bundled_folder(name, entry), entry.files, "the weight table", way_out)
    folder = hub.fetch(entry.repo_id, revision=entry.revision, **arguments).folder
    return Location(name, folder, entry.files, "the weight table", "", cached=True)


def _of_folder(path: Path) -> Location:
    if path.is_dir():
        return Location(str(path), path)
    if path.suffix.lower() in PICKLES:
        refuse_pickle(path)
    raise CheckpointError(f"{path}: a file; give its folder, which holds {CONFIG_NAME} and {WEIGHTS_NAME}.")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). {WHAT_BELONGS_THERE}") from error
    except (OSError, ValueError):  # nothing, or a name that no file can have
        return False
    return True


def _load(source: Location) -> tuple[PretrainedModel, torch.dtype]:
    config_path, path = source.path(CONFIG_NAME), source.path(WEIGHTS_NAME)
    data = read_bytes(config_path, source.declared(CONFIG_NAME), source.way_out)
    content = parse_config(data, where=str(config_path))
    cls = registry.class_of(content.architecture, str(config_path))
    if not path.is_file():
        for other in sorted(source.folder.iterdir()):
            if other.suffix.lower() in PICKLES:
                refuse_pickle(other)
    model = _empty(cls, content, config_path)
    declared = source.declared(WEIGHTS_NAME)
    way_out = source.way_out
    if WEIGHTS_NAME in content.files:
        if not declared:
            way_out += f" If the weights were changed on purpose, take 'files' out of {CONFIG_NAME}."
        declared = {**declared, CONFIG_NAME: content.files[WEIGHTS_NAME]}
    # What each tensor is called in the file.
    names = {name: _named_then(cls, name) if content.format_version == 1 else name for name in model.state_dict()}
    expected = {names[name]: tensor for name, tensor in model.state_dict().items()}
    tensors, report = read_tensors(path, expected, source=source.name, declared=declared, way_out=way_out)
    assign(model, {name: tensors[then] for name, then in names.items()})
    model.load_report = report
    if model.montage_adapter is not None:
        model.load_report = report.with_montage(model.montage_adapter)
    if content.architecture != cls.__name__:
        model.architecture = content.architecture
    model.classes, model.factors = content.classes, content.factors
    model.provenance = content.training
    return model, DTYPES[content.dtype]


def _named_then(cls: Any, name: str) -> str:
    """Return what a tensor was called in checkpoint format 1."""
    for then, now in cls.renamed.items():
        if name.startswith(now):
            return str(then + name[len(now) :])
    return name


def _empty(cls: Any, content: CheckpointConfig, path: Path) -> PretrainedModel:
    """Return the model on ``meta``: its shapes without memory or random numbers."""
    try:
        with torch.device("meta"):
            model = cls(cls.config_class.from_dict(content.config))
            dtype = DTYPES[content.dtype]
            return model if dtype == torch.get_default_dtype() else model.to(dtype)
    except EvermodelsError as error:  # also a name in the config that is in no table
        raise ConfigError(f"{path}: config: {error}") from error
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ConfigError(
            f"{path}: config: {cls.__name__} cannot be built from these values ({error}). "
            "Use the config.json that was written together with the weights."
        ) from error


def _adapt_channels(model: PretrainedModel, ch_names: Sequence[str]) -> None:
    ch_names = montage.canonical_all(ch_names)
    spec = model.input_spec.eeg if model.input_spec is not None else None
    if spec is None or ch_names != montage.canonical_all(spec.ch_names):
        model.adapt_montage(ch_names)


def _renew_head(model: PretrainedModel, num_classes: int) -> None:
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
    model.factors = ()
    report = model.load_report
    assert report is not None  # _load has set it
    model.load_report = replace(
        report,
        loaded=tuple(name for name in report.loaded if name not in {*fresh, *gone}),
        reinitialised=dict.fromkeys(fresh, why),
        dropped=dict.fromkeys(gone, why),
    )
