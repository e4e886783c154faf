"""Strips sent to the crew, a bounded number at a time, and their results as they are ready."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from distributed import Future, as_completed

from geop2p.grid import Strip
from geop2p.parts import StripResult
from geop2p.pipelines.cluster import Crew
from geop2p.pipelines.planning import Plan
from geop2p.pipelines.strips import Stopwatch, needed_rows, read_span, translate_strip
from geop2p.raster.scene import OrderedRows, open_source


def strip_results(
    plan: Plan, strips: Sequence[Strip], crew: Crew, *, watch: Stopwatch
) -> Iterator[StripResult]:
    """Yield strip results as they are ready, with a bounded number in flight."""
    waiting = _submitted(plan, strips, crew, watch=watch)
    first = list(islice(waiting, crew.slots + 1))
    in_flight = as_completed(first, loop=crew.client.loop)
    for future in in_flight:
        yield future.result()
        future.release()
        for following in islice(waiting, 1):
            in_flight.add(following)


def _submitted(
    plan: Plan, strips: Iterable[Strip], crew: Crew, *, watch: Stopwatch
) -> Iterator[Future]:
    """Submit one strip each time the next is asked for.

    Where windows cannot be decoded by themselves, rows are read here, once and in order, and sent.
    """
    if not plan.spec.is_sequential:
        for strip in strips:
            yield crew.client.submit(translate_strip, plan.job, strip, pure=False)
        return
    with open_source(plan.job.source) as scene:
        ordered = OrderedRows(scene)
        for strip in strips:
            span = needed_rows(plan.job.grid, strip)
            with watch.time("read"):
                rows = read_span(ordered, span)
            sent = crew.client.scatter(rows, hash=False)
            yield crew.client.submit(translate_strip, plan.job, strip, sent, pure=False)
