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
CHANNELS = ("Fp1", "F3", "C3", "P3", "O1", "O2")
SECONDS = 3.0  # of the window: more lines than points to draw them with otherwise
TITLES = {"rest": "A person at rest …", "arithmetic": "… and subtracting numbers"}
FACES = {"neutral": "A neutral face …", "smiling": "… and a smiling one"}


def draw(results: dict[demo.Part, Recognition], theme: plots.Theme) -> Figure:
    """Return the picture: for each part a window of EEG, frames of the face, and what the model says.

    Args:
        results: What the model says, by part.
        theme: ``"light"`` or ``"dark"``.
    """
    with styled(ink_of(theme)):
        figure = Figure(figsize=(10.4, 5.2), dpi=125, layout="constrained")
        grid = figure.add_gridspec(2, 3, width_ratios=(1.1, 0.75, 1.25))
        for row, (part, result) in enumerate(results.items()):
            eeg, face, answer = (figure.add_subplot(grid[row, column]) for column in range(3))
            samples = round(SECONDS * result.input_spec.of("eeg").sfreq)
            rows = [result.ch_names.index(name) for name in CHANNELS]
            signals, start = surest_window(result, "eeg")[rows, :samples], float(result.starts[result.shown])
            given = {"names": CHANNELS, "start": start, "title": TITLES[part.state], "theme": theme}
            plots.plot_traces(signals, SECONDS, **given, axes=eeg)
            frames = surest_window(result, "video")[3::4]
            plots.plot_frames(frames, columns=2, title=FACES[part.expression], axes=face, theme=theme)
            title = f"The model: {result.top.label}"
            plots.plot_probabilities(result, title=title, legend=False, axes=answer, theme=theme)
        figure.legend(*answer.get_legend_handles_labels(), loc="outside lower center", ncols=4, handlelength=1.0)
    return figure


def main() -> None:
    """Write the picture in both themes.

    Raises:
        SystemExit: If one is too large for a landing page.
    """
    recognizer = Recognizer(demo.MODEL, batch_size=1, face=None)
    results = dict(demo.recognize(recognizer))
    for theme in ("light", "dark"):
        stream, small = io.BytesIO(), io.BytesIO()
        draw(results, theme).savefig(stream, format="png")
        Image.open(stream).convert("RGB").quantize(256).save(small, "png", optimize=True)
        target = FOLDER / f"result-{theme}.png"
        if len(small.getvalue()) > LARGEST:
            raise SystemExit(f"{target.name}: {len(small.getvalue()):,} bytes, more than {LARGEST:,}.")
        target.write_bytes(small.getvalue())
        print(f"{target.name}: {len(small.getvalue()):,} bytes")


if __name__ == "__main__":
    main()
