from collections import Counter
from itertools import chain, islice

import pytest

from chaos.nemesis import DECK, KINDS, TARGETS, plan


def test_the_same_seed_gives_the_same_faults() -> None:
    assert list(islice(plan(7), 300)) == list(islice(plan(7), 300))


def test_another_seed_gives_others() -> None:
    assert list(islice(plan(7), 20)) != list(islice(plan(8), 20))


@pytest.mark.parametrize("seed", range(20))
def test_the_short_form_meets_every_kind_and_kills_every_kind_of_process(seed: int) -> None:
    faults = list(islice(plan(seed), len(DECK)))
    killed = {fault.target for fault in faults if fault.kind == "kill"}

    assert {fault.kind for fault in faults} == set(KINDS)
    assert all(killed & set(group) for group in TARGETS["kill"])


def test_the_long_form_kills_and_stops_everything() -> None:
    faults = list(islice(plan(1), 110))

    for kind in ("kill", "stop"):
        assert {fault.target for fault in faults if fault.kind == kind} == set(chain(*TARGETS[kind]))


def test_the_long_form_breaks_most_lines_in_each_way() -> None:
    met = Counter(fault.kind for fault in set(islice(plan(1), 110)))

    assert all(met[kind] >= 8 for kind in ("cut", "delay", "half-open to", "half-open from"))


def test_only_the_kinds_that_are_asked_for_are_dealt() -> None:
    assert {fault.kind for fault in islice(plan(1, ("cut", "delay")), 50)} == {"cut", "delay"}
