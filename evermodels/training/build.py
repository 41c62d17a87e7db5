"""The model of a recipe, and the encoders that it starts from."""

from __future__ import annotations

from typing import Any

from evermodels.core import registry
from evermodels.core.errors import ConfigError
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
