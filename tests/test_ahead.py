"""Items are made by one thread, in order and ahead of the one who uses them."""

import threading

import pytest

from geop2p.ahead import ahead


def counted(made, count=10):
    for number in range(count):
        made.append((number, threading.current_thread().name))
        yield number


def test_items_come_in_order_from_one_other_thread():
    made = []
    assert list(ahead(counted(made))) == list(range(10))
    assert [number for number, _ in made] == list(range(10))
    assert len({name for _, name in made} | {threading.current_thread().name}) == 2


def test_the_next_item_is_made_while_the_last_one_is_used():
    is_made = threading.Event()

    def items():
        yield 0
        is_made.set()
        yield 1

    rows = ahead(items())
    next(rows)
    assert is_made.wait(10)
    assert list(rows) == [1]


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_is_made_than_was_asked_for(depth):
    made = []
    rows = ahead(counted(made), depth=depth)
    next(rows)
    rows.close()
    assert len(made) <= depth + 2
    assert not [thread for thread in threading.enumerate() if "geop2p-ahead" in thread.name]


def test_what_making_raises_is_raised_in_its_place():
    def items():
        yield 0
        raise ValueError("lost")

    rows = ahead(items())
    assert next(rows) == 0
    with pytest.raises(ValueError, match="lost"):
        next(rows)


def test_nothing_is_nothing():
    assert list(ahead([])) == []
