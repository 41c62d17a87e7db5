"""The state of an unfinished run: written whole after every epoch, found again after a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from evermodels.training.optim import MovingAverage

_NAME = re.compile(r"^state-(\d{4,})$")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, also where several processes write it.

    Args:
        path: The file.
        text: Its content.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: The file.
        value: Plain JSON types.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
    """
    return json.loads(path.read_text(encoding="utf-8"))


def _states(run_dir: Path) -> list[tuple[int, Path]]:
    found = [(int(m[1]), path) for path in run_dir.iterdir() if (m := _NAME.match(path.name)) and path.is_dir()]
    return sorted(found)


def save_state(
    accelerator: Any, run_dir: Path, epochs_done: int, progress: dict[str, Any], average: MovingAverage | None
) -> None:
    """Write model, optimiser, schedule, random generators (by accelerate), moving average and progress.

    The folder gets its name by one rename when all is in it; only then is the one before removed. So a kill at any
    moment leaves one whole state. No pickle of ours is in it: the average is safetensors, the progress JSON.

    Args:
        accelerator: The run's accelerator.
        run_dir: The run's folder.
        epochs_done: Epochs that the state has seen.
        progress: Plain JSON: best value and epoch, history.
        average: The moving average, if there is one.
    """
    part = run_dir / f"state-{epochs_done:04d}.part"
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if average is not None:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in average.state_dict().items()}, part / "ema.safetensors"
            )
        write_json(part / "progress.json", {"epochs_done": epochs_done, **progress})
        final = run_dir / f"state-{epochs_done:04d}"
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        for done, path in _states(run_dir):
            if done != epochs_done:
                shutil.rmtree(path, ignore_errors=True)
    accelerator.wait_for_everyone()


def restore_state(accelerator: Any, run_dir: Path, average: MovingAverage | None) -> dict[str, Any] | None:
    """Load the newest whole state of a run.

    Args:
        accelerator: The run's accelerator, with everything prepared.
        run_dir: The run's folder.
        average: The moving average, if there is one.

    Returns:
        The progress with ``epochs_done``, or ``None`` if there is no state.
    """
    states = _states(run_dir)
    if not states:
        return None
    folder = states[-1][1]
    accelerator.load_state(str(folder))
    if average is not None:
        average.load_state_dict(load_file(folder / "ema.safetensors"))
    progress: dict[str, Any] = read_json(folder / "progress.json")
    return progress


def clear(run_dir: Path, *, everything: bool = False) -> None:
    """Remove what is left of states, and with ``everything`` all that a run writes.

    Args:
        run_dir: The run's folder.
        everything: Whether results, the best model and the run's description go too.
    """
    for path in [*run_dir.glob("state-*"), *([run_dir / "model"] if everything else [])]:
        shutil.rmtree(path, ignore_errors=True)
    for path in run_dir.glob("*.part"):
        path.unlink(missing_ok=True)
    if everything:
        for name in ("run.json", "metrics.jsonl", "result.json", "predictions.npz", "predictions_validation.npz"):
            (run_dir / name).unlink(missing_ok=True)
