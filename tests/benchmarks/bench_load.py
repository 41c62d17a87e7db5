"""Loading a ViT-B from a local folder, time and peak memory: run with ``python tests/benchmarks/bench_load.py``.

The same size through ``evermodels``, through it without digest and finite checks, through transformers'
``from_pretrained`` (its VideoMAE, and its ViT, which computes no position table in Python) and through timm's
``create_model`` with a checkpoint file. transformers maps the file and reads a weight when it is first used, so every
way is timed twice: until the call returns, and until each weight has been read once. Times are medians of rounds in
one process; memory is the highest resident size of a fresh process above the one before, with the weights read.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
sys.path.insert(0, str(Path(__file__).parent))

import torch
from _timing import alternating_medians


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """Switch the digest and the search for values that are not finite off, which users cannot."""
    from evermodels.checkpoints import opened, read
    from evermodels.checkpoints.verify import Hashing

    nothing = mock.patch.object(opened, "Hashing", lambda size, declared: Hashing(size, {}))
    with nothing, mock.patch.object(read, "not_finite", lambda tensor: ""):
        yield


def ours(folder: Path) -> Any:
    import evermodels as em

    return em.from_pretrained(folder / "ours")


def ours_unchecked(folder: Path) -> Any:
    with without_checks():
        return ours(folder)


def theirs(folder: Path) -> Any:
    from transformers import VideoMAEModel

    return VideoMAEModel.from_pretrained(folder / "transformers")


def their_vit(folder: Path) -> Any:
    from transformers import ViTModel

    return ViTModel.from_pretrained(folder / "transformers_vit", add_pooling_layer=False)


def timm_model(folder: Path) -> Any:
    import timm

    file = folder / "timm.safetensors"
    return timm.create_model("vit_base_patch16_224", num_classes=0, checkpoint_path=str(file))


WAYS: dict[str, Callable[[Path], Any]] = {
    "evermodels": ours,
    "evermodels without digest and finite checks": ours_unchecked,
    "transformers ViT": their_vit,
    "transformers VideoMAE": theirs,
    "timm ViT-B": timm_model,
}
FILES = {
    "evermodels": "ours/model.safetensors",
    "evermodels without digest and finite checks": "ours/model.safetensors",
    "transformers ViT": "transformers_vit/model.safetensors",
    "transformers VideoMAE": "transformers/model.safetensors",
    "timm ViT-B": "timm.safetensors",
}


def read_once(model: torch.nn.Module) -> None:
    """Read every weight, as the first forward pass would."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.sum()


def save_all(folder: Path, depth: int) -> None:
    """Save the model of each library into its place, with random weights."""
    import timm
    from safetensors.torch import save_file
    from transformers import VideoMAEConfig, VideoMAEModel, ViTConfig, ViTModel

    import evermodels as em

    em.create_model("videomae_base", depth=depth).save_pretrained(folder / "ours")
    VideoMAEModel(VideoMAEConfig(num_hidden_layers=depth)).save_pretrained(folder / "transformers")
    vit = ViTModel(ViTConfig(num_hidden_layers=depth), add_pooling_layer=False)
    vit.save_pretrained(folder / "transformers_vit")
    weights = timm.create_model("vit_base_patch16_224", num_classes=0).state_dict()
    save_file(weights, folder / "timm.safetensors")


def parts(folder: Path) -> dict[str, Callable[[], Any]]:
    """Return the parts of our loading, each alone."""
    from evermodels.checkpoints import load, read
    from evermodels.checkpoints.config_file import parse_config
    from evermodels.checkpoints.verify import FileDigest
    from evermodels.core import registry

    path = folder / "ours" / "model.safetensors"
    config = parse_config((folder / "ours" / "config.json").read_bytes(), "config.json")
    cls = registry.class_of(config.architecture, "config.json")

    def empty() -> Any:
        return load._empty(cls, config, path)

    expected = empty().state_dict()
    with without_checks():
        tensors, _ = read.read_tensors(path, expected, source="x")

    def reading() -> Any:
        with without_checks():
            return read.read_tensors(path, expected, source="x")

    def with_digest() -> Any:
        with mock.patch.object(read, "not_finite", lambda tensor: ""):
            return read.read_tensors(path, expected, source="x", declared={"x": config.files[path.name]})

    return {
        "sha256 of the file": lambda: FileDigest.of_file(path),
        "model on meta": empty,
        "header, names, shapes, reading": reading,
        "header, names, shapes, reading with digest": with_digest,
        "finite values": lambda: [read.not_finite(tensor) for tensor in tensors.values()],
        "model on meta, assigning, computed tables": lambda: read.assign(empty(), tensors),
    }


def peak(way: str, folder: Path) -> int:
    """Return the bytes by which the highest resident size of a fresh process grows while it loads."""
    command = [sys.executable, __file__, "--peak", way, str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(way: str, folder: Path) -> None:
    """Load a small model of the same library first, so that only the weights count, and then the real one."""
    WAYS[way](folder / "small")
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size starts anew
    before = resident("VmRSS")
    model = WAYS[way](folder)
    read_once(model)
    print(resident("VmHWM") - before)
    del model


def resident(key: str) -> int:
    """Return a number of this process in bytes from the kernel."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, which do not see what else the machine does")
    parser.add_argument("--depth", type=int, default=12, help="fewer blocks for a quick look")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        print_peak(options.peak[0], Path(options.peak[1]))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        save_all(folder, options.depth)
        save_all(folder / "small", 1)
        clock = time.process_time if options.cpu else time.perf_counter
        functions = {way: (lambda way=way: WAYS[way](folder)) for way in WAYS}
        whole = {way: (lambda way=way: read_once(WAYS[way](folder))) for way in WAYS}
        returned = alternating_medians(functions, repeats=options.repeats, clock=clock)
        read = alternating_medians(whole, repeats=options.repeats, clock=clock)
        print(f"torch {torch.__version__}, {options.threads} thread(s), files in the page cache")
        print("| way | file | call returns | every weight read | of transformers ViT | peak memory, of the file |")
        print("|---|---|---|---|---|---|")
        for way, second in read.items():
            size = (folder / FILES[way]).stat().st_size
            peaks = [peak(way, folder) / size for _ in range(3)]
            print(
                f"| {way} | {size / 1e6:.0f} MB | {1000 * returned[way]:.0f} ms | {1000 * second:.0f} ms "
                f"| {second / read['transformers ViT']:.2f} | {statistics.median(peaks):.2f} |",
                flush=True,
            )
        print("\n| part of ours | time |\n|---|---|")
        for name, second in alternating_medians(parts(folder), repeats=options.repeats, clock=clock).items():
            print(f"| {name} | {1000 * second:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
