"""The recipes of the trimodal fusion and of AST: their rows, and a few steps of training on an easy set."""

from __future__ import annotations

import pytest
import torch

from evermodels.backbones import AST
from evermodels.core.factors import Factor
from evermodels.datasets import Parts
from evermodels.training import Predictions, build_model, fit, late_fusion, load_recipe

SMALL = {
    "input_spec": {
        "window_seconds": 2.0,
        "eeg": {"ch_names": ["Fz", "Cz", "Pz", "O1"], "sfreq": 32.0, "whiten": False, "baseline": ""},
        "video": {"num_frames": 2, "size": [16, 16]},
        "audio": {"sfreq": 400.0, "n_mels": 16, "frame_seconds": 0.1, "hop_seconds": 0.1, "mean": 0.0, "std": 1.0},
    },
    "encoders": {
        "eeg": {"config": {"depth": 1, "num_filters": 4, "scale": "fixed", "unit": 5.0, "activation": "log_power"}},
        "video": {"config": {"embed_dim": 12, "depths": [1], "patch_size": 8}},
        "audio": {"config": {"embed_dim": 12, "depth": 1, "patch_size": 4, "stride": [4, 4]}},
    },
    "dim": 16,
    "drop_rate": 0.0,
}
ALONE = ("eeg", "video", "audio")


class Spoken(torch.utils.data.Dataset):
    """The easy set with a spectrogram that is loud where the picture is bright, and a mask that the model lacks."""

    def __init__(self, easy) -> None:
        self.easy, self.labels = easy, easy.labels
        self.set_epoch = easy.set_epoch

    def __len__(self) -> int:
        return len(self.easy)

    def __getitem__(self, i: int) -> dict[str, object]:
        item = self.easy[i]
        noise = torch.randn(20, 16, generator=torch.Generator().manual_seed(i))
        return {**item, "audio": noise + (-1, 1)[item["label"] % 2], "masks": {"audio": torch.ones(20) > 0}}


@pytest.fixture
def parts(fake):
    easy = fake.make_parts()
    spoken = {name: Spoken(easy.part(name)) for name in ("train", "validation", "test")}
    factors = tuple(Factor(f.name, f.values, ("video", "audio")) if f.name == "light" else f for f in easy.factors)
    return Parts(*spoken.values(), easy.classes, factors, easy.groups, easy.scores)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("trimodal_tiny_quadrant")


def test_the_rows_are_each_alone_pairs_and_all(recipe):
    by_table = {t: [row.name for row in recipe.rows if row.table == t] for t in (1, 2, 3)}
    assert by_table == {
        1: ["eeg", "video", "audio"],
        2: ["eeg_video", "eeg_audio", "video_audio", "trimodal"],
        3: ["concat", "frames_averaged"],
    }
    assert recipe.row(None).name == "trimodal" and recipe.data.modalities == ALONE
    for row in recipe.rows:
        model = build_model(recipe.for_row(row.name))
        if row.table == 1:
            assert model.modalities == (row.name,)
            assert dict(row.init_from) == ({"video": "pictures"} if row.name == "video" else {})
        elif row.table:  # each encoder comes from its own row
            assert dict(row.init_from) == {m: m for m in model.modalities}
        if row.table == 2 and row.name != "trimodal":
            assert model.modalities == tuple(row.name.split("_"))
    assert recipe.for_row("concat").model.config["fusion"] == "concat"
    assert recipe.for_row("frames_averaged").model.config["frame_voting"] is False


def test_it_learns_an_easy_set_from_its_rows_alone(recipe, parts, tmp_path):
    factors = {"eeg": "pace", "video": "light", "audio": "light", "trimodal": None}
    folders, results = {}, {}
    for row, factor in factors.items():
        # The ViT learns from single frames, and stays as it is in the row of the clips.
        small = recipe.for_row("pictures" if row == "video" else row)
        config = {**small.model.config, **SMALL}
        if row != "trimodal":
            config["encoders"] = {row: SMALL["encoders"][row]}
        small = small.replace(
            model={"config": config},
            loss={"factor": factor},
            optim={
                "epochs": 16 if row == "eeg" else 6,
                "batch_size": 8,
                "num_threads": 1,
                "ema_decay": None,
                "lr": dict.fromkeys(small.optim.lr, 4e-3),
            },
            rows=[],
        )
        init = folders if row == "trimodal" else None
        results[row] = fit(small, tmp_path / row, seed=0, parts=parts, progress=False, init_from=init)
        folders[row] = tmp_path / row / "model"
    assert results["eeg"]["test"]["arousal"] > 0.7
    assert min(results[m]["test"]["valence"] for m in ("video", "audio")) > 0.8
    assert results["trimodal"]["test"]["uar"] > 0.7
    alone = [Predictions.load(tmp_path / m / "predictions.npz") for m in ALONE]
    late = late_fusion(alone, ["arousal", "valence", "valence"])
    assert (late.predicted == late.label).mean() > 0.7  # two of the three know the same half


def test_ast_on_emodb():
    recipe = load_recipe("ast_nano_emodb")
    model = build_model(recipe)
    assert isinstance(model.encoder("audio"), AST) and model.config.num_classes == len(recipe.data.emotions) == 4
    assert not recipe.data.speaker_statistics and recipe.for_row("ast_speaker").data.speaker_statistics
    audio, spec = model.input_spec.audio, AST.presets["ast_base"].input_spec.audio
    assert (audio.mean, audio.std, audio.n_mels) == (spec.mean, spec.std, spec.n_mels)  # as public weights expect
