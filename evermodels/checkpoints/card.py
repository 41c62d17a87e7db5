"""The model card: a README.md with the Hub's metadata, made from what the checkpoint says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evermodels.checkpoints.scores import Score, read_scores
from evermodels.core import registry
from evermodels.core.config import Config
from evermodels.core.errors import ConfigError, shorten
from evermodels.core.text import json_text, markdown_name, markdown_text, one_line

if TYPE_CHECKING:
    from evermodels.checkpoints.config_file import CheckpointConfig

NOT_THIS = "What this is not"

_LONGEST_VALUE = 300

_TRANSDUCTIVE = (
    "Transductive: unlabelled recordings of the people it was tested on were used before the test. A number for people "
    "of whom nothing is known beforehand is another one."
)

_NEVER = (
    "It does not know what a person feels. It tells apart the classes that it was trained on, in recordings like "
    "those that it was trained on.",
    "It is not a medical device and no help for a diagnosis.",
    "It is not for decisions about people, such as in hiring, schooling, insurance or policing.",
)


@dataclass(frozen=True)
class CardInfo(Config):
    """What a card says beyond the configuration; keys of the same names in ``training`` fill what is left out.

    A text becomes one paragraph, in which Markdown's inline markup works and blocks and HTML do not.

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
        scores: By metric a number, or a mapping with the keys of :class:`~evermodels.checkpoints.scores.Score`
            (``value``, ``low``, ``high``, ``people``, ``transductive``, ``where``), or a list of such mappings.
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

    def check(self) -> None:
        """Refuse scores that are none."""
        read_scores(self.scores)

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
    sections = [
        _metadata(config, info, name),
        f"# {markdown_name(info.title or name)}",
        markdown_text(
            info.summary or f"A checkpoint of `{one_line(config.architecture)}` for the Python package evermodels."
        ),
        f"## Use\n\n```python\nimport evermodels as em\n\nmodel = {loading_call(name)}\nprint(model.load_report)\n```",
        _inputs(config),
        _classes(config),
        _scores(info),
        _training(config, info),
        f"## {NOT_THIS}\n\n" + _bullets((*_NEVER, *info.not_this)),
        f"## Attribution\n\n{_bullets(info.attribution)}" if info.attribution else "",
        f"## Configuration\n\n```json\n{json_text(config.config, indent=2)}\n```",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def loading_call(name: str) -> str:
    """Return the line of a card that loads the model.

    Args:
        name: Name, folder or repository.

    Example:
        >>> loading_call("org/name")
        'em.from_pretrained("org/name")'
    """
    return f"em.from_pretrained({json_text(name)})"


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

    row, spec = registry.MODELS.get(config.architecture), config.input_spec
    takes = spec.modalities if spec is not None else row.modalities if row else ()
    tags = dict.fromkeys(["emotion-recognition", *takes, config.architecture, *info.tags])
    datasets = _ids(info.datasets)
    scores = read_scores(info.scores)
    results = [
        EvalResult(
            task_type="classification",
            dataset_type=datasets[0],
            dataset_name=", ".join(filter(None, (*map(one_line, info.datasets), score.slice))),
            dataset_split=score.slice or None,  # results of one split are put together
            metric_type=id_,
            metric_name=score.name,
            metric_value=score.value,
        )
        for score in scores
        for id_ in _ids([score.metric])
        if datasets
    ]
    data = ModelCardData(
        license=None if info.licence is None else one_line(info.licence),
        library_name="evermodels",
        tags=[one_line(tag) for tag in tags],
        datasets=datasets or None,
        metrics=_ids(info.metrics or [score.metric for score in scores]) or None,
        base_model=_ids(info.base_model) or None,
        model_name=one_line(name.rpartition("/")[2]) if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(text)}" for text in texts)


def _ids(names: Iterable[str]) -> list[str]:
    """Return names as the Hub's metadata allow them: one word, without what is said in parentheses at their end."""
    words = (re.sub(r"[^\w./-]+", "-", re.sub(r"(?<=\S)\s*\(.*\)$", "", name)).strip("-") for name in names)
    return list(dict.fromkeys(word for word in words if word))


def _inputs(config: CheckpointConfig) -> str:
    spec = config.input_spec
    if spec is None or not spec.modalities:
        return ""
    lines = [f"- {title}: {markdown_text('. '.join(said))}." for title, said in spec.describe().items()]
    return "## Inputs\n\n" + "\n".join(lines)


def _classes(config: CheckpointConfig) -> str:
    if config.classes is None:
        return ""
    lines = [f"{index}. {markdown_name(name)}" for index, name in enumerate(config.classes)]
    if config.factors:
        parts = [
            f"{factor.name} ({', '.join(map(markdown_name, factor.values))}; from {' or '.join(factor.modalities)})"
            for factor in config.factors
        ]
        lines += ["", f"They combine {' with '.join(parts)}; where what tells one is absent, the others are answered."]
    return "## Classes\n\n" + "\n".join(lines)


def _scores(info: CardInfo) -> str:
    scores = read_scores(info.scores)
    if not scores and not info.protocol:
        return "## Scores\n\nNone were recorded with this checkpoint."
    sections = ["## Scores", markdown_text(info.protocol or "")]
    by_slice: dict[str, list[Score]] = {}
    for score in sorted(scores, key=lambda score: bool(score.slice)):  # those without a heading come first
        by_slice.setdefault(score.slice, []).append(score)
    for on, group in by_slice.items():
        rows = [f"| {markdown_name(score.metric)} | {score.number} | {score.interval} |" for score in group]
        sections += [
            f"### On {markdown_name(on)}" if on else "",
            _TRANSDUCTIVE if group[0].transductive else "",
            "\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows]),
        ]
    return "\n\n".join(section for section in sections if section)


def _training(config: CheckpointConfig, info: CardInfo) -> str:
    told = set(info.to_dict())
    rows = {"recipe": info.recipe, "data": ", ".join(info.datasets) or None}
    rows |= {k: v for k, v in (config.training or {}).items() if k not in told and k != "data"}
    if config.training and "data" in config.training:
        rows["data"] = config.training["data"]
    lines = [f"- {markdown_name(k)}: {_readable(v)}" for k, v in rows.items() if v not in (None, "", [], {})]
    return "## Training\n\n" + ("\n".join(lines) or "Nothing was recorded with this checkpoint.")


def _readable(value: Any) -> str:
    """Return a value of the training provenance in words, or how much of it stands in ``config.json``."""
    if isinstance(value, str):
        return markdown_text(value)
    text = "; ".join(f"{k}: {_flat(v)}" for k, v in value.items()) if isinstance(value, Mapping) else _flat(value)
    if len(text) > _LONGEST_VALUE and isinstance(value, (list, Mapping)):
        return f"{len(value):,} values, see `training` in config.json"
    return markdown_name(shorten(text, _LONGEST_VALUE))


def _flat(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and not any(isinstance(one, (list, tuple, Mapping)) for one in value):
        return ", ".join(_flat(one) for one in value)
    return json_text(value)
