"""The model of a recipe, and the encoders that it starts from."""

from __future__ import annotations

from typing import Any

from evermodels.core import registry
from evermodels.core.errors import ConfigError
from evermodels.models.system import System
from evermodels.models.transfer import Transfer
from evermodels.training.recipe import Recipe


def require_system(model: Any) -> Any:
    """Return a model if it is a whole system.

    Args:
        model: Any model.

    Raises:
        ConfigError: If it is an encoder alone, or no model of ours.
    """
    if not isinstance(model, System):
        name = getattr(model, "architecture", None) or type(model).__name__
        raise ConfigError(
            f"model: expected a whole system, such as ever_tiny, got {name}. "
            "An encoder becomes a part of one: create_model(..., encoders={modality: {'name': ...}})."
        )
    return model


def build_model(recipe: Recipe) -> Any:
    """Build the model of a recipe (of one row: :meth:`Recipe.for_row`), with random or pretrained weights.

    Args:
        recipe: The recipe.

    Raises:
        UnknownNameError: If there is no such architecture.
        ConfigError: If a value of ``model.config`` or ``loss`` does not fit, or the model is no system.
        CheckpointError: If an encoder to start from is missing or does not fit.

    Example:
        >>> from evermodels.training import load_recipe
        >>> build_model(load_recipe("ever_tiny_quadrant").for_row("eeg")).config.modalities
        ('eeg',)
    """
    settings = recipe.model
    if settings.pretrained is not None:
        from evermodels.checkpoints.load import from_pretrained

        model: Any = from_pretrained(settings.pretrained, num_classes=settings.num_classes, ch_names=settings.ch_names)
        if isinstance(model, Transfer):
            model.bind(model)
    else:
        model = registry.build(settings.architecture, **settings.config)
    require_system(model)
    for modality, source in settings.encoders_from.items():
        model.load_encoder(modality, source)
    model.loss_config_class.from_dict(recipe.loss.values, where="loss")
    return model
