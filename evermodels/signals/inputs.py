"""What a model takes, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model takes, window by window: ``model(**inputs.tensors)``.

    Args:
        tensors: By modality, each ``(windows, …)`` float32 as the model's input spec says.
        starts: Start of each window in seconds on the clock that the recordings share, ``(windows,)`` float64.
        window_seconds: Length of a window in seconds.
        dropped: Names of what the recordings hold and the model does not take, such as channels.
        quality: How well each window could be read, ``(windows,)`` by name, such as the share of frames with a face.
        notes: What the inputs cannot show, in whole sentences for people. In a stream those on the recordings come with
            its first inputs, those on the windows with its last.
        against: What the windows are compared with: ``"baseline"``, ``"recordings"`` of all states, ``"itself"`` or
            ``""``.
        events: What each window is a part of, such as the condition of its trial; empty where the recording has none.
        present: Which windows have a modality, ``(windows,)`` bool by modality, where some windows lack it; the rows of
            such windows hold anything.
        masks: Which frames show a face or hold sound, ``(windows, frames)`` bool by modality, where some do not.

    Example:
        >>> inputs = Inputs({"eeg": torch.zeros(3, 2, 200)}, torch.tensor([0.0, 1.0, 2.0]), 2.0)
        >>> inputs, len(inputs)
        (<Inputs: 3 windows of 2 s, eeg (3, 2, 200)>, 3)
    """

    tensors: dict[str, Tensor]
    starts: Tensor
    window_seconds: float
    dropped: tuple[str, ...] = field(default=())
    quality: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
    against: str = ""
    events: tuple[str, ...] = field(default=())
    present: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.starts.numel())

    def __repr__(self) -> str:
        tensors = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in self.tensors.items())
        lacking = "".join(
            f", without {name} in {int((~there).sum())}" for name, there in self.present.items() if not there.all()
        )
        notes = f", notes: {len(self.notes)}" if self.notes else ""
        return f"<Inputs: {len(self)} windows of {self.window_seconds:g} s, {tensors}{lacking}{notes}>"


def join(parts: Sequence[Inputs]) -> Inputs:
    """Return several inputs of one stream as one.

    Args:
        parts: At least one, in order of time.

    Example:
        >>> part = Inputs({"eeg": torch.zeros(3, 2, 200)}, torch.tensor([0.0, 1.0, 2.0]), 2.0)
        >>> len(join([part, part]))
        6
    """
    first = parts[0]
    lacking = dict.fromkeys(name for part in parts for name in part.present)
    every = {
        name: [part.present.get(name, torch.ones(len(part), dtype=torch.bool)) for part in parts] for name in lacking
    }
    frames = {name: mask.shape[1:] for part in parts for name, mask in part.masks.items()}
    masks = {
        name: torch.cat([part.masks.get(name, torch.ones(len(part), *size, dtype=torch.bool)) for part in parts])
        for name, size in frames.items()
    }
    return Inputs(
        {name: torch.cat([part.tensors[name] for part in parts]) for name in first.tensors},
        torch.cat([part.starts for part in parts]),
        first.window_seconds,
        first.dropped,
        quality={name: torch.cat([part.quality[name] for part in parts]) for name in first.quality},
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        against=first.against,
        events=tuple(event for part in parts for event in part.events),
        present={name: torch.cat(flags) for name, flags in every.items()},
        masks=masks,
    )
