"""Protocol 3: face clips in folds of people."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evermodels.core.errors import ConfigError
from evermodels.core.specs import InputSpec, VideoSpec
from evermodels.datasets import DataSettings, check_disjoint, faces_parts
from evermodels.datasets.splits import PARTS

SPEC = InputSpec(video=VideoSpec(num_frames=2, size=(16, 16)))


class Faces:
    """102 people: a neutral photograph is dark, a smiling one bright, with a ramp that shows motion."""

    people = tuple(f"{i:03d}" for i in range(1, 103))

    def photo(self, person, expression, *, size):
        level = (80 if expression == "neutral" else 160) + int(person) % 8
        ramp = np.arange(size[1], dtype=np.uint8)[None, :, None]
        return np.ascontiguousarray(np.broadcast_to(level + ramp, (*size, 3)).astype(np.uint8))


@pytest.fixture
def parts(monkeypatch, tmp_path):
    (tmp_path / "faces").mkdir()
    monkeypatch.setattr(faces_parts, "_faces", lambda *_: Faces())
    return lambda seed=0, **values: DataSettings.from_dict({"dataset": "faces", **values}).parts(
        SPEC, seed=seed, data_root=tmp_path
    )


def test_everybody_is_tested_once_and_never_trained_on(parts):
    tested = []
    for fold in range(6):
        made = parts(fold=fold)
        split = {part: made.people(part) for part in PARTS}
        check_disjoint(split)
        assert [len(split[part]["person"]) for part in PARTS] == [73, 12, 17]
        tested += split["test"]["person"]
    assert tested == list(Faces.people)  # blocks of 17 in the order of the ids
    assert made.class_counts() == [146, 146] and made.classes == ("neutral", "smiling")


def test_clips_are_of_the_models_size_and_show_nothing_but_the_expression(parts):
    made = parts(crossfade=0.0)
    items = [made.test[i] for i in range(4)]
    assert [item["label"] for item in items] == [0, 1, 0, 1] and {item["person"] for item in items} == {"001"}
    assert items[0]["video"].shape == (2, 3, 16, 16) and items[0]["video"].dtype == torch.float32
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SPEC.video.mean, SPEC.video.std))
    neutral, smiling = ((item["video"] * std + mean) * 255 for item in items[:2])
    # 80 levels lie between the photographs; the same motion and light move both
    assert (smiling - neutral).mean() == pytest.approx(80, abs=8) and (smiling - neutral).std() < 4


def test_training_clips_are_drawn_by_seed_and_epoch_and_others_are_fixed(parts):
    made, same, other = parts(), parts(), parts(seed=1)
    first = made.train[0]["video"]
    assert torch.equal(first, same.train[0]["video"]) and not torch.equal(first, other.train[0]["video"])
    for part in ("validation", "test"):
        assert torch.equal(made.part(part)[3]["video"], other.part(part)[3]["video"])
    made.train.set_epoch(1)
    assert not torch.equal(first, made.train[0]["video"])
    made.train.set_epoch(0)
    assert torch.equal(first, made.train[0]["video"])


def test_bad_settings(parts, tmp_path):
    for values, message in (({"fold": 6}, "0 to 5"), ({"clips": 0}, "1 to 1000"), ({"crossfade": 2.0}, "probability")):
        with pytest.raises(ConfigError, match=message):
            parts(**values)
    with pytest.raises(ConfigError, match="video alone"):
        DataSettings.from_dict({"dataset": "faces"}).parts(InputSpec(), data_root=tmp_path)
