"""The two stages of MERCL's recipe on a toy set, and all of its rows built."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from evermodels.core.factors import Factor, product_classes
from evermodels.datasets import Parts
from evermodels.models import MERCL
from evermodels.training import fit, load_recipe
from evermodels.training.build import build_model

FACTORS = (
    Factor("state", ("rest", "work"), ("eeg",)),
    Factor("expression", ("neutral", "smiling"), ("video", "audio")),
)
SMALL = [
    "optim.epochs=2",
    "optim.batch_size=8",
    "optim.warmup_epochs=0.5",
    "optim.num_threads=1",
    "model.config.input_spec.video.num_frames=2",
    "model.config.input_spec.video.size=[16, 16]",
    "model.config.input_spec.window_seconds=2.0",
    "model.config.encoders.video.config.embed_dim=12",
    "model.config.encoders.video.config.depths=[1]",
    "model.config.dim=8",
    "model.encoders_from={}",  # the ViT of trimodal_tiny.quadrant is larger
]


class Toy(torch.utils.data.Dataset):
    def __init__(self, spec, part, length):
        self.spec, self.part, self.length = spec, part, length
        self.labels = [i % 4 for i in range(length)]
        self.people = {"eeg_subject": [part]}

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if not 0 <= i < self.length:
            raise IndexError(i)
        g = torch.Generator().manual_seed(i + 100 * len(self.part))
        tensors = {m: torch.randn(self.spec.shape(m), generator=g) for m in ("eeg", "video", "audio")}
        tensors["eeg"] *= 5 + 20 * (i % 4 // 2)
        tensors["video"] += i % 2
        mask = torch.full(tensors["audio"].shape[:1], i % 3 > 0)
        return {**tensors, "masks": {"audio": mask}, "label": i % 4, "eeg_subject": self.part}


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("mercl_tiny_quadrant", SMALL)


def test_every_row_can_be_built(recipe):
    with torch.device("meta"):
        for row in recipe.rows:
            settled = recipe.for_row(row.name)
            model = build_model(settled)
            loss = model.make_loss([1, 1], num_classes=2, **settled.loss.values)
            assert loss.w_ce + loss.w_intra > 0
    tables = {row.name: row.table for row in recipe.rows}
    assert {n for n, t in tables.items() if t == 7} == {"audio_video", "audio_eeg", "video_eeg", "audio_eeg_video"}
    assert {n for n, t in tables.items() if t == 8} == {"mercl", "no_contrast", "no_attention", "neither"}
    alone = {m: m for m in ("eeg", "video", "audio")}  # contrast or not, all start from the same encoders
    assert all(dict(recipe.row(name).init_from) == alone for name in ("pretrain", "no_contrast", "neither"))


def test_the_speech_encoder_alone():
    recipe = load_recipe("vggish_tiny_emodb")
    for row in recipe.rows:
        model = build_model(recipe.for_row(row.name))
        mercl = MERCL.presets["mercl_tiny"].input_spec.audio
        ours = model.input_spec.audio
        assert ours.replace(n_mels=20, hop_seconds=0.01, mean=0.0, std=1.0) == mercl and ours.n_mels == 32
        assert model.config.num_classes == len(recipe.data.emotions) == 4
        assert model.masked == (() if row.name == "speech_mean" else ("audio",))


def test_the_encoders_of_stage_1_stay_in_stage_2(recipe, tmp_path):
    spec = build_model(recipe.for_row("mercl")).input_spec
    parts = Parts(
        *(Toy(spec, name, length) for name, length in (("train", 16), ("validation", 8), ("test", 8))),
        product_classes(FACTORS),
        FACTORS,
        ("eeg_subject",),
        {"arousal": "state", "valence": "expression"},
    )
    fit(recipe.for_row("pretrain"), tmp_path / "1", parts=parts, progress=False)  # from random encoders
    lines = [json.loads(line) for line in (tmp_path / "1/metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["loss"]["cross_entropy"] == 0 < line["loss"]["intra_modal"]
        assert line["loss"]["inter_modal"] > 0 < line["loss"]["sample_wise"]
    assert lines[-1]["validation"]["loss"] > 0
    for row, fresh in (("mercl", None), ("no_attention", ["hidden"])):
        result = fit(
            recipe, tmp_path / row, row=row, init_from={"model": tmp_path / "1/model"}, parts=parts, progress=False
        )
        assert result.get("fresh") == fresh
        first, second = (load_file(tmp_path / name / "model/model.safetensors") for name in ("1", row))
        frozen = [k for k in second if k.startswith(("eeg_", "video_", "audio_", "temporal.", "shared.", "front_end."))]
        assert any("running_mean" in k for k in frozen) and any("front_end.mean" in k for k in frozen)
        assert all(torch.equal(first[k], second[k]) for k in frozen)
        learnt = [k for k in second if k not in frozen and k in first and second[k].shape == first[k].shape]
        assert any(not torch.equal(first[k], second[k]) for k in learnt)
