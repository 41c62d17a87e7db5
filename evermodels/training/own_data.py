"""Training on a person's own data: a manifest and a model make a recipe, one fold or all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from evermodels.core import registry
from evermodels.core.errors import ConfigError
from evermodels.datasets.manifest import Manifest, RecordingsSettings, read_manifest
from evermodels.training.bootstrap import intervals
from evermodels.training.build import build_model
from evermodels.training.engine import fit, run_folder
from evermodels.training.metrics import summarize
from evermodels.training.predictions import Predictions, pool
from evermodels.training.recipe import Recipe, with_changes

_FOLD = "fold-{}"


def manifest_recipe(
    manifest: str | os.PathLike[str],
    model: str,
    overrides: Iterable[str] = (),
    *,
    ch_names: str | Sequence[str] | None = None,
    folds: int = 5,
    fold: int = 0,
) -> Recipe:
    """Make the recipe of a training on one's own data.

    A checkpoint keeps its head where its classes are the manifest's, else the head is renewed; its encoders take
    smaller steps than the rest. An architecture begins with random weights, and without the modalities that no
    recording has.

    Args:
        manifest: The manifest (:func:`~evermodels.datasets.read_manifest`).
        model: A checkpoint (name or folder), or an architecture such as ``"ever_tiny"``.
        overrides: Changes such as ``"optim.epochs=3"``.
        ch_names: Channels of the recordings, or a montage, where they are others than the model's; or ``"auto"`` for
            those that all recordings have (a checkpoint whose channels are among them stays as it is).
        folds: Folds over the people, where the manifest has no split.
        fold: Which of them is tested.

    Raises:
        DataError: If the manifest cannot be used.
        ConfigError: If a change does not fit.

    Example:
        >>> manifest_recipe("nowhere.toml", "ever_tiny")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.DataError: manifest: there is no file 'nowhere.toml'.
    """
    path, read = Path(manifest), read_manifest(manifest)
    named = _channels(read, model, ch_names)
    words = ["--data", str(path), "--model", model, *(["--folds", str(folds)] if folds != 5 else [])]
    words += ["--fold", str(fold)] if fold else []
    words += ["--ch-names", named if isinstance(named, str) else ",".join(named)] if named else []
    data = {"dataset": "recordings", "manifest": str(path), "sha256": read.sha256, "folds": folds, "fold": fold}
    plain = {
        "name": "".join(c if c.isalnum() or c in "_-" else "-" for c in path.stem)[:100] or "own",
        "data": data,
        "words": words,
        **_model(read, model, named),
    }
    return Recipe.from_dict(with_changes(plain, tuple(overrides)), where="recipe")


def _channels(manifest: Manifest, model: str, ch_names: str | Sequence[str] | None) -> str | list[str] | None:
    if ch_names is None or not isinstance(ch_names, str):
        return None if ch_names is None else list(ch_names)
    if ch_names != "auto":
        return ch_names
    own = list(manifest.channels)
    if not own:
        raise ConfigError("ch_names='auto': it takes the channels of the recordings, and the manifest's have none.")
    from evermodels.checkpoints.load import from_pretrained

    if model in registry.MODELS:
        return own
    spec = from_pretrained(model).input_spec
    return None if spec is None or set(spec.ch_names) <= set(own) else own


def _model(manifest: Manifest, name: str, ch_names: str | list[str] | None) -> dict[str, Any]:
    classes = manifest.labels
    rates = {"rest": 1e-3}
    if name in registry.MODELS:
        takes = registry.entry(name).modalities
        if registry.entry(name).kind != "system":
            raise ConfigError(
                f"model: {name} is an encoder alone. Give a whole system (list_models(kind='system'), `evermodels list "
                "--kind system`); an encoder becomes a part of one by model.config.encoders."
            )
        own = [modality for modality in takes if any(modality in s.recordings for s in manifest.sessions)]
        if not own:
            raise ConfigError(f"model: {name} takes {' and '.join(takes)}, and the manifest has none of them.")
        config = {"num_classes": len(classes), "modalities": own, **({"ch_names": ch_names} if ch_names else {})}
        return {"model": {"architecture": name, "config": config}, "optim": {"epochs": 20, "lr": rates}}
    from evermodels.checkpoints.load import from_pretrained

    loaded: Any = from_pretrained(name)
    renewed = None if loaded.classes == classes else len(classes)
    rates |= {f"{modality}_encoder": 2e-4 for modality in loaded.modalities} if hasattr(loaded, "modalities") else {}
    settings = {"pretrained": name, "num_classes": renewed, "ch_names": ch_names}
    return {"model": settings, "optim": {"epochs": 10, "lr": rates}}


def finetune_manifest(
    recipe: Recipe, run_root: str | os.PathLike[str], *, seed: int = 0, resume: bool = True, progress: bool = True
) -> dict[str, Any]:
    """Train one fold of one's own data; everything is read and checked before anything is written.

    Args:
        recipe: As :func:`manifest_recipe` makes it.
        run_root: Folder of all runs; this one goes to ``run_root/fold-K/seed-N``.
        seed: The seed.
        resume: Whether an unfinished run goes on and a finished one stays.
        progress: Whether to show a bar.

    Returns:
        The result, as :func:`~evermodels.training.fit` gives it.

    Raises:
        EvermodelsError: As :func:`~evermodels.training.fit` raises.
    """
    if not isinstance(recipe.data, RecordingsSettings):
        raise ConfigError("recipe: expected one of a manifest (data.dataset = 'recordings').")
    fold = recipe.data.fold
    parts = recipe.data.parts(build_model(recipe).input_spec)
    size = min(recipe.optim.batch_size, len(parts.train))  # type: ignore[arg-type]  # torch's Dataset promises no length
    recipe = recipe.replace(optim=recipe.optim.replace(batch_size=size))
    folder = run_folder(run_root, _FOLD.format(fold), seed)
    return fit(recipe, folder, seed=seed, parts=parts, resume=resume, progress=progress)


def pool_folds(run_root: str | os.PathLike[str], folds: int, *, seed: int = 0) -> dict[str, Any]:
    """Return the metrics of all folds together, in which everybody is a test person once.

    Args:
        run_root: Folder of all runs, as :func:`finetune_manifest` was told.
        folds: Number of folds.
        seed: The seed.

    Returns:
        As :func:`~evermodels.training.summarize` gives them, with ``intervals`` over people.

    Raises:
        DataError: If a fold is not finished.
    """
    files = [run_folder(run_root, _FOLD.format(fold), seed) / "predictions.npz" for fold in range(folds)]
    whole = pool([Predictions.load(file) for file in files])
    return {**summarize(whole), "intervals": intervals(whole)}
