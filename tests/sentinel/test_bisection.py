"""The search sets aside exactly the records that break a stage, in few tries, and never on the build's account."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.models.cursor import Phase
from ingestion.reject import SetAsideReason
from sentinel.bisection import Bisection, Part, PoisonedBuild, SetAside, Unproven

REFUSED = SetAside(SetAsideReason.STORAGE_REFUSED, Phase.STORE, "DataError 22003 in phase store")
RAISED = SetAside(SetAsideReason.STAGE_FAILED, Phase.SCRUB, "KeyError in phase scrub")


class Log:
    """Plays the pipeline on records [0, end), of which those in `bad` break a stage."""

    def __init__(self, end: int, bad: set[int], because: SetAside = REFUSED, *, is_proven: bool = False) -> None:
        self.end = end
        self.bad = bad
        self.because = because
        self.is_proven = is_proven
        self.next_offset = 0
        self.aside: list[int] = []
        self.stored: list[int] = []
        self.tries = 0

    def ingest(self, *, attempts: int = 1) -> None:
        search = Bisection(self.next_offset, self.end)
        goes_on = True
        while goes_on:
            part = search.next_part()
            assert self.next_offset < part.end <= self.end
            self.tries += 1
            if self.breaks(part):
                assert search.broke(part, self.because, is_proven=lambda: self.is_proven)
                search.check_hope(attempts=attempts)
            else:
                goes_on = search.committed(part.end, stored=self.commit(part))

    def breaks(self, part: Part) -> bool:
        return any(offset in self.bad and offset not in part.aside for offset in range(self.next_offset, part.end))

    def commit(self, part: Part) -> int:
        stored = [offset for offset in range(self.next_offset, part.end) if offset not in part.aside]
        assert stored or not part.needs_proof
        self.stored += stored
        self.aside += part.aside
        self.next_offset = part.end
        return len(stored)


@given(st.integers(1, 400).flatmap(lambda end: st.tuples(st.just(end), st.sets(st.integers(0, end - 1), max_size=8))))
def test_exactly_the_refused_records_are_set_aside(given_log: tuple[int, set[int]]) -> None:
    end, bad = given_log
    log = Log(end, bad, is_proven=True)
    log.ingest()
    assert log.next_offset == end
    assert sorted(log.aside) == sorted(bad)
    assert log.stored == [offset for offset in range(end) if offset not in bad]


@pytest.mark.parametrize("bad", [0, 1, 1_234, 2_998, 2_999])
def test_one_record_of_three_thousand_costs_few_tries(bad: int) -> None:
    log = Log(3_000, {bad})
    log.ingest()
    assert log.aside == [bad]
    assert log.tries <= 2 * math.log2(3_000)


def test_a_range_on_which_nothing_breaks_is_taken_whole() -> None:
    log = Log(3_000, set())
    log.ingest()
    assert log.tries == 1


@pytest.mark.parametrize("because", [RAISED, REFUSED])
@pytest.mark.parametrize("bad", [{0}, {0, 1}, {99}, {5, 50, 51}])
def test_others_of_the_range_prove_that_it_is_not_the_build(bad: set[int], because: SetAside) -> None:
    log = Log(100, bad, because)
    log.ingest()
    assert sorted(log.aside) == sorted(bad)
    assert log.next_offset == 100


@pytest.mark.parametrize("because", [RAISED, REFUSED])
def test_a_build_that_breaks_on_every_record_sets_none_aside(because: SetAside) -> None:
    log = Log(100, set(range(100)), because)
    with pytest.raises(Unproven):
        log.ingest(attempts=1)
    with pytest.raises(PoisonedBuild, match="3 records in a row"):
        log.ingest(attempts=3)
    assert log.next_offset == 0
    assert log.aside == []


def test_a_lone_record_waits_for_others_before_it_is_set_aside() -> None:
    log = Log(1, {0}, RAISED)
    with pytest.raises(Unproven, match="KeyError in phase scrub"):
        log.ingest(attempts=50)
    log.end = 2
    log.ingest()
    assert log.aside == [0]


def test_a_build_that_has_stored_events_elsewhere_may_set_a_lone_record_aside() -> None:
    log = Log(1, {0}, RAISED, is_proven=True)
    log.ingest()
    assert log.aside == [0]


def test_what_breaks_without_any_record_is_not_about_records() -> None:
    search = Bisection(0, 1)
    assert search.broke(search.next_part(), REFUSED, is_proven=lambda: False)
    alone = search.next_part()
    assert alone.aside == {0: REFUSED}
    assert not search.broke(alone, REFUSED, is_proven=lambda: False)


def test_a_condemned_record_is_set_aside_first_and_alone() -> None:
    condemned = SetAside(SetAsideReason.KILLED_WORKER, Phase.SCRUB, "killed", keeps_payload=False)
    search = Bisection(7, 3_000, condemned=condemned)
    part = search.next_part()
    assert (part.end, part.aside, part.needs_proof) == (8, {7: condemned}, False)
    assert not search.committed(8, stored=0)
