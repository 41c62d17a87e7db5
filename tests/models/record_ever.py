"""Records what EVER answers and how it trains, in ``tests/golden/ever_before.safetensors``.

The record in the repository was made by the code of before the base of systems (commit 73ca47b), so that
``test_ever_record.py`` holds today's code to its numbers. When the bundled weights are replaced, make it anew: today's
code writes them in format 1, which the old code reads from a second checkout beside this one::

    git worktree add ../before 73ca47b
    PYTHONPATH=. python tests/models/record_ever.py evermodels/checkpoints/bundled/ever_tiny.quadrant ../in_format_1
    PYTHONPATH=../before python tests/models/record_ever.py ../in_format_1

Nothing here may use what the old code has not, but in ``in_format_1``.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import evermodels as em

RECORD = Path(__file__).parents[1] / "golden" / "ever_before.safetensors"
TRAINED = {"squared_change": True, "channel_drop_rate": 0.1, "drop_rate": 0.1, "modality_drop_rate": 0.2}


def digest(folder: str | Path) -> str:
    """Return the sha256 of a checkpoint's weights."""
    return hashlib.sha256((Path(folder) / "model.safetensors").read_bytes()).hexdigest()


def draw() -> tuple[Tensor, Tensor]:
    """Return four windows of EEG and video."""
    g = torch.Generator().manual_seed(7)
    eeg, video = 20 * torch.randn(4, 19, 500, generator=g), torch.randn(4, 16, 3, 64, 64, generator=g)
    return eeg.half().float(), video.half().float()


def answers(folder: str | Path) -> dict[str, Tensor]:
    """Return what the model of a folder says of the windows: with both, each alone, some absent, another headset."""
    eeg, video = draw()
    found: dict[str, Tensor] = {"inputs": torch.cat([eeg.flatten()[:8], video.flatten()[:8]])}

    def keep(tag: str, output: Any) -> None:
        values = {"logits": output.logits, **{f"embeddings.{k}": v for k, v in output.embeddings.items()}}
        values |= {f"attention.{k}": v for k, v in output.attention.items()}
        found.update({f"{tag}.{name}": value.contiguous().clone() for name, value in values.items()})

    model = em.from_pretrained(str(folder))
    flags = {"eeg": torch.tensor([True, False, True, True]), "video": torch.tensor([True, True, False, True])}
    with torch.inference_mode():
        keep("both", model(eeg=eeg, video=video))
        keep("eeg", model(eeg=eeg))
        keep("video", model(video=video))
        keep("mixed", model(eeg=eeg, video=video, present=flags))
        other = em.from_pretrained(str(folder), ch_names=em.montage.preset("epoc"))
        keep("epoc", other(eeg=eeg[:, :14].contiguous(), video=video))
    return found


def losses() -> Tensor:
    """Return the losses of four steps of a fresh ``ever_tiny`` from one seed, with all that is random in training."""
    eeg, video = draw()
    torch.manual_seed(0)
    model = em.create_model("ever_tiny", **TRAINED)
    model.fit_statistics([{"eeg": eeg}])
    loss, optimizer = model.make_loss([1, 2, 3, 4]), torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    found = []
    for _ in range(4):
        total = loss(model(eeg=eeg, video=video), torch.arange(4)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        found.append(total.detach())
    return torch.stack(found)


def in_format_1(source: str | Path, folder: str | Path) -> None:
    """Write a checkpoint for the old code."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.checkpoints.format_1 import write_in_format_1

    write_in_format_1(em.from_pretrained(str(source)), Path(folder))
    (Path(folder) / "README.md").write_text(digest(source))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        in_format_1(*sys.argv[1:])
    else:
        weights = (Path(sys.argv[1]) / "README.md").read_text()
        save_file({**answers(sys.argv[1]), "losses": losses()}, RECORD, metadata={"weights": weights})
        RECORD.chmod(0o644)  # safetensors makes files that only their owner can read
