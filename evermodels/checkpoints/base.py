"""The base class of every model that has presets, a config and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from typing_extensions import Self, Unpack

from evermodels.checkpoints.load import from_pretrained
from evermodels.checkpoints.options import LoadOptions, SaveOptions, keywords_of
from evermodels.checkpoints.push import Pushed, push_to_hub
from evermodels.checkpoints.write import save_pretrained
from evermodels.core.config import Config
from evermodels.core.errors import CheckpointError, ConfigError, UnknownNameError, did_you_mean
from evermodels.core.factors import Factor
from evermodels.core.specs import InputSpec

if TYPE_CHECKING:
    from evermodels.checkpoints.card import CardInfo
    from evermodels.checkpoints.foreign_format import ForeignFormat
    from evermodels.checkpoints.report import LoadReport


class PretrainedModel(nn.Module):
    """An ``nn.Module`` built from a frozen config, with named presets.

    A subclass sets ``config_class``, ``presets`` (configs by architecture name) and ``head_prefixes``, and takes the
    config as the only argument of its constructor, which must work on the ``meta`` device. One whose weights also exist
    in other people's layouts sets ``foreign_formats`` (see :mod:`evermodels.checkpoints.foreign_format`).

    Attributes:
        config: The frozen configuration that it was built from.
        architecture: Name in the registry, or ``None`` for a config made by hand.
        classes: Names of the classes in the order of the logits, or ``None``.
        factors: What the classes are the product of, where they are combinations such as arousal × valence: with one
            modality absent a :class:`~evermodels.Recognizer` answers for those that it can know.
        provenance: Where the loaded weights come from, as their ``config.json`` says, or ``None``.
        load_report: What was loaded from where, or ``None`` for random weights.
        montage_adapter: What brings EEG of another headset to the model's channels, or ``None``.
    """

    config_class: ClassVar[type[Config]]
    presets: ClassVar[Mapping[str, Config]] = {}
    head_prefixes: ClassVar[tuple[str, ...]] = ("head.",)
    foreign_formats: ClassVar[tuple[ForeignFormat, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}
    """First parts of tensors' names that were others in checkpoint format 1: then and now."""
    captions: ClassVar[Mapping[str, str]] = {}
    """What it says on how to read a picture, by kind of attention or modality; see :mod:`evermodels.plots`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"config: expected {self.config_class.__name__}, got {type(config).__name__}. "
                f"Make one with {self.config_class.__name__}(...) or {type(self).__name__}.from_preset(name)."
            )
        self.config: Any = config
        self.architecture: str | None = None
        self.classes: tuple[str, ...] | None = None
        self.factors: tuple[Factor, ...] = ()
        self.provenance: Mapping[str, Any] | None = None
        self.load_report: LoadReport | None = None
        self.montage_adapter: Any = None

    @property
    def input_spec(self) -> InputSpec | None:
        """What recordings must look like, as the config says; ``None`` where the model takes tensors only."""
        return self.spec_of(self.config)

    @classmethod
    def spec_of(cls, config: Any) -> InputSpec | None:
        """Return what recordings must look like for a model of this configuration.

        Args:
            config: A configuration of ``config_class``.
        """
        spec: InputSpec | None = getattr(config, "input_spec", None)
        return spec

    @classmethod
    def from_format_1(cls, config: Mapping[str, Any], input_spec: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return today's configuration of one of checkpoint format 1, in which the input spec stood beside it.

        Args:
            config: The configuration of the file.
            input_spec: The input spec that stood beside it.

        Raises:
            ConfigError: If it contradicts the configuration.
        """
        from evermodels.checkpoints.format_1 import check_agreement

        check_agreement(input_spec, cls.spec_of(cls.config_class.from_dict(config)))
        return dict(config)

    @classmethod
    def from_preset(cls, name: str, **config: Any) -> Self:
        """Build a preset with random weights.

        Args:
            name: Name of the preset.
            **config: Values that differ from the preset's.

        Raises:
            UnknownNameError: If the class has no such preset.
            ConfigError: If a value does not fit.
        """
        if name not in cls.presets:
            raise UnknownNameError(
                f"preset: {cls.__name__} has no {name!r}.{did_you_mean(name, cls.presets)} "
                f"It has: {', '.join(sorted(cls.presets))}."
            )
        model = cls(cls.presets[name].replace(**config))
        model.architecture = name
        return model

    @classmethod
    @keywords_of(from_pretrained)
    def from_pretrained(cls, name_or_dir_or_repo: str | os.PathLike[str], **options: Unpack[LoadOptions]) -> Self:
        """Load a checkpoint that holds this class; the arguments are those of :func:`evermodels.from_pretrained`.

        Returns:
            The model in evaluation mode.

        Raises:
            CheckpointError: If the checkpoint cannot be had, is damaged, holds another class or does not fit.
            ConfigError: If ``config.json`` or an argument has an unknown key, a wrong type or an impossible value.
        """
        model = from_pretrained(name_or_dir_or_repo, **options)
        if not isinstance(model, cls):
            source = model.load_report.source if model.load_report is not None else name_or_dir_or_repo
            raise CheckpointError(
                f"{source}: holds {type(model).__name__}, not {cls.__name__}. "
                f"Load it with {type(model).__name__}.from_pretrained or evermodels.from_pretrained."
            )
        return model

    def whole_config(self) -> dict[str, Any]:
        """Return the configuration as a checkpoint holds it, in plain JSON: every value, nothing left to a preset."""
        return self.config.to_dict()

    def save_pretrained(
        self,
        dir: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        factors: Sequence[Factor | Mapping[str, Any]] | None = None,
        training: Mapping[str, Any] | None = None,
        card: CardInfo | Mapping[str, Any] | str | None = None,
    ) -> Path:
        """Write the model as a checkpoint: ``config.json``, ``model.safetensors`` and the card ``README.md``.

        Each file is complete before it gets its name, so an interrupted save leaves what stood there before. Weights
        that were changed after the save, or belong to another ``config.json``, are found by their digest.

        Args:
            dir: The folder; made if it does not exist.
            classes: Names of the classes in the order of the logits; default the model's own.
            factors: What the classes are the product of, the last factor's value changing first, as
                :class:`~evermodels.core.factors.Factor` or mappings with ``name``, ``values`` and ``modalities``;
                default the model's own, none where ``classes`` are others than the model's.
            training: Where the weights come from, in plain JSON; keys that :class:`CardInfo` knows (``licence``,
                ``datasets``, ``protocol``, ``recipe``, ``scores``, …) go into the card. Nothing is carried over from
                the checkpoint that the model was loaded from: what is not given is not claimed.
            card: More for the card, as :class:`CardInfo` or a mapping with its keys, or the whole text of a card.

        Returns:
            The folder.

        Raises:
            CheckpointError: If a weight is not finite, or the folder cannot be written.
            ConfigError: If ``classes``, ``factors``, ``training`` or ``card`` do not fit.
        """
        return save_pretrained(self, dir, classes=classes, factors=factors, training=training, card=card)

    @keywords_of(save_pretrained)
    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        **saved: Unpack[SaveOptions],
    ) -> Pushed:
        """Upload the model with its card to a repository on the Hub, in one commit.

        What is uploaded has been loaded again before. Files that are there already are not uploaded, and where all
        three are, nothing is committed.

        Args:
            repo_id: ``"organisation/name"``; made if it does not exist.
            private: Whether a new repository is private; default what the organisation has set.
            revision: Branch; made if it does not exist; default the main branch.
            commit_message: First line of the commit.
            token: Token with the right to write; default the one that ``hf auth login`` stored.
            create_pr: Whether to open a pull request instead of changing the branch.
            **saved: What :meth:`save_pretrained` takes beside the folder.

        Returns:
            The repository, the commit, its address, and whether anything was changed.

        Raises:
            CheckpointError: If the model cannot be saved and loaded again, or the Hub refuses or cannot be reached.
            ConfigError: If an argument does not fit, or the card lacks what a published model must say.
        """
        return push_to_hub(
            self,
            repo_id,
            private=private,
            revision=revision,
            commit_message=commit_message,
            token=token,
            create_pr=create_pr,
            **saved,
        )

    def adapt_montage(self, ch_names: Sequence[str], *, min_real: float = 0.5) -> Mapping[str, str]:
        """Take recordings of another headset from now on; each subclass that takes raw EEG by name defines it.

        Args:
            ch_names: The recording's EEG channels in its order, any spelling.
            min_real: Least part of the model's channels that the recording must have, 0 to 1.

        Returns:
            The channels that are interpolated, each with those that it is computed from.

        Raises:
            ConfigError: If the class takes no EEG by channel name.
        """
        raise ConfigError(f"ch_names: {type(self).__name__} takes no EEG by channel name. Leave it out.")

    def reset_classifier(self, num_classes: int) -> None:
        """Give the model a fresh random head for another number of classes; each subclass with a head defines it.

        Args:
            num_classes: Number of classes; 0 for the embedding.

        Raises:
            ConfigError: If the class has no head.
        """
        raise ConfigError(f"num_classes: {type(self).__name__} has no head that could be renewed, got {num_classes}.")
