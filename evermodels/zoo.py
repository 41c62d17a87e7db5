"""What models exist, and how one is built by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evermodels.checkpoints.base import PretrainedModel


def list_models(
    pattern: str = "*", *, kind: str | None = None, modality: str | None = None, pretrained: bool = False
) -> list[str]:
    """List the models that exist.

    Args:
        pattern: A shell pattern such as ``"ever*"``.
        kind: ``"backbone"`` (encoders) or ``"system"`` (whole recognisers); ``None`` for both.
        modality: Only models that take this modality, such as ``"eeg"``.
        pretrained: Whether to list checkpoints (``arch.tag``) instead of architectures.

    Returns:
        The names in alphabetical order; where there is none, a warning names what is close.

    Raises:
        ConfigError: If ``pattern`` is no text.
        UnknownNameError: If ``kind`` or ``modality`` does not exist.

    Example:
        >>> list_models("ever_*", modality="eeg")
        ['ever_base', 'ever_paper', 'ever_small', 'ever_tiny']
    """
    from evermodels.core.errors import ConfigError, did_you_mean, quoted

    if not isinstance(pattern, str):
        raise ConfigError(f"pattern: expected a text such as 'ever*', got {quoted(pattern)}.")
    names = _matching(pattern, kind, modality, pretrained)
    if not names:
        import warnings

        wider = f"*{pattern.lower()}*"
        found = _matching(wider, kind, modality, pretrained)
        all_names = _matching("*", kind, modality, pretrained)
        hint = f" list_models({wider!r}) finds {', '.join(found)}." if found else did_you_mean(pattern, all_names)
        what = "checkpoint" if pretrained else "model"
        warnings.warn(
            f"list_models: no {what} matches {quoted(pattern)}, which stands for the whole name.{hint}",
            stacklevel=2,
        )
    return names


def _matching(pattern: str, kind: str | None, modality: str | None, pretrained: bool) -> list[str]:
    from evermodels.core import registry

    if not pretrained:
        return registry.list_architectures(pattern, kind=kind, modality=modality)
    from fnmatch import fnmatchcase

    from evermodels.checkpoints.table import pretrained_names

    architectures = set(registry.list_architectures(kind=kind, modality=modality))
    split = [(name, name.partition(".")[0]) for name in pretrained_names(modality=modality)]
    return sorted(n for n, a in split if a in architectures and (fnmatchcase(n, pattern) or fnmatchcase(a, pattern)))


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
    ch_names: Sequence[str] | None = None,
    sfreq: float | None = None,
    **config: Any,
) -> PretrainedModel:
    """Build a model by name.

    Args:
        name: An architecture that :func:`list_models` shows; with ``pretrained=True`` also a checkpoint ``arch.tag``.
        pretrained: Whether to load weights: those of the checkpoint named, or of the architecture's first.
        num_classes: Number of classes; 0 for the embedding; default the preset's or the checkpoint's.
        ch_names: EEG channels in the recording's order, for models that know channels by name; with
            ``pretrained=True`` as :func:`from_pretrained` takes them.
        sfreq: Sampling rate of the EEG in Hz, for models that know it.
        **config: Other values of the model's configuration that differ from the preset's; not with ``pretrained=True``.

    Returns:
        The model: in training mode with random weights, or in evaluation mode with pretrained ones.

    Raises:
        UnknownNameError: If there is no such model or checkpoint.
        ConfigError: If the model's configuration has no such field, or a value does not fit.

    Example:
        >>> create_model("audio_mamba_tinny")
        Traceback (most recent call last):
            ...
        evermodels.core.errors.UnknownNameError: model name: 'audio_mamba_tinny' does not exist. ...
    """
    if pretrained:
        return _create_pretrained(name, num_classes, ch_names, sfreq, config)
    from evermodels.core import registry
    from evermodels.core.errors import ConfigError, UnknownNameError

    if "." in name and name.partition(".")[0] in registry.MODELS:
        raise UnknownNameError(
            f"model name: {name!r} is a checkpoint's name. Load it with create_model({name!r}, pretrained=True), or "
            f"build {name.partition('.')[0]!r} with random weights."
        )
    cls = registry.model_class(name)
    fields = cls.config_class.keys()
    if ch_names is not None and not isinstance(ch_names, str):
        ch_names = tuple(ch_names)
    for key, value in {"num_classes": num_classes, "ch_names": ch_names, "sfreq": sfreq}.items():
        if value is None:
            continue
        if key not in fields:
            raise ConfigError(
                f"{key}: {name!r} has no such setting. Leave it out; it has: {', '.join(sorted(fields))}."
            )
        config[key] = value
    model: PretrainedModel = cls.from_preset(name, **config)
    return model


def _create_pretrained(
    name: str, num_classes: int | None, ch_names: Sequence[str] | None, sfreq: float | None, config: dict[str, Any]
) -> PretrainedModel:
    from evermodels.checkpoints.load import from_pretrained
    from evermodels.checkpoints.table import lookup, pretrained_names, what_exists
    from evermodels.core import registry
    from evermodels.core.errors import ConfigError, UnknownNameError

    if config:
        raise ConfigError(
            f"{', '.join(sorted(config))}: pretrained weights come with their own configuration. "
            "Leave it out, or build the model with pretrained=False."
        )
    if "." in name:
        lookup(name)
    else:
        registry.entry(name)
        names = pretrained_names(name)
        if not names:
            raise UnknownNameError(
                f"pretrained: {name!r} has no pretrained weights. {what_exists()} Or build it with pretrained=False."
            )
        name = names[0]
    model = from_pretrained(name, num_classes=num_classes, ch_names=ch_names)
    own = model.input_spec.eeg.sfreq if model.input_spec is not None and model.input_spec.eeg is not None else None
    if sfreq is not None and sfreq != own:
        raise ConfigError(
            f"sfreq: {name} takes {f'EEG at {own:g} Hz' if own else 'no EEG'}, got {sfreq!r}. Resample the recording; "
            "evermodels.signals.Preprocessor(model.input_spec) does it."
        )
    return model
