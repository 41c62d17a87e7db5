"""The pictures of the page, each in a light and a dark version inside the file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from evermodels import plots
from evermodels.plots.head import NEXT_TO_NOTHING, channels_on_head
from evermodels.plots.pictures import ATTENTION, INPUTS, Picture, attention_picture
from evermodels.plots.results import mean_attention, modality_title, montage_modality, window_title, windows_with
from evermodels.recognition import Recognition

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Parts: TypeAlias = "Mapping[str, Recognition]"

_SAME_MATTER = ("channels", "regions")  # say nothing where what regions carry is next to nothing


class Drawn(NamedTuple):
    """A picture inside the page.

    Args:
        caption: Which part it is of; empty where there is one only.
        window: Which window it is of; empty where it is of all.
        alt: What it shows, for those who cannot see it.
        light: Address that holds the picture itself, on light paper.
        dark: The same on dark paper.
    """

    caption: str
    window: str
    alt: str
    light: str
    dark: str


class Section(NamedTuple):
    """A section of the page with a picture of each part.

    Args:
        heading: What the pictures show.
        text: How to read them.
        pictures: The pictures.
    """

    heading: str
    text: str
    pictures: list[Drawn]


def sections(parts: Parts, notes: Mapping[str, str]) -> Iterator[Section]:
    """Yield a section for each kind of input that was kept, then for each kind of attention that the model gives.

    Args:
        parts: The results by heading.
        notes: Further sentences, by modality or kind of attention.
    """
    captions = next(iter(parts.values())).captions
    for modality, kind in _in_order((m, r.input_spec.of(m).kind) for r in parts.values() for m in r.inputs):
        chosen = {
            name: result
            for name, result in parts.items()
            if modality in result.inputs and result.input_spec.of(modality).kind == kind
        }
        first, pictures = next(iter(chosen.values())), INPUTS[kind]
        for picture in pictures:
            last = picture is pictures[-1]
            said = [captions.get(modality), _compared(first, modality), notes.get(modality)] if last else []
            title = modality_title(first, modality)
            heading = f"{title[:1].upper()}{title[1:]}: {picture.heading}"
            yield _section(heading, [picture.text, *said], chosen, modality, picture)
    shares = {name: share for name, result in parts.items() if (share := _region_share(result)) is not None}
    little = bool(shares) and all(share.sum() < NEXT_TO_NOTHING for share in shares.values())
    for kind in _attention_kinds(parts):
        chosen = {name: result for name, result in parts.items() if _speaks(result, kind)}
        drawing = attention_picture(kind)
        if drawing is None or not chosen or (little and kind in _SAME_MATTER):
            continue
        said = [captions.get(kind) or drawing.text, notes.get(kind)]
        if kind == "region_share":
            said += [_next_to_nothing(shares)] if little else [_in_words(name, share) for name, share in shares.items()]
        yield _section(drawing.heading, said, chosen, kind, drawing)


def timelines(parts: Parts) -> list[Drawn]:
    """Return pictures of the probabilities over time.

    Args:
        parts: The results by heading.
    """
    draw = {name: partial(plots.plot_probabilities, result, legend=False) for name, result in parts.items()}
    return _drawn("Probability of each class over time", draw, {})


def _section(heading: str, said: Iterable[str | None], parts: Parts, which: str, picture: Picture) -> Section:
    limits: tuple[float, float] | None = None
    if picture.one_scale and len(parts) > 1:  # otherwise the pictures could not be compared
        ends = [picture.draw(result, which).axes[0].images[0].get_clim() for result in parts.values()]
        limits = min(low for low, _ in ends), max(high for _, high in ends)
    scale = {"limits": limits} if picture.one_scale else {}
    draw = {name: partial(picture.draw, result, which, **scale) for name, result in parts.items()}
    windows = {name: window_title(result) for name, result in parts.items()} if picture.of_window else {}
    return Section(heading, " ".join(filter(None, said)), _drawn(heading, draw, windows))


def _drawn(heading: str, draw: Mapping[str, Callable[..., Figure]], windows: Mapping[str, str]) -> list[Drawn]:
    return [
        Drawn(
            name,
            windows.get(name, ""),
            f"{heading}: {name}" if name else heading,
            *(_address(function(title="", theme=theme)) for theme in ("light", "dark")),
        )
        for name, function in draw.items()
    ]


def _address(figure: Figure) -> str:
    stream = io.BytesIO()  # without loss half as large as PNG, and as fast to write
    figure.savefig(stream, format="webp", pil_kwargs={"lossless": True, "method": 1, "quality": 50})
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _in_order(things: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(things))


def _attention_kinds(parts: Parts) -> list[str]:
    """Return the kinds of attention in the order of the page."""
    order = list(ATTENTION)
    kinds = dict.fromkeys(kind for result in parts.values() for kind in result.attention)
    return sorted(kinds, key=lambda kind: order.index(kind) if kind in order else len(order))


def _speaks(result: Recognition, kind: str) -> bool:
    """Whether a result's attention speaks of the recording: of electrodes and regions it does where there was EEG."""
    if kind not in result.attention or not result.attention[kind].any():
        return False
    if kind == "channels" and not channels_on_head(result.ch_names):
        return False
    of_the_head = kind in (*_SAME_MATTER, "region_share")
    return not of_the_head or bool(windows_with(result, montage_modality(result)).any())


def _region_share(result: Recognition) -> np.ndarray | None:
    """Return how much of the answer came through each region, the mean over windows with EEG, not scaled."""
    if not _speaks(result, "region_share"):
        return None
    return mean_attention(result, "region_share", montage_modality(result))


def _in_words(name: str, share: np.ndarray) -> str:
    said = plots.describe_region_share(share)
    return f"{name}: {said}." if name else f"{said[:1].upper()}{said[1:]}."


def _next_to_nothing(shares: Mapping[str, np.ndarray]) -> str:
    most = max(float(share.sum()) for share in shares.values())
    return (
        f"Here the brain regions carry almost nothing: together no more than {100 * most:.1f} %. A map of the head "
        "would show differences within that remainder only, and is left out."
    )


def _compared(result: Recognition, modality: str) -> str:
    spec: Any = result.input_spec.of(modality)
    if not getattr(spec, "whiten", False) or not result.against:
        return ""
    against = {"itself": "this very recording", "baseline": f"a baseline of {spec.baseline}"}
    return (
        "Each channel was divided by the person's own spectrum first, that of "
        f"{against.get(result.against, 'recordings in all states')}: bright is more than there, dark is less."
    )
