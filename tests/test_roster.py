"""Nobody is blamed for what another did."""

import random

import pytest

from geop2p.grid import Strip
from geop2p.pipelines.roster import LOSSES, MOST_CONDEMNED, Roster

STRIPS = [Strip(first=i, last=i + 1) for i in range(12)]


def play(strips, *, poison=(), workers=2, capacity=3, chance=0.0, seed=0):
    """Let workers do strips in any order; poison ends its worker. Return what came of it."""
    roster, dice = Roster(strips), random.Random(seed)
    for number in range(workers):
        roster.join(f"w{number}", capacity=capacity)
    done, at, losses, born = [], {}, 0, workers
    while not (roster.is_done or roster.is_hopeless):
        while (assigned := roster.assign()) is not None:
            at.setdefault(assigned[0], []).append(assigned[1])
        worker = dice.choice([worker for worker in at if at[worker]])
        strip = dice.choice(at[worker])
        if strip in poison or dice.random() < chance:
            del at[worker]
            roster.leave(worker, is_fault=strip in poison)
            roster.join(f"w{born}", capacity=capacity)
            born, losses = born + 1, losses + (strip in poison)
        else:
            at[worker].remove(strip)
            roster.finished(strip, worker)
            done.append(strip)
    return roster, done, losses


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_only_the_strip_that_ends_workers_is_condemned(seed, workers):
    poison = [STRIPS[4], STRIPS[5]]
    roster, done, losses = play(STRIPS, poison=poison, workers=workers, seed=seed)
    assert sorted(roster.condemned, key=STRIPS.index) == poison
    assert sorted(done, key=STRIPS.index) == [s for s in STRIPS if s not in poison]
    assert losses <= LOSSES * len(poison)


def test_a_strip_alone_costs_exactly_three_workers():
    roster, _, losses = play(STRIPS[:1], poison=STRIPS[:1])
    assert roster.condemned == STRIPS[:1]
    assert losses == LOSSES


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_retire_are_nobodys_fault(seed):
    roster, done, _ = play(STRIPS, chance=0.3, seed=seed)
    assert roster.condemned == []
    assert sorted(done, key=STRIPS.index) == STRIPS


def test_where_every_strip_ends_its_worker_not_all_are_tried():
    roster, done, losses = play(STRIPS, poison=STRIPS)
    assert len(roster.condemned) == MOST_CONDEMNED
    assert done == []
    assert losses <= LOSSES * len(STRIPS)


def test_a_suspect_runs_alone_while_others_go_on():
    roster = Roster(STRIPS)
    roster.join("a", capacity=3)
    roster.join("b", capacity=3)
    sent = {assigned[1]: assigned[0] for _ in range(6) if (assigned := roster.assign())}
    roster.leave("a", is_fault=True)
    roster.join("c", capacity=3)
    worker, suspect = roster.assign()
    assert sent[suspect] == "a"
    assert worker == "c"
    assert roster.assign() is None  # b is full, c is the suspect's alone
    roster.finished(next(strip for strip in sent if sent[strip] == "b"), "b")
    assert roster.assign()[0] == "b"
