"""The faults that are put into the code on purpose are still found in it, each once."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file} {mutant.before.strip()[:30]}")
def test_a_fault_can_be_put_in(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.before) == 1
    assert mutant.before != mutant.after
    for path in mutant.tests.split():
        assert (ROOT / path).is_file()
