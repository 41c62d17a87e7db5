"""Rows of Open EEG Bench on EEGMAT, by its own code; run with ``python tests/benchmarks/open_eeg_bench_rows.py``.

It needs ``open-eeg-bench`` in an environment of its own (torch with torchaudio 2.11.0 and torchvision 0.26.0 on the day
of writing) that finds this package too, and does nothing without it. Windows are written in its own format from the
recordings: 19 channels, 5 s at 100 Hz in volts, high-pass 0.1 Hz, the people 00-27, 28-31, 32-35. ::

    python tests/benchmarks/open_eeg_bench_rows.py --data data --models spd_net_tiny mbsm_tiny.open --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

SECONDS, RATE, HIGH_PASS = 5, 100, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds eegmat")
    parser.add_argument("--models", nargs="+", required=True, help="encoders, systems and checkpoints by name")
    parser.add_argument("--ways", nargs="+", default=["probe", "full"], choices=["probe", "ridge", "full", "dropout"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30, help="30 in its default configuration, 50 in its paper")
    parser.add_argument("--out", type=Path, default=Path("open_eeg_bench.jsonl"))
    arguments = parser.parse_args()
    if importlib.util.find_spec("open_eeg_bench") is None:
        print("open-eeg-bench is not installed; nothing was run.")
        return
    found = windows(arguments.data)
    done = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    for name in arguments.models:
        for way in arguments.ways:
            for seed in arguments.seeds:
                row: dict[str, Any] = {"model": name, "way": way, "seed": seed, "epochs": arguments.epochs}
                if any(all(have[key] == row[key] for key in row) for have in done):
                    continue
                row |= _run(found, **row)
                with arguments.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"| {name} | {way} | {seed} | {row['test_balanced_accuracy']:.3f} |", flush=True)


def windows(data: Path) -> Any:
    """Return the windows as braindecode has them, one recording after the other."""
    import mne
    from braindecode.datasets import BaseConcatDataset, WindowsDataset

    found = []
    for person in range(36):
        for state in (1, 2):
            path = data / "eegmat" / f"Subject{person:02d}_{state}.edf"
            raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
            raw.pick([name for name in raw.ch_names if name.startswith("EEG") and "A2-A1" not in name])
            raw.rename_channels(lambda name: _NEW.get(name[4:], name[4:])).filter(HIGH_PASS, None, verbose="ERROR")
            raw.resample(float(RATE), verbose="ERROR")
            epochs = mne.make_fixed_length_epochs(raw, SECONDS, preload=True, verbose="ERROR")
            epochs.metadata = _metadata(len(epochs), state - 1)
            found.append(WindowsDataset(epochs, description={"subject": f"{person:02d}", "state": state}))
    return BaseConcatDataset(found)


_NEW = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}


def _metadata(count: int, target: int) -> Any:
    import pandas as pd

    start = [k * SECONDS * RATE for k in range(count)]
    stop = [k + SECONDS * RATE for k in start]
    columns = {"i_window_in_trial": range(count), "i_start_in_trial": start, "i_stop_in_trial": stop}
    return pd.DataFrame({**columns, "target": target})


def _run(found: Any, model: str, way: str, seed: int, epochs: int) -> dict[str, Any]:
    """Run one experiment by the benchmark's own code; its download alone is replaced."""
    for part in found.datasets:
        part.transform = None  # each experiment puts its own before what stands there
    import torch
    from open_eeg_bench.backbone import PretrainedBackbone, ScratchBackbone
    from open_eeg_bench.dataset import Dataset
    from open_eeg_bench.default_configs.datasets import arithmetic_zyma2019
    from open_eeg_bench.experiment import Experiment
    from open_eeg_bench.finetuning import Frozen, FullFinetune
    from open_eeg_bench.head import FlattenHead, LinearHead
    from open_eeg_bench.training import RidgeProbingTraining, Training

    logging.getLogger("braindecode").setLevel(logging.ERROR)

    from evermodels.interop import EEGModel

    kwargs = {"name": model, "unit": "V", "without_baseline": True}
    own = {"model_cls": "evermodels.interop.braindecode.EEGModel", "model_kwargs": kwargs}
    with tempfile.TemporaryDirectory() as folder:
        if way in ("full", "dropout"):
            backbone: Any = ScratchBackbone(**own)
        else:  # it freezes nothing that it has not loaded itself
            info = found.datasets[0].windows.info
            torch.manual_seed(seed)
            made = EEGModel(19, 2, SECONDS * RATE, float(RATE), info["chs"], **kwargs)
            path = Path(folder) / "weights.pt"
            torch.save(made.state_dict(), path)
            backbone = PretrainedBackbone(**own, checkpoint_path=str(path))
        settings: dict[str, Any] = {
            "probe": {"finetuning": Frozen(), "head": LinearHead(), "training": _training(Training, epochs)},
            "ridge": {"finetuning": Frozen(), "head": FlattenHead(), "training": RidgeProbingTraining()},
            "full": {"finetuning": FullFinetune(), "head": LinearHead(), "training": _training(Training, epochs)},
            "dropout": {
                "finetuning": FullFinetune(disable_backbone_dropout=False),
                "head": LinearHead(),
                "training": _training(Training, epochs),
            },
        }[way]
        experiment = Experiment(seed=seed, backbone=backbone, dataset=arithmetic_zyma2019(), verbose=0, **settings)
        load, Dataset.load = Dataset.load, lambda _: found
        try:
            result = experiment.run()
        finally:
            Dataset.load = load
    return {"test_balanced_accuracy": float(result["test_balanced_accuracy"]), "seconds": float(result["fit_time"])}


def _training(kind: Any, epochs: int) -> Any:
    return kind(max_epochs=epochs, lr=1e-3 if epochs == 30 else 5e-4)


if __name__ == "__main__":
    main()
