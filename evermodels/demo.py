"""The demo: the bundled model reads the bundled real sample and writes a page about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evermodels import samples
from evermodels.core.errors import CheckpointError
from evermodels.core.files import check_target
from evermodels.core.specs import InputSpec
from evermodels.datasets import LondonFaces
from evermodels.datasets.clips import EXPRESSIONS, Expression, face_clip
from evermodels.recognizer import Recognition, Recognizer
from evermodels.report import write_report
from evermodels.signals import Video

__all__ = ["MODEL", "PARTS", "Part", "face_frames", "run"]

MODEL = "ever_tiny.quadrant"
_VIEW = 0.75  # part of the cropped photograph that fills a frame, as in the data that the model learned from


class Part(NamedTuple):
    """One half of the demo.

    Args:
        title: Heading on the page.
        eeg: Name of the EEG sample.
        expression: What the face clips show.
        truth: The class that belongs to it.
    """

    title: str
    eeg: str
    expression: Expression
    truth: str


BASELINE = "eegmat_subject33_baseline.edf"
"""The EEG sample that was recorded first."""

PARTS = (
    Part("Rest, with a neutral face", "eegmat_subject33_rest.edf", "neutral", "rest & neutral"),
    Part(
        "Mental arithmetic, with a smiling face", "eegmat_subject33_arithmetic.edf", "smiling", "arithmetic & smiling"
    ),
)

_INTRO = (
    "A small EVER model reads 30 seconds of real EEG of one person at rest and 30 seconds of the same person "
    "subtracting numbers, each beside a neutral or a smiling face of somebody else. It tells four classes apart: rest "
    "or arithmetic from the EEG, neutral or smiling from the face. Nobody shown here was in its training data. The EEG "
    "is compared with a minute of rest that the person recorded first; nothing else is known of the person."
)
_FRAMES = (
    "There is no openly licensed video that fits, so each clip was made from one person's two photographs with small "
    "random motion and light; some begin in the other expression and fade. Windows alternate between two people."
)
_LIMITS = (
    "This demo is not emotion recognition: it tells rest from arithmetic and neutral from smiling. EEG and faces are "
    "of different people, and putting them together is our invention.",
    "In these EEG recordings rest always comes first, so state, time and recording are confounded: a model may have "
    "learned any of them.",
)


def run(out: str | os.PathLike[str], *, model: str | os.PathLike[str] | None = None, progress: bool = True) -> Path:
    """Run the demo: print the probabilities of each window and write the page.

    Args:
        out: Where the page goes.
        model: A checkpoint of the quadrant pairs; ``None`` for the bundled one, :data:`MODEL`.
        progress: Whether to draw progress bars on stderr.

    Returns:
        The page's path.

    Raises:
        ConfigError: If the page cannot be written.
        CheckpointError: If the model cannot be loaded, or knows other classes.
    """
    check_target(out, "out")
    # The clips are cut to the face when they are made, as in the training data: no face is looked for again.
    recognizer = Recognizer(model or MODEL, batch_size=1, face=None)
    known = recognizer.model.classes or ()
    if not {part.truth for part in PARTS} <= set(known):
        wanted = ", ".join(repr(part.truth) for part in PARTS)
        raise CheckpointError(
            f"model: the demo needs the classes {wanted}, and {recognizer.name!r} knows "
            f"{', '.join(known) or 'none by name'}. Use evermodels predict for it."
        )
    print(f"{recognizer.name}: {sum(p.numel() for p in recognizer.model.parameters()):,} parameters")
    compared: dict[str, Any] = {}
    eeg = recognizer.input_spec.eeg
    if eeg is not None and eeg.baseline:
        compared["baseline"] = recognizer.preprocessor.fit_baseline(samples.path(BASELINE))
        print(f"compared with a minute of this person's {eeg.baseline}: {compared['baseline']}")
    elif eeg is not None and eeg.whiten:
        compared["baseline"] = recognizer.preprocessor.fit_baseline([samples.path(part.eeg) for part in PARTS])
    results: dict[str, Recognition] = {}
    for number, part in enumerate(PARTS):
        frames, fps = face_frames(part.expression, recognizer.input_spec, seed=number)
        print(f"\n{part.title}")
        result = recognizer.predict(
            eeg=samples.path(part.eeg), video=Video(frames, fps=fps), progress=progress, **compared
        )
        print(result.summary())
        results[part.title] = result
    page = write_report(
        results,
        out,
        title="EVER reads a brain and a face",
        intro=_INTRO,
        truth={part.title: part.truth for part in PARTS},
        notes={"video": _FRAMES},
        limits=_LIMITS,
        sources=list(samples.ATTRIBUTION.values()),
    )
    print(f"\npage: {page}")
    return page


def face_frames(
    expression: Expression, spec: InputSpec, *, seconds: float = 30.0, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Return the bundled faces as one sequence of frames, one clip per EEG window.

    Args:
        expression: ``"neutral"`` or ``"smiling"``.
        spec: What the model asks for: frames per window, their size, the window's length.
        seconds: Length of the sequence.
        seed: Seed of the clips' motion, light and timing.

    Returns:
        Frames ``(frames, height, width, 3)`` uint8, RGB, and their rate per second.

    Raises:
        CheckpointError: If the model takes no EEG or no video.
    """
    if spec.eeg is None or spec.video is None or spec.window_seconds is None:
        raise CheckpointError(
            f"model: the demo needs a model of EEG and video, got one of {', '.join(spec.modalities)}."
        )
    faces = LondonFaces(samples.folder("faces"))
    windows = int(seconds // spec.window_seconds)
    height, width = spec.video.size
    size = (round(height / _VIEW), round(width / _VIEW))
    clips = []
    for window in range(windows):
        person = faces.people[window % len(faces.people)]
        neutral, smiling = (faces.photo(person, e, size=size) for e in EXPRESSIONS)
        rng = np.random.default_rng((seed, window))
        clips.append(face_clip(neutral, smiling, expression, spec.video.num_frames, spec.video.size, rng, view=_VIEW))
    return np.concatenate(clips), spec.video.num_frames / spec.window_seconds
