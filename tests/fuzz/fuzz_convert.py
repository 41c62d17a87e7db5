"""Coverage-guided fuzzing of the conversion of foreign weights: archives, pickles, headers, and the config beside them.

Run as ``python tests/fuzz/fuzz_convert.py -max_total_time=600`` after ``pip install atheris``; it is no part of the
tests. Anything but one of our errors is a finding, and so are a hang, a large allocation and a model that is not whole:
libFuzzer stops and writes the input to a file, which reproduces it as the argument.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["evermodels"]):
    from evermodels.backbones import VideoMAE, VideoMAEConfig
    from evermodels.checkpoints.convert import load_foreign
    from evermodels.checkpoints.foreign_format import Request
    from evermodels.core.errors import EvermodelsError

import torch
from safetensors.torch import save

COUNTS: collections.Counter[str] = collections.Counter()
ASKED = {"num_frames": 4, "img_size": (8, 16), "embed_dim": 4, "depth": 1, "num_heads": 2}
EDGES = (0, 1, -1, 2**63, 10**30, 1e300, None, True, "", "gelu", [], [8, 16], {}, {"0": "a"}, "\x1b[2J", "a\n## b")
FACTS = {
    "model_type": "videomae",
    "hidden_act": "gelu",
    "image_size": [8, 16],
    "num_attention_heads": 2,
    "num_frames": 4,
    "layer_norm_eps": 1e-12,
    "id2label": {"0": "a", "1": "b"},
}


def _files() -> dict[str, bytes]:
    state = VideoMAE(VideoMAEConfig(**ASKED, patch_size=8, num_classes=2)).state_dict()
    found = {"model.safetensors": save(state)}
    for name, content, zipped in (
        ("zip", state, True),
        ("legacy", state, False),
        ("container", {"model": state, "args": argparse.Namespace(lr=1e-3), "epoch": 3}, True),
    ):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
        found[f"{name}.pth"] = stream.getvalue()
    return found


FILES = _files()
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz_convert_"))


def mutate(content: bytes, data: atheris.FuzzedDataProvider) -> bytes:
    """Set, insert, remove and copy bytes, most of them where names and sizes stand."""
    changed = bytearray(content)
    for _ in range(data.ConsumeIntInRange(0, 4)):
        place = data.ConsumeIntInRange(0, len(changed) - 1)
        if data.ConsumeBool():  # the ends hold the header or the archive's directory
            place = place % 3000 if data.ConsumeBool() else max(0, len(changed) - 1 - place % 3000)
        action = data.ConsumeIntInRange(0, 4)
        if action == 0:
            changed[place] = data.ConsumeIntInRange(0, 255)
        elif action == 1:
            changed[place:place] = data.ConsumeBytes(8)
        elif action == 2:
            del changed[place : place + data.ConsumeIntInRange(1, 64)]
        elif action == 3:
            source = data.ConsumeIntInRange(0, len(changed) - 1)
            changed[place:place] = changed[source : source + data.ConsumeIntInRange(1, 64)]
        else:
            changed[place : place + 4] = data.ConsumeIntInRange(0, 2**32 - 1).to_bytes(4, "little")
    return bytes(changed) or b"\0"


def one(raw: bytes) -> None:
    """Run one input: the first bytes choose the file, the others mutate it."""
    data = atheris.FuzzedDataProvider(raw)
    name = list(FILES)[data.ConsumeIntInRange(0, len(FILES) - 1)]
    path, beside = FOLDER / name, FOLDER / "config.json"
    path.write_bytes(mutate(FILES[name], data))
    beside.unlink(missing_ok=True)
    if data.ConsumeIntInRange(0, 3) == 0:
        facts: dict[str, Any] = dict(FACTS)
        for _ in range(data.ConsumeIntInRange(0, 3)):
            facts[data.PickValueInList(list(FACTS))] = EDGES[data.ConsumeIntInRange(0, len(EDGES) - 1)]
        beside.write_text(json.dumps(facts), encoding="utf-8")
    COUNTS["executions"] += 1
    try:
        done = load_foreign(path, "videomae_base", request=Request(ASKED))
        COUNTS[f"{name} taken"] += 1
    except EvermodelsError as error:
        assert len(str(error)) < 5000 and "\x1b" not in str(error)
        COUNTS[f"{name} refused"] += 1
    else:
        assert all(tensor.isfinite().all() for tensor in done.model.state_dict().values())
        assert "\x1b" not in str(done.report)
    if COUNTS["executions"] % 1000 == 0 and (place := os.environ.get("FUZZ_COUNTS")):
        Path(place).write_text(json.dumps(COUNTS, indent=1))


if __name__ == "__main__":
    limits = ["-timeout=20", "-rss_limit_mb=4000", "-max_len=512", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:]], one)
    atheris.Fuzz()
