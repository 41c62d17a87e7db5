"""The model of a recipe, and the encoders that it starts from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from evermodels.core import registry
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.training.recipe import Recipe


def build_model(recipe: Recipe) -> Any:
    """Build the model of a recipe (of one row: :meth:`Recipe.for_row`), with random or pretrained weights.

    Args:
        recipe: The recipe.

    Raises:
        UnknownNameError: If there is no such architecture.
        ConfigError: If a value of ``model.config`` does not fit, or the model has no input spec.

    Example:
        >>> from evermodels.training import load_recipe
        >>> build_model(load_recipe("ever_tiny_quadrant").for_row("eeg")).config.modalities
        ('eeg',)
    """
    settings = recipe.model
    if settings.pretrained is not None:
        from evermodels.checkpoints.load import from_pretrained

        model: Any = from_pretrained(settings.pretrained)
    else:
        model = registry.build(settings.architecture, **settings.config)
    if model.input_spec is None:
        raise ConfigError(
            f"model: {settings.architecture!r} has no input spec. Recipes train systems, such as ever_tiny."
        )
    return model


def load_encoder(model: nn.Module, modality: str, folder: str | os.PathLike[str]) -> int:
    """Copy one whole encoder from a checkpoint folder into a model.

    Args:
        model: The model; its ``eeg_encoder`` or ``video_encoder`` is overwritten.
        modality: ``"eeg"`` or ``"video"``.
        folder: A checkpoint that holds the same encoder.

    Returns:
        How many tensors were copied.

    Raises:
        CheckpointError: If the file is missing, or tensors are missing, left over, or of other shapes.

    Example:
        >>> import evermodels as em, tempfile
        >>> alone = em.create_model("ever_tiny", modalities=("eeg",))
        >>> both = em.create_model("ever_tiny")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = alone.save_pretrained(folder)
        ...     copied = load_encoder(both, "eeg", folder)
        >>> copied == len(alone.eeg_encoder.state_dict())
        True
    """
    name = f"{modality}_encoder"
    encoder = getattr(model, name, None)
    file = Path(folder) / "model.safetensors"
    if not isinstance(encoder, nn.Module):
        raise CheckpointError(f"init_from: the model has no {name}. Remove {modality!r} from the row's init_from.")
    if not file.is_file():
        raise CheckpointError(f"init_from: {str(file)!r} does not exist. Train the row that it comes from first.")
    want = {f"{name}.{key}": value for key, value in encoder.state_dict().items()}
    with safe_open(file, framework="pt") as weights:
        have = {key for key in weights.keys() if key.startswith(f"{name}.")}
        missing, left = sorted(set(want) - have), sorted(have - set(want))
        shapes = [
            k for k in sorted(set(want) & have) if tuple(weights.get_slice(k).get_shape()) != tuple(want[k].shape)
        ]
        if missing or left or shapes:
            raise CheckpointError(
                f"init_from: {name} of {str(file)!r} is not the whole encoder of this model: missing {missing[:3]} "
                f"({len(missing)}), left over {left[:3]} ({len(left)}), other shapes {shapes[:3]} ({len(shapes)}). "
                "Give both rows the same encoder settings."
            )
        encoder.load_state_dict({key[len(name) + 1 :]: weights.get_tensor(key) for key in want})
    return len(want)
