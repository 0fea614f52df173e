"""Turns: who has had the least is next, and nobody gains by staying away."""

from __future__ import annotations

from collections import Counter

import pytest

from exemplar_server.turns import Accounts, Turns


def test_each_caller_s_things_come_in_order_and_callers_take_turns() -> None:
    turns: Turns[str] = Turns(Accounts())
    for thing in ("a1", "a2", "a3", "b1", "c1", "b2"):
        turns.add(thing[0], thing)
    assert [turns.take(1.0) for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert not turns
    with pytest.raises(LookupError):
        turns.take(1.0)


def test_who_costs_more_gets_fewer_turns() -> None:
    accounts = Accounts()
    turns: Turns[str] = Turns(accounts)
    for caller in ("cheap", "dear"):
        for _ in range(100):
            turns.add(caller, caller)
    served = Counter[str]()
    for _ in range(55):
        caller = turns.take(0.0)
        served[caller] += 1
        accounts.charge(caller, 10.0 if caller == "dear" else 1.0)  # known only afterwards
    assert served["cheap"] == 50
    assert served["dear"] == 5


def test_who_stayed_away_starts_level_with_those_who_are_served() -> None:
    turns: Turns[str] = Turns(Accounts())
    for _ in range(100):
        turns.add("old", "old")
    for _ in range(50):
        turns.take(1.0)
    for _ in range(10):
        turns.add("new", "new")
    assert Counter(turns.take(1.0) for _ in range(10)) == {"old": 5, "new": 5}


def test_who_goes_after_each_dear_thing_and_comes_back_is_still_charged_for_it() -> None:
    turns: Turns[str] = Turns(Accounts())
    for _ in range(100):
        turns.add("cheap", "cheap")
    taken: list[str] = []
    turns.add("dear", "dear")
    for _ in range(40):
        taken.append(turns.take(10.0 if turns.first() == "dear" else 1.0))
        if taken[-1] == "dear":
            turns.add("dear", "dear")
    assert 3 <= taken.count("dear") <= 5


def test_two_queues_of_one_account_know_what_was_had_from_the_other() -> None:
    accounts = Accounts()
    light: Turns[str] = Turns(accounts)
    heavy: Turns[str] = Turns(accounts)
    heavy.add("a", "a")
    light.add("a", "a")
    light.add("b", "b")
    heavy.take(5.0)
    assert light.take(1.0) == "b"
    assert light.standing() == 5.0


def test_callers_who_went_are_forgotten() -> None:
    accounts = Accounts()
    turns: Turns[int] = Turns(accounts)
    for number in range(10_000):
        turns.add(str(number), number)
        turns.take(1.0)
    assert len(accounts.had) < 3000
