"""Draw the house: its rooms and floors, as the import contract in ``pyproject.toml`` names them.

From the project's root, after a change of the contract:

    python docs/house.py
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "assets" / "house.svg"

ROOMS = {
    "cli": "commands",
    "demo": "the bundled sample",
    "report": "a page, from a template",
    "training": "objectives, engine, evaluation",
    "recognizer": "recordings in, probabilities out",
    "recognition": "what a model said",
    "plots": "a picture per kind of attention",
    "facts": "what is known of a model",
    "interop": "as others take models",
    "zoo": "a model by its name",
    "models": "system.py, then one file a system",
    "backbones": "one family a file",
    "datasets": "readers, pairs, splits",
    "layers": "parts of networks",
    "losses": "what is minimised",
    "checkpoints": "verified weights",
    "signals": "a room a modality",
    "functional": "equations, pure",
    "montage": "names, places, regions",
    "samples": "real recordings",
    "core": "specs, kinds, registry, configs, outputs, errors, files",
}
"""What is in a room, in a few words; files that belong to another room are drawn with it."""

TOUCHED = {
    "a modality": {
        "core": ("specs/NAME.py,", "two rows"),
        "signals": ("NAME/",),
        "plots": ("a picture",),
    },
    "a system": {"core": ("registry: a row",), "models": ("NAME.py",)},
    "a backbone": {"core": ("registry: a row",), "backbones": ("KIND/NAME.py",)},
}
COLOURS = {"a modality": "#0072B2", "a system": "#D55E00", "a backbone": "#009E73"}

LEFT, WIDTH, FLOOR, GAP, TOP = 46, 540, 46, 7, 66
COLUMN, FIRST = 122, LEFT + WIDTH + 14

STYLE = """
.house { --ink: var(--md-default-fg-color, #222); --soft: var(--md-default-fg-color--light, #555);
  --line: var(--md-default-fg-color--lighter, #bbb); --paper: var(--md-default-bg-color, #fff);
  font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 14px; fill: var(--ink); }
.house .paper { fill: var(--paper); }
.house .room { fill: var(--paper); stroke: var(--line); stroke-width: 1.3; }
.house .name { font-weight: 650; }
.house .soft { fill: var(--soft); font-size: 12px; }
.house .mid { text-anchor: middle; }
.house .way { stroke: var(--soft); stroke-width: 1.8; fill: none; marker-end: url(#house-tip); }
.house .tip { fill: var(--soft); }
.house .mark { font-size: 12px; }
.house .thread { stroke-width: 1.3; stroke-dasharray: 2 4; opacity: 0.8; }
"""


def floors() -> list[list[str]]:
    """Return the rooms by floor, from the roof to the ground; parts of the report stand with the report."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    found: list[list[str]] = []
    seen: set[str] = set()
    for layer in contract["layers"]:
        names = [part.strip().removeprefix("evermodels.") for part in layer.split("|")]
        rooms = [name for name in names if name.split("_")[0] not in seen]
        rooms.sort(key=lambda room: any(room in touched for touched in TOUCHED.values()))  # those stand at the right
        seen.update(name.split("_")[0] for name in names)
        if rooms:
            found.append(rooms)
    unknown = sorted({room for floor in found for room in floor} - set(ROOMS))
    if unknown:
        raise SystemExit(f"docs/house.py: say in ROOMS what is in {', '.join(unknown)}.")
    return found


def draw() -> str:
    """Return the drawing."""
    house = floors()
    height = TOP + len(house) * (FLOOR + GAP) + 34
    width = FIRST + 3 * COLUMN + 6
    ground = TOP + len(house) * (FLOOR + GAP) - GAP
    parts = [
        f'<svg class="house" viewBox="0 0 {width} {height}" role="img" aria-labelledby="house-title house-desc" '
        'xmlns="http://www.w3.org/2000/svg">',
        '<title id="house-title">The house: rooms, floors, and what an addition touches</title>',
        f'<desc id="house-desc">From the roof to the ground: {escape("; ".join(", ".join(floor) for floor in house))}. '
        "A room imports only from below its floor. A modality touches core, signals and plots, a system core and "
        "models, a backbone core and backbones.</desc>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="house-tip" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="tip" d="M0 0.8 L10 5 L0 9.2 z"/></marker></defs>',
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<path class="way" d="M26 {TOP} V{ground}"/>',
        f'<text class="soft mid" transform="translate(16 {(TOP + ground) / 2}) rotate(-90)">imports go down, never up '
        "or sideways</text>",
    ]
    middle, boxes = {}, []
    for row, rooms in enumerate(house):
        y, side = TOP + row * (FLOOR + GAP), (WIDTH - GAP * (len(rooms) - 1)) / len(rooms)
        for place, room in enumerate(rooms):
            x = LEFT + place * (side + GAP)
            middle[room] = (x + side, y + FLOOR / 2)
            boxes.append(f'<rect class="room" x="{x:.1f}" y="{y}" width="{side:.1f}" height="{FLOOR}" rx="7"/>')
            centre = x + side / 2
            boxes.append(f'<text class="name mid" x="{centre:.1f}" y="{y + 20}">{room}</text>')
            boxes.append(f'<text class="soft mid" x="{centre:.1f}" y="{y + 37}">{escape(ROOMS[room])}</text>')
    parts.append(f'<text class="soft" x="{FIRST}" y="22">to add one, touch</text>')
    for column, (what, rooms) in enumerate(TOUCHED.items()):
        x, colour = FIRST + column * COLUMN, COLOURS[what]
        parts.append(f'<text class="name" x="{x + 10}" y="46" style="fill:{colour}">{what}</text>')
        for room, lines in rooms.items():
            right, y = middle[room]
            parts.append(f'<path class="thread" style="stroke:{colour}" d="M{right:.1f} {y} H{x}"/>')
            boxes.append(
                f'<rect class="room" style="stroke:{colour};stroke-width:1.8" x="{x}" y="{y - FLOOR / 2}" '
                f'width="{COLUMN - 8}" height="{FLOOR}" rx="7"/>'
            )
            for k, line in enumerate(lines):
                shift = 4 + 16 * (k - (len(lines) - 1) / 2)
                boxes.append(f'<text class="mark" x="{x + 10}" y="{y + shift:.1f}">{escape(line)}</text>')
    boxes.append(
        f'<text class="soft" x="{LEFT}" y="{height - 10}">Everything may import core. Tests and docs come with each; '
        "whoever finds a further place mends the place.</text>"
    )
    return "\n".join([*parts, *boxes, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(TARGET.relative_to(ROOT))
