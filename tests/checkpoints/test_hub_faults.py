"""Faults between the Hub and a model, with the real client; the cases are in the files that end in ``_cases``."""

import pytest

from tests.checkpoints import hub_cases, machine_cases, upload_cases

CASES = [*hub_cases.CASES, *machine_cases.CASES, *upload_cases.CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_fault(case, hub, tmp_path):
    with hub_cases.world(hub, tmp_path) as world:
        assert case.run(world) > 0


def test_names_of_the_cases_differ():
    names = [(case.kind, case.name) for case in CASES]
    assert len(set(names)) == len(names)
