"""What a system takes over from checkpoints: one encoder, or all weights for training in stages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evermodels.backbones.base import Backbone
from evermodels.checkpoints.base import PretrainedModel
from evermodels.core.errors import CheckpointError, ConfigError
from evermodels.core.warning import is_non_commercial


class Transfer(PretrainedModel):
    """A model of several encoders that takes weights over from others.

    Attributes:
        bound_by: Licences of the checkpoints that weights were taken over from, those that allow no commercial use;
            training writes them into the checkpoint and its card.
    """

    bound_by: tuple[str, ...] = ()

    def bind(self, found: PretrainedModel) -> None:
        """Remember the licence of what weights are taken over from, if it binds what is trained on them.

        Args:
            found: The model of a checkpoint.
        """
        licence = (found.provenance or {}).get("licence")
        if isinstance(licence, str) and is_non_commercial(licence) and licence not in self.bound_by:
            self.bound_by = (*self.bound_by, licence)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model takes."""
        names: tuple[str, ...] = self.config.modalities
        return names

    def encoder(self, modality: str) -> Backbone:
        """Return the encoder of a modality.

        Args:
            modality: Its name.

        Raises:
            ConfigError: If the model does not take it.
        """
        if modality not in self.modalities:
            raise ConfigError(f"{modality}: this {type(self).__name__} takes {' and '.join(self.modalities)} only.")
        found: Backbone = getattr(self, f"{modality}_encoder")
        return found

    def front_ends(self) -> dict[str, Any]:
        """Return the layers with statistics of the training people by modality, each with ``fit`` and ``fitted``.

        A subclass names them; none by default.
        """
        return {}

    def load_encoder(self, modality: str, source: str | os.PathLike[str]) -> int:
        """Copy one whole encoder from a checkpoint: a system's, or a backbone's as ``convert`` writes it.

        The checkpoint is read and checked as :func:`evermodels.from_pretrained` does. What follows from the inputs, the
        head of a backbone and rates of dropout may be others there, every other setting of the encoder may not. Where
        the inputs had another size, a learned table of positions is resampled if the encoder knows how
        (:meth:`Backbone.taken_over`).

        Args:
            modality: Whose encoder is overwritten.
            source: Folder, name or repository of the checkpoint.

        Returns:
            How many tensors were copied.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded, or its encoder is not this one.
            ConfigError: If the model does not take the modality.

        Example:
            >>> import evermodels as em, tempfile
            >>> alone, both = em.create_model("ever_tiny", modalities=("eeg",)), em.create_model("ever_tiny")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     copied = both.load_encoder("eeg", alone.save_pretrained(folder))
            >>> copied == len(alone.eeg_encoder.state_dict())
            True
        """
        from evermodels.checkpoints.load import from_pretrained

        encoder, where = self.encoder(modality), f"{modality}_encoder of {os.fspath(source)!r}"
        if isinstance(source, os.PathLike) and not Path(source).exists():
            raise CheckpointError(f"{where}: no such folder. Train the row that it comes from first, or give another.")
        whole: Any = from_pretrained(source)
        found = whole
        if isinstance(found, Transfer):
            if modality not in found.modalities:
                raise CheckpointError(
                    f"{where}: missing, {type(found).__name__} there has {', '.join(found.modalities)}."
                )
            found = found.encoder(modality)
        if type(found) is not type(encoder):
            raise CheckpointError(f"{where}: expected {type(encoder).__name__}, got {type(found).__name__}.")
        ours, theirs = encoder.config.to_dict(), found.config.to_dict()
        free = {"num_classes", *encoder.follows_inputs}
        other = [key for key in ours if ours[key] != theirs[key] and key not in free and not key.endswith("_rate")]
        want = encoder.state_dict()
        have = {key: v for key, v in found.state_dict().items() if not key.startswith(encoder.head_prefixes)}
        have = encoder.taken_over(have, found.config)
        if bound := [key for key in want if key not in have or want[key].shape != have[key].shape]:
            other += [*bound[:1], *(key for key in free if ours.get(key) != theirs.get(key) and key != "num_classes")]
        if other:
            said = ", ".join(f"{key} {theirs[key]!r} (here {ours[key]!r})" if key in ours else key for key in other[:3])
            raise CheckpointError(f"{where}: another encoder, {said}. Give both the same encoder settings.")
        encoder.load_state_dict(have)
        self.bind(whole)
        return len(have)

    def load_weights(self, source: str | os.PathLike[str]) -> tuple[str, ...]:
        """Copy all weights and statistics from a checkpoint of the same kind of system, for training in stages.

        Encoders and what standardises their inputs must be the same. Another sub-module that is built differently here,
        as in a row of an ablation table, is left as it is and named.

        Args:
            source: Folder, name or repository of the checkpoint.

        Returns:
            Names of the sub-modules that were left as they are.

        Raises:
            CheckpointError: If the checkpoint cannot be loaded, is of another system, or has other encoders.

        Example:
            >>> import evermodels as em, tempfile
            >>> first, second = em.create_model("ever_tiny"), em.create_model("ever_tiny", fusion="naive")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     second.load_weights(first.save_pretrained(folder))
            ('absent_eeg', 'absent_video', 'head')
        """
        from evermodels.checkpoints.load import from_pretrained

        where = f"model of {os.fspath(source)!r}"
        if isinstance(source, os.PathLike) and not Path(source).exists():
            raise CheckpointError(f"{where}: no such folder. Train the row that it comes from first, or give another.")
        found: Any = from_pretrained(source)
        if type(found) is not type(self):
            raise CheckpointError(f"{where}: expected {type(self).__name__}, got {type(found).__name__}.")
        if found.input_spec != self.input_spec or found.config.encoders != self.config.encoders:
            raise CheckpointError(f"{where}: other inputs or encoders than here. Give both rows the same.")
        want, have = self.state_dict(), found.state_dict()
        fits = {key: key in have and have[key].shape == tensor.shape for key, tensor in want.items()}
        fresh = tuple(dict.fromkeys(key.partition(".")[0] for key, fit in fits.items() if not fit))
        front = {name.partition(".")[0] for name, m in self.named_modules() if m in self.front_ends().values()}
        if needed := [name for name in fresh if name.endswith("_encoder") or name in front]:
            raise CheckpointError(f"{where}: {needed[0]} is built differently there. Give both rows the same.")
        self.load_state_dict({key: have[key] for key in want if key.partition(".")[0] not in fresh}, strict=False)
        self.bind(found)
        return fresh
