"""What a suite makes of models, data sets and seeds."""

from __future__ import annotations

import pytest

from evermodels.core import registry
from evermodels.core.errors import ConfigError, EvermodelsError, UnknownNameError
from evermodels.training import ESTIMATORS, build_model, load_suite, plan
from evermodels.training.paper_numbers import paper_numbers
from evermodels.training.recipe import list_recipes


def test_the_order_completes_a_table_of_one_seed_first():
    suite = load_suite("eeg_models")
    made = plan(suite, models=["eegnet_tiny", "svm_de"], seeds=None)
    assert len(made.units) == 2 * (5 + 3 * 6) and not made.left_out
    firsts = [(u.seed, u.dataset, u.fold, u.model) for u in made.units]
    assert firsts[:4] == [
        (0, "eegmat-1", 0, "eegnet_tiny"),
        (0, "eegmat-1", 0, "svm_de"),
        (0, "eegmat-2", 0, "eegnet_tiny"),
        (0, "eegmat-2", 0, "svm_de"),
    ]
    assert [u.seed for u in made.units] == sorted(u.seed for u in made.units)
    assert {u.seed for u in made.units if u.dataset == "eegmat-2"} == {0, 1, 2}
    assert len({u.folder for u in made.units}) == len(made.units)


def test_a_unit_is_the_papers_training():
    units = plan(load_suite(), models=["crossformer_tiny", "videomae_nano", "ever_tiny"], datasets=["quadrant"]).units
    recipes = {unit.model: unit.recipe for unit in units}
    assert recipes["crossformer_tiny"].model.architecture == "single_eeg"
    assert recipes["crossformer_tiny"].model.config["encoders"] == {"eeg": {"name": "crossformer_tiny"}}
    assert recipes["ever_tiny"].model.config == {"num_classes": 4}
    optim = recipes["ever_tiny"].optim
    assert (optim.batch_size, optim.betas, optim.eps, optim.restart_mult) == (16, (0.9, 0.999), 1e-8, 2)
    rates = {name: recipe.optim.lr for name, recipe in recipes.items()}
    assert rates["crossformer_tiny"] == {"rest": pytest.approx(10 * 2e-5)}
    assert rates["videomae_nano"] == {"rest": pytest.approx(10 * 1e-4)}
    assert rates["ever_tiny"] == {key: pytest.approx(10 * v) for key, v in [("video_encoder", 1e-4), *MAMBA]}
    for recipe in recipes.values():
        assert {k: recipe.loss.values[k] for k in ("w_ce", "w_focal")} == {"w_ce": 0.9, "w_focal": 0.1}
        assert recipe.selection.metric == "uar"
    loss = build_model(recipes["crossformer_tiny"]).make_loss([10, 30, 1, 1], **recipes["crossformer_tiny"].loss.values)
    assert (loss.w_ce, loss.w_focal, loss.focal.gamma) == (0.9, 0.1, 2.0)
    weight = loss.cross_entropy.weight
    assert weight[0] > weight[1]


MAMBA = [("eeg_encoder", 2e-4), ("rest", 2e-4)]


def test_half_of_a_system_and_the_command_of_a_run():
    (unit,) = plan(load_suite("eeg_models", ["optim.epochs=2"]), models=["ever_tiny:eeg"], seeds=[1], folds=[4],
                   datasets=["eegmat-2"]).units  # fmt: skip
    assert unit.modalities == ("eeg",) and unit.recipe.model.config["modalities"] == ["eeg"]
    assert unit.folder == "eegmat-2/ever_tiny-eeg/fold-4/seed-1" and unit.recipe.data.fold == 4
    assert unit.recipe.optim.epochs == 2
    from evermodels.training import provenance

    assert provenance.command(unit.recipe, None, unit.seed) == (
        "evermodels benchmark --suite eeg_models --set optim.epochs=2 --models ever_tiny:eeg --datasets eegmat-2 "
        "--folds 4 --seeds 1"
    )


def test_what_does_not_go_together_is_said():
    made = plan(load_suite(), models=["eegnet_tiny", "videomae_nano", "ever_tiny"], datasets=["eegmat-1", "faces"])
    assert {(u.model, u.dataset) for u in made.units} == {("eegnet_tiny", "eegmat-1"), ("videomae_nano", "faces")}
    assert "ever_tiny takes eeg and video, and eegmat-1 has eeg" in made.left_out and len(made.left_out) == 4


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"models": ["eegnet"]}, UnknownNameError, "'eegnet' does not exist. Did you mean 'eegnet_tiny'"),
        ({"models": ["eegnet_tiny"], "datasets": ["egmat-1"]}, UnknownNameError, "Did you mean 'eegmat-1'"),
        ({"models": ["eegnet_tiny"], "datasets": ["faces"]}, ConfigError, "none goes with another: eegnet_tiny takes"),
        ({"models": ["ever_tiny:sound"]}, ConfigError, "ever_tiny takes eeg, video, not sound"),
        ({"models": ["audio_mamba_nano"], "datasets": ["quadrant"]}, ConfigError, "Say audio_mamba_nano:eeg or"),
        ({"models": ["eegnet_tiny"], "seeds": [1, 1]}, ConfigError, "each once"),
        ({"models": ["eegnet_tiny", "eegnet_tiny"]}, ConfigError, "models: expected at least one, each once"),
        ({"models": ["eegnet_tiny"], "folds": [1]}, ConfigError, "folds: expected some of 0 to 0, got 1"),
    ],
)
def test_bad_plans(asked, error, message):
    with pytest.raises(error) as caught:
        plan(load_suite(), **{"datasets": ["eegmat-1"], **asked})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\nmodel = []", "model"),
        ("name = 'x'\nextends = 'x.toml'", "Is it a circle?"),
        ("name = 'x'\nextends = 'nothing'", "does not exist"),
        ("name = 'x'\ndatasets = ['gone']", "'gone'"),
        ("name = 'x'\n[optim]\nlr = { rest = 1.0 }", "Give them under"),
        ("name = 'x'\n[optim]\nepochz = 1", "epochz"),
        ("name = 'x'\n[sets.a]\nmodalities = ['taste']\nnum_classes = 2\ndata = {dataset = 'faces'}", "modalities"),
        (
            "name = 'x'\n[sets.a]\nmodalities = ['video']\nnum_classes = 2\nfolds = 7\ndata = {dataset = 'faces'}",
            "fold",
        ),
        (
            "name = 'x'\n[sets.a]\nmodalities = ['video']\nnum_classes = 2\npaper = 'deap'\ndata = {dataset = 'faces'}",
            "one of eav, emognition-arousal",
        ),
        ("name = 'x'\n[overrides.a.optm]\nepochs = 1", "optm"),
    ],
)
def test_bad_suites(text, message, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvermodelsError) as caught:
        load_suite(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", [n for n in list_recipes(folder="suites") if n != "unified"])
def test_the_suites_that_come_along_are_whole(name):
    suite = load_suite(name)
    made = plan(suite)
    assert not made.left_out and {u.dataset for u in made.units} == set(suite.datasets)
    assert {u.model for u in made.units} == set(suite.models)
    one_each = {(u.model, u.dataset): u for u in made.units}
    for unit in one_each.values():
        model = build_model(unit.recipe)
        assert set(model.modalities) <= set(suite.dataset(unit.dataset).modalities)
        assert unit.estimator or sum(p.numel() for p in model.parameters()) <= 1_500_000


def test_the_papers_numbers_are_of_families_that_exist():
    numbers = paper_numbers()
    for families in (numbers["parameters"], *numbers["numbers"].values()):
        assert len(families) == 13
        assert all(any(name.startswith(f"{family}_") for name in registry.MODELS) for family in families)
    assert numbers["numbers"]["mdmer-arousal"]["ever"] == [0.406, 0.264, 0.301]
    assert numbers["numbers"]["emognition-valence"]["tvlt"] == [0.261, 0.333, 0.284]
    assert not set(ESTIMATORS) & set(registry.MODELS)
