"""Public names do not appear or vanish unnoticed.

After a wanted change: ``python tests/test_api_surface.py --write``.
"""

import importlib
import json
import sys
from pathlib import Path

STORED = Path(__file__).with_name("api_surface.json")
ROOMS = (
    "backbones",
    "datasets",
    "functional",
    "interop",
    "layers",
    "losses",
    "models",
    "montage",
    "plots",
    "signals",
    "training",
)


def surface():
    """Return the public names of the face and of each room, each checked to resolve."""
    names = {}
    for module_name in ("evermodels", *(f"evermodels.{room}" for room in ROOMS)):
        module = importlib.import_module(module_name)
        public = sorted(module.__all__)
        for name in public:
            getattr(module, name)
        names[module_name] = public
    return names


def test_surface_is_the_stored_one():
    stored, found = json.loads(STORED.read_text(encoding="utf-8")), surface()
    for module in sorted({*stored, *found}):
        gone = sorted(set(stored.get(module, ())) - set(found.get(module, ())))
        new = sorted(set(found.get(module, ())) - set(stored.get(module, ())))
        assert not gone and not new, (
            f"{module}: gone {gone}, new {new}. If this is wanted, run: python tests/test_api_surface.py --write, "
            "and say so in CHANGELOG.md"
        )


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_api_surface.py --write")
    STORED.write_text(json.dumps(surface(), indent=2) + "\n", encoding="utf-8")
