"""The model card: a README.md with the Hub's metadata, made from what the checkpoint says about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError

if TYPE_CHECKING:
    from evermodels.checkpoints.config_file import CheckpointConfig

NOT_THIS = "What this is not"

_NEVER = (
    "It does not know what a person feels. It tells apart the classes that it was trained on, in recordings like "
    "those that it was trained on.",
    "It is not a medical device and no help for a diagnosis.",
    "It is not for decisions about people, such as in hiring, schooling, insurance or policing.",
)


@dataclass(frozen=True)
class CardInfo(Config):
    """What a card says beyond the configuration; keys of the same names in ``training`` fill what is left out.

    Args:
        title: Heading; default the checkpoint's name.
        summary: What the model is, in a sentence or two.
        licence: Licence of the weights, as the Hub spells it.
        datasets: Data sets it was trained on; the metadata hold their names without what stands in parentheses.
        tags: More tags for the Hub.
        metrics: Names of the metrics; default the names of the scores.
        base_model: Hub repositories or checkpoints that it was made from.
        protocol: How it was tested.
        recipe: The recipe that trains it.
        scores: A number, or ``{"value": …, "low": …, "high": …}``, by metric.
        not_this: More sentences for the section *What this is not*.
        attribution: Sources that must be named.

    Example:
        >>> CardInfo(scores={"UAR": 0.7}).scores
        {'UAR': 0.7}
    """

    title: str | None = None
    summary: str | None = None
    licence: str | None = None
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    base_model: tuple[str, ...] = ()
    protocol: str | None = None
    recipe: str | None = None
    scores: dict[str, Any] | None = None
    not_this: tuple[str, ...] = ()
    attribution: tuple[str, ...] = ()

    def filled_from(self, training: Mapping[str, Any] | None) -> CardInfo:
        """Return a copy whose empty fields hold the values of the same name in ``training``.

        Args:
            training: The training provenance of a checkpoint.

        Raises:
            ConfigError: If such a value has the wrong type.
        """
        plain = self.to_dict()
        return self.from_dict({k: v or (training or {}).get(k, v) for k, v in plain.items()}, where="training")


def model_card(config: CheckpointConfig, info: CardInfo | None = None, *, name: str) -> str:
    """Return the text of a card.

    Args:
        config: The checkpoint's ``config.json``.
        info: What else to say.
        name: Name or folder of the checkpoint, for the heading and the code.

    Returns:
        Markdown with the Hub's metadata in front.

    Raises:
        ConfigError: If the training provenance holds a value of the wrong type for the card.
    """
    info = (info or CardInfo()).filled_from(config.training)
    quoted = json.dumps(name, ensure_ascii=False)
    sections = [
        _metadata(config, info, name),
        f"# {info.title or name}",
        info.summary or f"A checkpoint of `{config.architecture}` for the Python package evermodels.",
        "## Use\n\n"
        f"```python\nimport evermodels as em\n\nmodel = em.from_pretrained({quoted})\nprint(model.load_report)\n```",
        _inputs(config),
        _classes(config),
        _scores(info),
        _training(config, info),
        f"## {NOT_THIS}\n\n" + "\n".join(f"- {line}" for line in (*_NEVER, *info.not_this)),
        "## Attribution\n\n" + "\n".join(f"- {line}" for line in info.attribution) if info.attribution else "",
        "## Configuration\n\n```json\n" + json.dumps(config.config, indent=2, ensure_ascii=False) + "\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def check_card(text: str, where: str) -> None:
    """Refuse to publish a card without the Hub's metadata or without the section *What this is not*.

    Args:
        text: The card.
        where: The file, for the message.

    Raises:
        ConfigError: If it lacks one of them.
    """
    from huggingface_hub import ModelCard

    way_out = "Save the model again for a card that has both."
    try:
        library = ModelCard(text).data.to_dict().get("library_name")
    except Exception as error:  # errors of the YAML reader and of the card's own checks have no common base
        raise ConfigError(f"{where}: its metadata cannot be read ({error}). {way_out}") from error
    if library != "evermodels":
        raise ConfigError(f"{where}: expected metadata with 'library_name: evermodels', got {library!r}. {way_out}")
    if not re.search(rf"^## {NOT_THIS}$", text, re.MULTILINE):
        raise ConfigError(f"{where}: expected a section '## {NOT_THIS}', and there is none. {way_out}")


def _metadata(config: CheckpointConfig, info: CardInfo, name: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    row = registry.MODELS.get(config.architecture)
    tags = dict.fromkeys(["emotion-recognition", *(row.modalities if row else ()), config.architecture, *info.tags])
    datasets = _ids(info.datasets)
    values = {m: v.get("value") if isinstance(v, Mapping) else v for m, v in (info.scores or {}).items()}
    results = [
        EvalResult(
            task_type="classification",
            dataset_type=datasets[0],
            dataset_name=", ".join(info.datasets),
            metric_type=id_,
            metric_name=metric,
            metric_value=value,
        )
        for metric, value in values.items()
        for id_ in _ids([metric])
        if datasets and isinstance(value, (int, float))
    ]
    data = ModelCardData(
        license=info.licence,
        library_name="evermodels",
        tags=list(tags),
        datasets=datasets or None,
        metrics=_ids(info.metrics or values) or None,
        base_model=_ids(info.base_model) or None,
        model_name=name.rpartition("/")[2] if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _ids(names: Iterable[str]) -> list[str]:
    """Return names as the Hub's metadata allow them: one word, without what is said in parentheses at their end."""
    words = (re.sub(r"[^\w./-]+", "-", re.sub(r"(?<=\S)\s*\(.*\)$", "", name)).strip("-") for name in names)
    return list(dict.fromkeys(word for word in words if word))


def _inputs(config: CheckpointConfig) -> str:
    spec = config.input_spec
    if spec is None or not spec.modalities:
        return ""
    lines = []
    if spec.eeg is not None:
        eeg = spec.eeg
        low, high = (f"{f:g}" if f is not None else "…" for f in (eeg.l_freq, eeg.h_freq))
        band = f", {low} to {high} Hz" if (eeg.l_freq, eeg.h_freq) != (None, None) else ""
        lines.append(
            f"- EEG in µV: {len(eeg.ch_names)} channels ({', '.join(eeg.ch_names)}), {eeg.sfreq:g} Hz, windows of "
            f"{eeg.window_seconds:g} s{band}, reference {eeg.reference}, scaling {eeg.scale}."
        )
        if eeg.whiten:
            lines.append(
                "- Calibrated to the person: each channel's spectrum is made flat over that person's recordings before "
                "they are cut into windows (`evermodels.signals.Whitening`). It takes no labels, but recordings of the "
                "states to be told apart; scores measured so have seen the test people's unlabelled EEG."
            )
    if spec.video is not None:
        video = spec.video
        crop = "the face cut out" if video.face_crop else "whole pictures"
        lines.append(f"- Video: {video.num_frames} frames of {video.size[0]} by {video.size[1]} pixels, {crop}.")
    return "## Inputs\n\n" + "\n".join(lines)


def _classes(config: CheckpointConfig) -> str:
    if config.classes is None:
        return ""
    return "## Classes\n\n" + "\n".join(f"{index}. {name}" for index, name in enumerate(config.classes))


def _scores(info: CardInfo) -> str:
    if not info.scores and not info.protocol:
        return "## Scores\n\nNone were recorded with this checkpoint."
    lines = [info.protocol or ""]
    if info.scores:
        rows = [_score(metric, score) for metric, score in info.scores.items()]
        lines.append("\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows]))
    return "## Scores\n\n" + "\n\n".join(line for line in lines if line)


def _score(metric: str, score: Any) -> str:
    value, low, high = (
        (score.get("value"), score.get("low"), score.get("high")) if isinstance(score, Mapping) else (score, None, None)
    )
    interval = f"{low:.3f} to {high:.3f}" if isinstance(low, float) and isinstance(high, float) else ""
    return f"| {metric} | {f'{value:.3f}' if isinstance(value, float) else value} | {interval} |"


def _training(config: CheckpointConfig, info: CardInfo) -> str:
    told = set(info.to_dict())
    rows = {"recipe": info.recipe, "data": ", ".join(info.datasets) or None}
    rows |= {k: v for k, v in (config.training or {}).items() if k not in told and k != "data"}
    if config.training and "data" in config.training:
        rows["data"] = config.training["data"]
    lines = [f"- {key}: {_plain(value)}" for key, value in rows.items() if value not in (None, "", [], {})]
    return "## Training\n\n" + ("\n".join(lines) or "Nothing was recorded with this checkpoint.")


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"see `training` in config.json ({len(text):,} characters)"
