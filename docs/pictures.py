"""Draw what comes out of the bundled model on the bundled sample: the picture of the landing page and the README.

From the project's root:

    python docs/pictures.py
"""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from evermodels import Recognizer, demo, plots
from evermodels.plots.results import surest_window
from evermodels.plots.style import ink_of, styled
from evermodels.recognition import Recognition

FOLDER = Path(__file__).resolve().parent / "assets"
LARGEST = 200_000  # bytes
CHANNELS = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2")
TITLES = {"rest": "At rest, beside a neutral face", "arithmetic": "Subtracting, beside a smiling face"}


def draw(results: dict[str, Recognition], theme: plots.Theme) -> Figure:
    """Return the picture: for each part a window of EEG, frames of the face, and what the model says.

    Args:
        results: What the model says, by the person's state.
        theme: ``"light"`` or ``"dark"``.
    """
    ink = ink_of(theme)
    with styled(ink):
        figure = Figure(figsize=(10.4, 5.6), dpi=125, layout="constrained")
        grid = figure.add_gridspec(2, 3, width_ratios=(1.05, 0.75, 1.2))
        for row, (state, result) in enumerate(results.items()):
            eeg, face, answer = (figure.add_subplot(grid[row, column]) for column in range(3))
            kept = [result.ch_names.index(name) for name in CHANNELS]
            signals = surest_window(result, "eeg")[kept]
            plots.plot_traces(signals, result.window_seconds, names=CHANNELS, title=TITLES[state], axes=eeg, theme=theme)
            frames = surest_window(result, "video")[::2]
            plots.plot_frames(frames, columns=4, seconds=range(0), title="", axes=face, theme=theme) if False else None
            plots.plot_frames(frames, columns=4, title="", axes=face, theme=theme)
            plots.plot_probabilities(result, title=f"“{result.top.label}”", legend=row == 1, axes=answer, theme=theme)
    return figure
