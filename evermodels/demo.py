"""The demo: the bundled model reads the bundled real sample and writes a page about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evermodels import samples
from evermodels.checkpoints.base import PretrainedModel
from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import CheckpointError
from evermodels.core.factors import JOIN
from evermodels.core.files import check_target
from evermodels.core.specs import InputSpec
from evermodels.datasets import LondonFaces
from evermodels.datasets.clips import EXPRESSIONS, VIEW, Expression, face_clip
from evermodels.recognizer import Recognition, Recognizer
from evermodels.report import write_report
from evermodels.signals import Video

__all__ = ["MODEL", "PARTS", "Part", "face_frames", "recognize", "run"]

MODEL = "ever_tiny.quadrant"
_CLIP_SECONDS = 5.0  # of a model that takes clips of any length
_SOURCES = {"eegmat": "eeg", "faces": "video"}  # what the sample's files are recordings of


class Part(NamedTuple):
    """One half of the demo.

    Args:
        state: What the person does, as the classes of EEG models have it.
        expression: What the face clips show, as the classes of face models have it.
        eeg: Name of the EEG sample.
        titles: Heading on the page: of the EEG alone, of the face alone.
    """

    state: str
    expression: Expression
    eeg: str
    titles: tuple[str, str]

    @property
    def truth(self) -> str:
        """The class of both together."""
        return JOIN.join((self.state, self.expression))

    def title(self, modalities: Sequence[str]) -> str:
        """Return the heading on the page.

        Args:
            modalities: What of it a model takes.
        """
        eeg, face = self.titles
        if "video" not in modalities:
            return eeg
        return f"{eeg}, with {face[:1].lower()}{face[1:]}" if "eeg" in modalities else face


BASELINE = "eegmat_subject33_baseline.edf"
"""The EEG sample that was recorded first."""

PARTS = (
    Part("rest", "neutral", "eegmat_subject33_rest.edf", ("Rest", "A neutral face")),
    Part("arithmetic", "smiling", "eegmat_subject33_arithmetic.edf", ("Mental arithmetic", "A smiling face")),
)

_READS = {
    "eeg": ("a brain", "30 seconds of real EEG of one person at rest and of the same person subtracting numbers"),
    "video": ("a face", "clips of a neutral and of a smiling face"),
}
_FRAMES = (
    "There is no openly licensed video that fits, so each clip was made from one person's two photographs with small "
    "random motion and light; some begin in the other expression and fade. Windows alternate between two people."
)
_LIMITS = {
    ("eeg", "video"): "EEG and faces are of different people, and putting them together is our invention.",
    ("eeg",): "In these EEG recordings rest always comes first, so state, time and recording are confounded: a model "
    "may have learned any of them.",
}


def run(
    out: str | os.PathLike[str], *, model: PretrainedModel | str | os.PathLike[str] | None = None, progress: bool = True
) -> Path:
    """Run the demo: print the probabilities of each window and write the page.

    Args:
        out: Where the page goes.
        model: A model of EEG, of face video or of both, or the name or folder of a checkpoint; ``None`` for
            :data:`MODEL`. One whose classes are not those of the sample is shown without what was recorded.
        progress: Whether to draw progress bars on stderr.

    Returns:
        The page's path.

    Raises:
        ConfigError: If the page cannot be written.
        CheckpointError: If the model cannot be loaded, or takes neither EEG nor face video.
    """
    check_target(out, "out")
    loaded: Any = model if isinstance(model, PretrainedModel) else from_pretrained(model or MODEL)
    # The clips are cut to the face when they are made, as in the training data: no face is looked for again.
    options = {"face": None} if loaded.input_spec and loaded.input_spec.video else {}
    recognizer = Recognizer(loaded, batch_size=1, **options)
    modalities = _modalities(recognizer)
    print(f"{recognizer.name}: {sum(p.numel() for p in recognizer.model.parameters()):,} parameters")
    results: dict[str, Recognition] = {}
    for part, result in recognize(recognizer, progress=progress):
        print(f"\n{part.title(modalities)}\n{result.summary()}")
        results[part.title(modalities)] = result
    truth = {part.title(modalities): label for part in PARTS if (label := _recorded(part, recognizer))}
    page = write_report(
        results,
        out,
        title=f"{type(recognizer.model).__name__} reads {' and '.join(_READS[name][0] for name in modalities)}",
        intro=_intro(recognizer, bool(truth)),
        truth=truth,
        notes={"video": _FRAMES},
        limits=_limits(modalities, bool(truth)),
        sources=[source for name, source in samples.ATTRIBUTION.items() if _SOURCES[name] in modalities],
    )
    print(f"\npage: {page}")
    return page


def recognize(recognizer: Recognizer, *, progress: bool = False) -> Iterator[tuple[Part, Recognition]]:
    """Read the bundled sample: rest with a neutral face, then arithmetic with a smiling one.

    Args:
        recognizer: A model of EEG, of face video or of both.
        progress: Whether to draw progress bars on stderr.

    Yields:
        Each part of :data:`PARTS` with what the model says.

    Raises:
        CheckpointError: If the model takes neither EEG nor face video.
    """
    spec, modalities = recognizer.input_spec, _modalities(recognizer)
    compared: dict[str, Any] = {}
    if spec.eeg is not None and spec.eeg.baseline:
        compared["baseline"] = recognizer.preprocessor.fit_baseline(samples.path(BASELINE))
    elif spec.eeg is not None and spec.eeg.whiten:
        compared["baseline"] = recognizer.preprocessor.fit_baseline([samples.path(part.eeg) for part in PARTS])
    for number, part in enumerate(PARTS):
        recordings: dict[str, Any] = {}
        if "eeg" in modalities:
            recordings["eeg"] = samples.path(part.eeg)
        if "video" in modalities:
            frames, fps = face_frames(part.expression, spec, seed=number)
            recordings["video"] = Video(frames, fps=fps)
        yield part, recognizer.predict(**recordings, progress=progress, **compared)


def _modalities(recognizer: Recognizer) -> tuple[str, ...]:
    """Return what of the sample a model takes."""
    taken = tuple(name for name in _READS if name in recognizer.input_spec.modalities)
    if not taken:
        takes = ", ".join(recognizer.input_spec.modalities)
        raise CheckpointError(
            f"model: the sample of the demo is EEG and face video, and {recognizer.name!r} takes {takes}. Use "
            "evermodels predict for it."
        )
    return taken


def _recorded(part: Part, recognizer: Recognizer) -> str:
    """Return the class that a part was recorded as, or nothing where the model has other classes."""
    classes = recognizer.model.classes or ()
    return next((label for label in (part.truth, part.state, part.expression) if label in classes), "")


def _intro(recognizer: Recognizer, known: bool) -> str:
    modalities, eeg = _modalities(recognizer), recognizer.input_spec.eeg
    intro = f"{recognizer.name} reads {', beside '.join(_READS[name][1] for name in modalities)}."
    if known:
        halves = {"eeg": "rest or arithmetic from the EEG", "video": "neutral or smiling from the face"}
        intro += f" It tells {' and '.join(halves[name] for name in modalities)}."
        intro += " Nobody shown here was in its training data." if recognizer.name == MODEL else ""
    if eeg is not None and eeg.baseline:
        intro += (
            f" The EEG is compared with a minute of {eeg.baseline} that the person recorded first; nothing else is "
            "known of the person."
        )
    return intro


def _limits(modalities: Sequence[str], known: bool) -> list[str]:
    first = (
        "This demo is not emotion recognition: it tells rest from arithmetic or neutral from smiling."
        if known
        else "This demo is not emotion recognition, and the model's classes are not what was recorded here: rest and "
        "arithmetic, neutral and smiling."
    )
    return [first, *(text for needs, text in _LIMITS.items() if set(needs) <= set(modalities))]


def face_frames(
    expression: Expression, spec: InputSpec, *, seconds: float = 30.0, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Return the bundled faces as one sequence of frames, one clip per window.

    Args:
        expression: ``"neutral"`` or ``"smiling"``.
        spec: What the model asks for: frames per window, their size, the window's length.
        seconds: Length of the sequence.
        seed: Seed of the clips' motion, light and timing.

    Returns:
        Frames ``(frames, height, width, 3)`` uint8, RGB, and their rate per second.

    Raises:
        CheckpointError: If the model takes no video.
    """
    if spec.video is None:
        raise CheckpointError(f"model: the faces need a model of video, got one of {', '.join(spec.modalities)}.")
    length = spec.window_seconds or _CLIP_SECONDS
    faces = LondonFaces(samples.folder("faces"))
    windows = int(seconds // length)
    height, width = spec.video.size
    size = (round(height / VIEW), round(width / VIEW))
    clips = []
    for window in range(windows):
        person = faces.people[window % len(faces.people)]
        neutral, smiling = (faces.photo(person, e, size=size) for e in EXPRESSIONS)
        rng = np.random.default_rng((seed, window))
        clips.append(face_clip(neutral, smiling, expression, spec.video.num_frames, spec.video.size, rng))
    return np.concatenate(clips), spec.video.num_frames / length
