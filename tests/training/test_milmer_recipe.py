"""The recipe of Milmer: rows in the form of its tables, and a few steps of training on an easy set."""

from __future__ import annotations

import pytest

from evermodels.backbones import ChannelMLP
from evermodels.training import build_model, fit, load_recipe

SMALL = {
    "input_spec": {
        "window_seconds": 2.0,
        "eeg": {"ch_names": ["Fz", "Cz", "Pz", "O1"], "sfreq": 32.0, "whiten": False, "baseline": ""},
        "video": {"num_frames": 2, "size": [16, 16]},
    },
    "encoders": {"video": {"config": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}}},
    "spectrogram": {"size": [8, 8], "n_fft": 16},
    "dim": 16,
    "k": 1,
    "num_queries": 4,
}


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("milmer_tiny_quadrant")


def test_the_rows_are_those_of_the_papers_tables(recipe):
    by_table = {t: [row.name for row in recipe.rows if row.table == t] for t in (4, 5, 6)}
    assert by_table == {
        4: ["no_integration", "mlp_integration", "queries_16", "queries_8"],
        5: ["eeg", "video", "deep_cca", "concatenation", "milmer"],
        6: ["single_picture", "multiple_picture", "ft", "mil", "ca", "ft_ca", "mil_ca"],
    }
    assert recipe.row(None).name == "milmer"
    for row in recipe.rows:
        config = recipe.for_row(row.name).model.config
        if row.table == 6:  # the name says which of the three are on
            chosen, compressed = config.get("selection", "top_k"), config.get("integration", "cross_attention")
            assert ("mil" in row.name.split("_")) == (chosen == "top_k")
            assert ("ca" in row.name.split("_")) == (compressed == "cross_attention")
            assert ("ft" in row.name.split("_")) == ("video" in row.init_from)
    raw = build_model(recipe.for_row("eeg_raw_signal"))
    assert type(raw.encoder("eeg")) is ChannelMLP and raw.spectrogram is None


def test_it_learns_an_easy_set(recipe, fake, tmp_path):
    for row in ("milmer", "deep_cca"):
        small = recipe.for_row(row)
        config = {**small.model.config, **SMALL, "drop_rate": 0.0, "fusion_drop_rate": 0.0}
        config["spectrogram"] = {**SMALL["spectrogram"], "squared_change": False, "drop_rate": 0.0}
        settings = {"epochs": 8, "batch_size": 8, "restart_epochs": 8, "num_threads": 1, "ema_decay": None}
        small = small.replace(
            model={"config": config}, optim={**settings, "lr": dict.fromkeys(small.optim.lr, 4e-3)}, rows=[]
        )
        result = fit(small, tmp_path / row, seed=0, parts=fake.make_parts(), progress=False)
        assert result["test"]["uar"] > 0.6
