"""What a run keeps on the disk: written whole, sealed by a digest, found again after a kill, refused when damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from evermodels.checkpoints.strict_json import content_digest
from evermodels.core.errors import EvermodelsError, boundary, require
from evermodels.core.files import whole_files
from evermodels.training.optim import MovingAverage

RESTART = "Begin anew with --restart (resume=False), which removes this run and trains it again."
_STATE = re.compile(r"^state-(\d{4,})(\.part)?$")
_WRITTEN = ("result.json", "predictions.npz", "predictions_validation.npz", "metrics.jsonl", "run.json")
_LOCK = ".lock"
TEACHERS = "teachers"
"""Folder in a run's own for the trainings that it learns from; they may be there before the run describes itself."""


class TrainingError(EvermodelsError, RuntimeError):
    """A training cannot go on, or a folder holds another run."""


def writing(run_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Return a context in which what goes wrong is about room or permission.

    Args:
        run_dir: The run's folder.
    """
    way_out = "Free space, or give a folder that may be written to; a run goes on from its last whole epoch."
    return boundary(TrainingError, f"{str(run_dir)!r} cannot be written", way_out)


@contextlib.contextmanager
def folder_made(run_dir: Path) -> Iterator[None]:
    """Make a run's folder; where the run fails before it writes anything, what was made goes again.

    Args:
        run_dir: The run's folder.

    Raises:
        TrainingError: If it cannot be made.
    """
    new = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    with writing(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in new:
            with contextlib.suppress(OSError):  # it holds more, or is gone
                if {path.name for path in folder.iterdir()} == {_LOCK}:
                    (folder / _LOCK).unlink()
                folder.rmdir()
        raise


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; the lock belongs to the process and ends with it, also by a kill.

    Of several processes of one training the first holds it for all.

    Args:
        run_dir: The run's folder.

    Raises:
        TrainingError: If another process trains there, or the folder cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    filelock: Any = require("filelock", extra="train", purpose="keep two trainings out of one folder")
    lock = filelock.FileLock(run_dir / _LOCK)
    try:
        with boundary(
            TrainingError,
            f"{str(run_dir)!r} cannot be locked",
            "Give a folder that may be written to.",
            passing=(filelock.Timeout,),
        ):
            lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise TrainingError(
            f"{str(run_dir)!r}: another process is training there. Wait until it is done, or give another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, also where several processes write it.

    Args:
        path: The file.
        content: Its content.
    """
    with whole_files(path.parent) as temporary:
        temporary(path.name).write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        path: The file.
        text: Its content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: The file.
        value: Plain JSON types.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file with a digest of its content.

    Args:
        path: The file.
        value: Plain JSON types.
    """
    plain = json.loads(json.dumps(value, allow_nan=False))
    write_json(path, {**plain, "sha256": content_digest(plain)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what :func:`write_sealed` wrote, without its digest.

    Args:
        path: The file.

    Raises:
        TrainingError: If it cannot be read, or is not what was written.
    """
    with boundary(TrainingError, f"{str(path)!r} is damaged", RESTART):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict) or "sha256" not in value:
            raise TypeError("not a mapping with a digest")
        if content_digest(value) != value.pop("sha256"):
            raise ValueError("its content is not the one that was written")
        return dict(value)


def found(run_dir: Path, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """Look at what a folder holds, and return the result of a run that is finished.

    Args:
        run_dir: The folder.
        described: The run that is to be in it; the entries beside ``settings`` say which.

    Raises:
        TrainingError: If it holds another run, something damaged, a link, or files that no run describes.
    """
    check_folder(run_dir)
    if not (run_dir / "run.json").exists():
        return None
    _check_same(run_dir, read_sealed(run_dir / "run.json"), described)
    if not os.path.lexists(run_dir / "result.json"):
        return None
    result = read_sealed(run_dir / "result.json")
    _check_same(run_dir, result, described)
    return result


def _check_same(run_dir: Path, before: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    differs = [key for key in described if key != "settings" and before.get(key) != described[key]]
    if differs:
        raise TrainingError(
            f"{str(run_dir)!r} holds another run: {', '.join(f'{k} was {before.get(k)!r}' for k in differs)}. "
            "Give another folder, or begin anew with --restart (resume=False), which removes that run."
        )


def check_folder(run_dir: Path) -> None:
    """Refuse a folder that is not a run's: whatever is done there would be done to somebody's files.

    Args:
        run_dir: The folder.

    Raises:
        TrainingError: If it is a link or holds links, or files of a run's names without a ``run.json``.
    """
    with writing(run_dir):
        entries = {path.name: path for path in run_dir.iterdir()} if run_dir.is_dir() else {}
    own = [path for name, path in entries.items() if name in (*_WRITTEN, "model") or _STATE.match(name)]
    inside = [path for name, path in entries.items() if name == TEACHERS]
    links = [path for path in (run_dir, *own, *inside) if path.is_symlink()]
    if links:
        raise TrainingError(
            f"{str(links[0])!r} is a link, and a run writes and removes in its own folder only. Remove the link, or "
            "give the folder that it points to."
        )
    if own and "run.json" not in entries:
        raise TrainingError(
            f"{str(run_dir)!r} holds {', '.join(sorted(p.name for p in own))} and no run.json, so nothing says that a "
            "run wrote them; nothing was removed. Move them away, or give another folder."
        )


def _states(run_dir: Path) -> list[tuple[int, Path]]:
    found = [(int(m[1]), path) for path in run_dir.iterdir() if (m := _STATE.match(path.name)) and not m[2]]
    return sorted(found)


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "progress.json":
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            digests[path.relative_to(folder).as_posix()] = digest.hexdigest()
    return digests


def save_state(
    accelerator: Any, run_dir: Path, epochs_done: int, progress: Mapping[str, Any], average: MovingAverage | None
) -> None:
    """Write model, optimiser, schedule, random generators (by accelerate), moving average and progress.

    The folder gets its name by one rename when all is in it; only then is the one before removed. So a kill or a full
    disk at any moment leaves one whole state. The progress holds the digest of every file beside it, and its own.

    Args:
        accelerator: The run's accelerator.
        run_dir: The run's folder.
        epochs_done: Epochs that the state has seen.
        progress: Plain JSON: which run, best value and epoch, history.
        average: The moving average, if there is one.

    Raises:
        TrainingError: If it cannot be written.
    """
    part = run_dir / f"state-{epochs_done:04d}.part"
    first = accelerator.is_main_process
    if first:
        shutil.rmtree(part, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with writing(run_dir):
            accelerator.save_state(str(part))
            accelerator.wait_for_everyone()
            if first:
                if average is not None:
                    weights = {k: v.detach().cpu().contiguous() for k, v in average.state_dict().items()}
                    save_file(weights, part / "ema.safetensors")
                write_sealed(part / "progress.json", {"epochs_done": epochs_done, **progress, "files": _digests(part)})
                final = run_dir / f"state-{epochs_done:04d}"
                shutil.rmtree(final, ignore_errors=True)
                part.rename(final)
    except TrainingError:
        shutil.rmtree(part, ignore_errors=True)  # on a full disk it would keep the room that is needed
        raise
    if first:
        for done, path in _states(run_dir):
            if done != epochs_done:
                shutil.rmtree(path, ignore_errors=True)
    accelerator.wait_for_everyone()


def restore_state(
    accelerator: Any, run_dir: Path, average: MovingAverage | None, run: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Load the newest whole state of a run.

    Args:
        accelerator: The run's accelerator, with everything prepared.
        run_dir: The run's folder.
        average: The moving average, if there is one.
        run: Which run it must be of, as :func:`save_state` was told.

    Returns:
        The progress with ``epochs_done``, or ``None`` if there is no state.

    Raises:
        TrainingError: If the state is damaged or another run's.
    """
    states = _states(run_dir)
    if not states:
        return None
    number, folder = states[-1]
    progress = read_sealed(folder / "progress.json")
    with boundary(TrainingError, f"{str(folder)!r} is damaged", RESTART):
        if progress["run"] != run or progress["epochs_done"] != number:
            raise ValueError("it is the state of another run or epoch")
        have, wanted = _digests(folder), progress["files"]
        wrong = sorted(name for name in {*have, *wanted} if have.get(name) != wanted.get(name))
        if wrong:
            raise ValueError(f"{', '.join(wrong[:3])}: not what was written")
        accelerator.load_state(str(folder))
        if average is not None:
            average.load_state_dict(load_file(folder / "ema.safetensors"))
    return progress


def clear(run_dir: Path, *, everything: bool = False) -> None:
    """Remove what is left of states, and with ``everything`` all that a run writes; links are removed, not followed.

    Args:
        run_dir: The run's folder.
        everything: Whether results, the best model and the run's description go too, the description last.

    Raises:
        TrainingError: If something cannot be removed.
    """
    left = re.compile(rf"^\.({'|'.join(map(re.escape, (*_WRITTEN, 'progress.json')))})\..*\.tmp$")
    with writing(run_dir):
        paths = [path for path in run_dir.iterdir() if _STATE.match(path.name) or left.match(path.name)]
        paths += [run_dir / name for name in ("model", *_WRITTEN)] if everything else []
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
