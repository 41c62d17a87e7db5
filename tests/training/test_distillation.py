"""Learning from several trainings of the same recipe."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import ConfigError, ShapeError
from evermodels.datasets import DataSettings
from evermodels.training import TrainingError, build_model, engine, finetune, fit
from evermodels.training.distillation import DistilSettings, Teachers, imitation, teacher_seeds
from evermodels.training.objective import FactorLoss
from evermodels.training.settings import LossSettings


def distilled(fake, teachers=2, weight=1.0, **optim):
    recipe = fake.make_recipe(epochs=1, **optim)
    return recipe.replace(distil=DistilSettings(teachers, weight))


@pytest.fixture(scope="module")
def run(fake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    recipe = distilled(fake)
    fit(recipe, folder, seed=5, row="eeg", parts=fake.make_parts(train=16), progress=False)
    return recipe, folder


def test_the_loss_is_the_divergence_from_the_teachers():
    logits, taught = torch.tensor([[0.0, 0.0], [3.0, -1.0]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    by_hand = (0.0 - torch.tensor([3.0, -1.0]).log_softmax(0)[0]) / 2
    assert float(imitation(logits, taught)) == pytest.approx(float(by_hand), abs=1e-7)
    with pytest.raises(ShapeError, match="probabilities"):
        imitation(logits, taught[:1])


def test_teachers_are_trained_first_each_with_its_own_seed(run):
    _, folder = run
    made = [json.loads((folder / "teachers" / str(i) / "result.json").read_text()) for i in (0, 1)]
    assert [result["seed"] for result in made] == teacher_seeds(5, 2)
    assert not set(teacher_seeds(5, 2)) & set(teacher_seeds(6, 2))
    assert all("--set distil.teachers=0" in result["command"] and "--row eeg" in result["command"] for result in made)
    weights = [
        from_pretrained(folder / place).state_dict() for place in ("teachers/0/model", "teachers/1/model", "model")
    ]
    key = next(key for key in weights[0] if key.startswith("eeg_encoder") and key.endswith("weight"))
    assert not torch.equal(weights[0][key], weights[1][key]) and not torch.equal(weights[0][key], weights[2][key])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"]["imitation"] == pytest.approx(lines[0]["loss"]["total"])  # weight 1: nothing else counts


def test_a_run_without_its_data_leaves_no_folder(fake, tmp_path):
    (tmp_path / "runs").mkdir()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"data\.dataset: none is named"):
            fit(distilled(fake), tmp_path / "runs" / "eeg" / "seed-0", row="eeg", progress=False)
        assert not list((tmp_path / "runs").iterdir())
    (tmp_path / "runs" / "eeg").mkdir()
    (tmp_path / "runs" / "eeg" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError):
        fit(distilled(fake), tmp_path / "runs" / "eeg", row="eeg", progress=False)
    assert [path.name for path in (tmp_path / "runs" / "eeg").iterdir()] == ["notes.txt"]


def test_each_training_may_have_draws_of_its_own(fake, tmp_path):
    asked = []

    def parts(seed):
        asked.append(seed)
        return fake.make_parts(seed, train=16)

    fit(distilled(fake), tmp_path, seed=5, row="eeg", parts=parts, progress=False)
    assert asked == [*teacher_seeds(5, 2), 5]


def test_a_finished_run_trains_no_teacher_again(run, fake, monkeypatch):
    recipe, folder = run
    monkeypatch.setattr(engine, "_Run", None)
    assert fit(recipe, folder, seed=5, row="eeg", parts=fake.make_parts(train=16), progress=False)["seed"] == 5


def test_a_link_to_another_folder_is_not_followed(fake, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "teachers").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrainingError, match=r"teachers' is a link"):
        fit(distilled(fake), tmp_path / "run", row="eeg", parts=fake.make_parts(train=16), progress=False)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_mean_answer_is_what_they_say_together(run, fake):
    _, folder = run
    student = from_pretrained(folder / "model")
    teachers = Teachers([folder / f"teachers/{i}/model" for i in (0, 1)], student, torch.device("cpu"))
    inputs = {"eeg": torch.randn(3, 4, 64)}
    each = torch.stack([model(**inputs).probabilities for model in teachers.models])
    torch.testing.assert_close(teachers.answer(inputs), each.mean(0))
    of_factor = FactorLoss(None, fake.FACTORS, "pace")
    torch.testing.assert_close(teachers.answer(inputs, of_factor), each.mean(0).unflatten(1, (2, 2)).sum(2))
    assert not any(p.requires_grad for model in teachers.models for p in model.parameters())
    assert not any(model.training for model in teachers.models)


def _turned(items, item):
    return item if items.part != "train" else {**item, "label": 3 - item["label"]}


def test_at_weight_1_the_labels_count_for_nothing(run, fake, tmp_path, monkeypatch):
    recipe, folder = run
    assert recipe.teacher().distil == DistilSettings() and recipe.teacher().changes == ("distil.teachers=0",)
    shutil.copytree(folder / "teachers", tmp_path / "teachers")
    parts = fake.make_parts(train=16)
    given = type(parts.train).__getitem__
    monkeypatch.setattr(type(parts.train), "__getitem__", lambda items, i: _turned(items, given(items, i)))
    fit(recipe, tmp_path, seed=5, row="eeg", parts=parts, progress=False)
    before, after = (load_file(place / "model" / "model.safetensors") for place in (folder, tmp_path))
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_it_works_beside_mixup_a_factor_and_finetune(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(DataSettings, "parts", lambda *a, seed, **k: fake.make_parts(seed, train=16))
    recipe = distilled(fake, teachers=1, weight=0.5, mixup_alpha=0.4).replace(loss=LossSettings("pace"))
    result = finetune(recipe, tmp_path, row="eeg", progress=False)
    terms = json.loads((tmp_path / "eeg/seed-0/metrics.jsonl").read_text())["loss"]
    assert result["row"] == "eeg" and terms["imitation"] > 0 and terms["cross_entropy"] > 0


def test_what_cannot_be_is_refused(run, fake):
    for values, message in (
        ({"teachers": -1}, "teachers: expected 0 to 100"),
        ({"weight": 0.0}, "weight: expected a part of the loss"),
        ({"teacher": 3}, "Did you mean 'teachers'"),
    ):
        with pytest.raises(ConfigError, match=message):
            DistilSettings.from_dict(values)
    _, folder = run
    other = build_model(fake.make_recipe().for_row("ever"))
    with pytest.raises(ConfigError, match="has other inputs or classes than its student"):
        Teachers([folder / "teachers/0/model"], other, torch.device("cpu"))
