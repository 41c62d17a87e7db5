"""Nobody on two sides."""

import pytest

from evermodels.core.errors import DataError
from evermodels.datasets import QuadrantPairs, SubjectSplit, leave_one_out, quadrant_split, random_split, subject_folds

PEOPLE = [f"{i:02d}" for i in range(36)]


@pytest.mark.parametrize(
    ("train", "validation", "test", "message"),
    [
        (["a", "b"], ["c"], ["b"], r"'b' is in train and in test"),
        (["a", "b"], ["b"], ["c"], r"'b' is in train and in validation"),
        (["a"], ["c"], ["c"], r"'c' is in validation and in test"),
        (["a", "a"], ["b"], ["c"], r"'a' is twice in train"),
        ([], ["b"], ["c"], r"train is empty"),
        (["a"], ["b"], [], r"test is empty"),
        ("ab", ["c"], ["d"], r"SubjectSplit.train: expected a list of ids, got the string 'ab'"),
        ([1, 2], ["1"], ["3"], r"'1' is in train and in validation"),
    ],
)
def test_a_leaking_split_is_refused(train, validation, test, message):
    with pytest.raises(DataError, match=message):
        SubjectSplit(train, validation, test)


def test_unknown_part():
    with pytest.raises(DataError, match="part: expected one of train, validation, test, got 'dev'"):
        SubjectSplit(("a",), ("b",), ("c",)).part("dev")


def test_protocol_2_folds():
    folds = subject_folds(PEOPLE, 6)
    assert [fold.test for fold in folds] == [tuple(PEOPLE[k : k + 6]) for k in range(0, 36, 6)]
    for fold in folds:
        assert len(fold.validation) == 4
        assert sorted(fold.subjects) == PEOPLE
    assert subject_folds(PEOPLE, 6) == folds
    assert [f.validation for f in subject_folds(PEOPLE, 6, seed=1)] != [f.validation for f in folds]


def test_uneven_folds_cover_everybody_once():
    folds = subject_folds(PEOPLE[:11], 3, n_validation=2)
    assert [person for fold in folds for person in fold.test] == PEOPLE[:11]
    assert [len(fold.test) for fold in folds] == [4, 4, 3]


@pytest.mark.parametrize(
    ("subjects", "n_folds", "n_validation", "message"),
    [
        (PEOPLE, 1, 4, "n_folds: expected 2 to 36"),
        (PEOPLE[:3], 4, 1, "n_folds: expected 2 to 3"),
        (PEOPLE[:6], 2, 3, "n_validation: expected 0 to 2"),
        (PEOPLE[:6], 2, -1, "n_validation: expected 0 to 2"),
        (["a", "b", "a"], 2, 1, "'a' given more than once"),
    ],
)
def test_impossible_folds(subjects, n_folds, n_validation, message):
    with pytest.raises(DataError, match=message):
        subject_folds(subjects, n_folds, n_validation=n_validation)


def test_leave_one_out():
    folds = leave_one_out(PEOPLE)
    assert [fold.test for fold in folds] == [(person,) for person in PEOPLE]
    assert all(len(fold.train) == 31 for fold in folds)


def test_nobody_has_to_choose():
    first, *others = leave_one_out(PEOPLE[:4], n_validation=0)
    assert first == SubjectSplit(tuple(PEOPLE[1:4]), (), ("00",)) and len(others) == 3
    with pytest.raises(DataError, match="train is empty"):
        SubjectSplit((), ("b",), ("c",))


def test_random_split_depends_on_the_seed_alone():
    split = random_split(PEOPLE, n_validation=4, n_test=4, seed=3)
    assert split == random_split(PEOPLE, n_validation=4, n_test=4, seed=3)
    assert split != random_split(PEOPLE, n_validation=4, n_test=4, seed=4)
    assert sorted(split.subjects) == PEOPLE
    with pytest.raises(DataError, match="test is empty"):
        random_split(PEOPLE, n_validation=4, n_test=0, seed=0)


def test_the_quadrants_fixed_split():
    ids = [f"{i:03d}" for i in range(110) if i % 13]
    split = quadrant_split([*ids[::-1], "200"])
    assert list(split) == list(QuadrantPairs.groups)
    eeg, faces_of = split["eeg_subject"], split["face_id"]
    assert eeg.train == tuple(PEOPLE[:24])
    assert eeg.validation == tuple(PEOPLE[24:30])
    assert eeg.test == tuple(PEOPLE[30:])
    faces = [*ids, "200"]
    assert faces_of.train == tuple(faces[:68])
    assert faces_of.validation == tuple(faces[68:85])
    assert faces_of.test == tuple(faces[85:])
    with pytest.raises(DataError, match="expected the 102 people of the London set, got 101"):
        quadrant_split(ids)
