"""Congruence on real signals: the class is arousal XOR valence of the quadrant pairs. Which fusions can say it?

    python tests/benchmarks/congruence_pairs.py --data DATA --cache embeddings.pt

takes the two encoders of a checkpoint that was trained on the quadrants (arousal from EEG, valence from the face), as
they are, and trains the fusion of each system on what they say, on the same pairs and by the same steps. The training
people's EEG and faces are paired anew in every batch; a fusion learns from the first 4, 8 or 24 people with EEG (the
encoders have seen all 24). The UAR is of the fixed test pairs, whose people nothing was trained on; chance is 0.5.

* each modality alone, and late fusion: the sum of the answers of two models that each see one modality;
* concatenation with one linear layer, and with a hidden layer;
* the fusions of EVER (BIH-GCN), Milmer (transformer over tokens), MERCL (attention between modalities, hidden layer),
  Trimodal (shared attention that weighs modalities) and Mood Reader (score fusion);
* the halves: models of arousal and of valence, each trained on its own label, and their answers put together by XOR. It
  is told what the others have to find out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import evermodels as em
from evermodels.core.specs import InputSpec
from evermodels.datasets.quadrant_parts import QuadrantSettings
from evermodels.layers import (
    BIHGCN,
    CrossModalAttention,
    MultiLevelScoreFusion,
    SharedAttentionFusion,
    TransformerBlock,
)
from evermodels.training import Predictions, interval, paired_difference
from evermodels.training.batches import collate

WIDTH, BATCH, VIDEO_TOKENS = 64, 128, 8
KEYS = ("z_eeg", "z_video", "eeg", "video", "maps")


@torch.no_grad()
def embed(model: Any, part: Any) -> dict[str, Any]:
    """Embeddings, tokens and spectrograms of all items of a part."""
    found: dict[str, list[Any]] = {}
    for batch in DataLoader(part, batch_size=32, collate_fn=collate):
        maps = model.spectrogram(batch["eeg"])
        tokens = {
            "eeg": model.encoder("eeg").forward_features(maps),
            "video": model.encoder("video").forward_features(batch["video"]),
        }
        pooled = F.adaptive_avg_pool1d(tokens["video"].mT, VIDEO_TOKENS).mT
        out = model(eeg=batch["eeg"], video=batch["video"])
        rows = {
            "z_eeg": out.embeddings["eeg"],
            "z_video": out.embeddings["video"],
            "eeg": tokens["eeg"],
            "video": pooled,
            "maps": maps[:, : len(model.config.ch_names)],
            "arousal": batch["arousal"],
            "valence": batch["valence"],
        }
        for key, value in {**rows, "eeg_subject": batch["eeg_subject"], "face_id": batch["face_id"]}.items():
            found.setdefault(key, []).append(value)
    return {k: torch.cat(v) if isinstance(v[0], Tensor) else np.concatenate(v) for k, v in found.items()}


def cached(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is known before a fusion is trained, kept in a file."""
    path = Path(options.cache)
    if path.is_file():
        return torch.load(path, weights_only=False)  # our own file
    model = em.from_pretrained(options.checkpoint)
    settings = QuadrantSettings(baseline_seconds=60.0, length=options.items)
    spec: InputSpec = model.input_spec
    parts = settings.parts(spec, data_root=options.data)
    made = {name: embed(model, parts.part(name)) for name in ("train", "test")}
    made["regions"], made["channels"] = model.config.regions(), len(model.config.ch_names)
    torch.save(made, path)
    return made


class Fusion(nn.Module):
    """A fusion of standardised embeddings or tokens into two logits."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__()
        self.widths = {key: data[key].shape[-1] for key in ("eeg", "video", "z_eeg", "z_video")}
        for key in ("eeg", "video", "z_eeg", "z_video"):
            rows = data[key].flatten(0, -2)
            self.register_buffer(f"mean_{key}", rows.mean(0))
            self.register_buffer(f"std_{key}", rows.std(0).clamp(min=1e-4))

    def of(self, x: dict[str, Tensor], key: str) -> Tensor:
        return (x[key] - getattr(self, f"mean_{key}")) / getattr(self, f"std_{key}")


class Concatenation(Fusion):
    """Embeddings side by side, one linear layer or a hidden one; or one embedding alone."""

    def __init__(self, data: dict[str, Any], keys: tuple[str, ...], hidden: int = 0) -> None:
        super().__init__(data)
        self.keys = keys
        width = sum(self.widths[key] for key in keys)
        layers = [nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 2)] if hidden else [nn.Linear(width, 2)]
        self.head = nn.Sequential(*layers)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([self.of(x, key) for key in self.keys], dim=1))


class Ever(Fusion):
    """EVER: BIH-GCN over channels and both embeddings."""

    def __init__(self, data: dict[str, Any], regions: dict[str, list[int]], channels: int) -> None:
        super().__init__(data)
        self.eeg, self.video = (nn.Linear(self.widths[key], WIDTH) for key in ("z_eeg", "z_video"))
        nodes = data["maps"].shape[2] * data["maps"].shape[3]
        self.fusion = BIHGCN(nodes, WIDTH, 2, regions, in_chans=channels)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.fusion(x["maps"], self.eeg(self.of(x, "z_eeg")), self.video(self.of(x, "z_video"))).logits


class Tokens(Fusion):
    """Tokens of both modalities, brought to one width."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.project = nn.ModuleDict({key: nn.Linear(self.widths[key], WIDTH) for key in ("eeg", "video")})

    def tokens(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: layer(self.of(x, key)) for key, layer in self.project.items()}


class MilmerFusion(Tokens):
    """Milmer: a class token and all tokens through transformer blocks."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.modality = nn.ParameterDict({k: nn.Parameter(0.02 * torch.randn(1, 1, WIDTH)) for k in ("eeg", "video")})
        self.blocks = nn.Sequential(TransformerBlock(WIDTH, 4), TransformerBlock(WIDTH, 4))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        tokens = [value + self.modality[key] for key, value in self.tokens(x).items()]
        whole = torch.cat([self.cls.expand(len(tokens[0]), -1, -1), *tokens], dim=1)
        return self.head(self.blocks(whole)[:, 0])


class MerclFusion(Tokens):
    """MERCL: attention from each modality to the other, means side by side, a hidden layer."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.fusion = CrossModalAttention(WIDTH, 4, ("eeg", "video"))
        self.head = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([steps.mean(1) for steps in self.fusion(self.tokens(x)).values()], dim=1))


class TrimodalFusionHead(Fusion):
    """Trimodal: one shared attention that weighs the modalities, a linear layer."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.project = nn.ModuleDict({key: nn.Linear(self.widths[key], WIDTH) for key in ("z_eeg", "z_video")})
        self.fusion, self.head = SharedAttentionFusion(WIDTH, 2, 4), nn.Linear(WIDTH, 2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        tokens = [layer(self.of(x, key)) for key, layer in self.project.items()]
        return self.head(self.fusion(torch.stack(tokens, dim=1)).embedding)


class MoodReaderFusion(Fusion):
    """Mood Reader: scores of both sources, attention over the level, batch norm and three linear layers."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.project = nn.ModuleDict({key: nn.Linear(self.widths[key], WIDTH) for key in ("z_eeg", "z_video")})
        self.fusion = MultiLevelScoreFusion(WIDTH, [("z_eeg", "z_video")])
        width = self.fusion.embed_dim
        self.head = nn.Sequential(
            nn.BatchNorm1d(width), nn.Linear(width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 2)
        )

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.head(self.fusion({k: layer(self.of(x, k)) for k, layer in self.project.items()}).embedding)


def batch_of(data: dict[str, Any], eeg: Tensor, video: Tensor) -> dict[str, Tensor]:
    """EEG of some items beside faces of others."""
    return {key: data[key][video if "video" in key else eeg] for key in KEYS}


def train(model: nn.Module, data: dict[str, Any], people: int, seed: int, rule: str, steps: int) -> nn.Module:
    """Train on new pairs of the first people's EEG and all training faces."""
    chosen = sorted(set(data["eeg_subject"].tolist()))[:people]
    eeg = torch.from_numpy(np.flatnonzero(np.isin(data["eeg_subject"], chosen)))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        i = eeg[torch.randint(len(eeg), (BATCH,), generator=generator)]
        j = torch.randint(len(data["valence"]), (BATCH,), generator=generator)
        loss = F.cross_entropy(model(batch_of(data, i, j)), label(data, i, j, rule))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.eval()


def label(data: dict[str, Any], eeg: Tensor, video: Tensor, rule: str) -> Tensor:
    """Arousal, valence, or their XOR."""
    arousal, valence = data["arousal"][eeg], data["valence"][video]
    return {"arousal": arousal, "valence": valence, "xor": arousal ^ valence}[rule]


def builders(made: dict[str, Any]) -> dict[str, Callable[[], list[tuple[nn.Module, str]]]]:
    """Models of each row, and the label of each."""
    data = made["train"]
    alone = {key: lambda key=key: Concatenation(data, (key,), WIDTH) for key in ("z_eeg", "z_video")}
    both = ("z_eeg", "z_video")
    return {
        "EEG alone": lambda: [(alone["z_eeg"](), "xor")],
        "face alone": lambda: [(alone["z_video"](), "xor")],
        "late fusion": lambda: [(model(), "xor") for model in alone.values()],
        "concatenation, one linear layer": lambda: [(Concatenation(data, both), "xor")],
        "concatenation, a hidden layer": lambda: [(Concatenation(data, both, WIDTH), "xor")],
        "EVER: BIH-GCN": lambda: [(Ever(data, made["regions"], made["channels"]), "xor")],
        "Milmer: transformer over tokens": lambda: [(MilmerFusion(data), "xor")],
        "MERCL: attention between modalities": lambda: [(MerclFusion(data), "xor")],
        "Trimodal: shared attention": lambda: [(TrimodalFusionHead(data), "xor")],
        "Mood Reader: score fusion": lambda: [(MoodReaderFusion(data), "xor")],
        "the halves, told their labels": lambda: [(alone["z_eeg"](), "arousal"), (alone["z_video"](), "valence")],
    }


@torch.no_grad()
def answer(models: list[tuple[nn.Module, str]], test: dict[str, Any]) -> Predictions:
    """Answers to the fixed test pairs."""
    every = torch.arange(len(test["arousal"]))
    logs = [model(batch_of(test, every, every)).double().log_softmax(1) for model, _ in models]
    if models[0][1] == "arousal":  # probability that the two differ
        (a, v) = (log.exp()[:, 1] for log in logs)
        differ = a * (1 - v) + v * (1 - a)
        logs = [torch.stack([1 - differ, differ], dim=1).log()]
    truth = label(test, every, every, "xor").numpy()
    groups = {key: test[key] for key in ("eeg_subject", "face_id")}
    return Predictions(sum(logs).numpy().astype(np.float32), truth, groups)


def main() -> None:
    """Print the table, a row for each fusion and a column for each number of people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=None)
    parser.add_argument("--cache", default="embeddings.pt")
    parser.add_argument("--checkpoint", default="ever_tiny.quadrant")
    parser.add_argument("--items", type=int, default=1152)
    parser.add_argument("--people", type=int, nargs="+", default=[4, 8, 24])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", default=None)
    options = parser.parse_args()
    start = time.process_time()
    made = cached(options)
    runs: dict[tuple[str, int], list[Predictions]] = {}
    print("| fusion | " + " | ".join(f"{n} people" for n in options.people) + " | beside a hidden layer |")
    print("|---|" + "---|" * (len(options.people) + 1))
    rows = builders(made)
    order = sorted(rows, key=lambda name: name != "concatenation, a hidden layer")
    lines = {}
    for name in order:
        cells = []
        for people in options.people:
            for seed in range(options.seeds):
                torch.manual_seed(seed)
                models = [
                    (train(model, made["train"], people, seed, rule, options.steps), rule)
                    for model, rule in rows[name]()
                ]
                runs.setdefault((name, people), []).append(answer(models, made["test"]))
            found = interval(runs[name, people])
            spread = np.std([interval([run], n=1).value for run in runs[name, people]])
            cells.append(f"{found.value:.3f} ± {spread:.3f} [{found.low:.3f}, {found.high:.3f}]")
        most = options.people[-1]
        beside = paired_difference(runs[name, most], runs[order[0], most])
        cells.append("" if name == order[0] else f"{beside.value:+.3f} [{beside.low:+.3f}, {beside.high:+.3f}]")
        lines[name] = f"| {name} | " + " | ".join(cells) + " |"
        print(lines[name], flush=True)
    print(f"\n{time.process_time() - start:.0f} s of CPU")
    if options.out:
        Path(options.out).write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
