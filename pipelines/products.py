"""What is written when the last strip is kept: the map, and what else was asked for.

Each product is one function of what is finished; they are made in one order, each complete under
its name or not there at all.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from geop2p.errors import OutputError
from geop2p.parts import Parts, PartStore, remove_parts
from geop2p.pipelines.assembly import map_rows
from geop2p.pipelines.colours import snapped
from geop2p.pipelines.confidence_raster import write_confidence
from geop2p.pipelines.early_map import EarlyMap
from geop2p.pipelines.planning import Plan, map_spec
from geop2p.pipelines.regridding import can_have_invalid, on_scene_grid
from geop2p.pipelines.tally import Tally
from geop2p.raster.mapfile import staged_map
from geop2p.raster.mapformat import BLOCK

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Work = TypeVar("Work")


@dataclass(frozen=True, slots=True)
class Finished:
    """What products are made from.

    Parameters
    ----------
    plan : Plan
        What was to be done.
    store : PartStore
        All strips.
    tally : Tally
        What is known of them.
    early : EarlyMap or None
        The map, where it was begun while they were drawn.
    """

    plan: Plan
    store: Parts
    tally: Tally
    early: EarlyMap | None = None

    @property
    def is_masked(self) -> bool:
        """Whether the map gets a mask: some of its pixels are invalid, or can be."""
        if self.plan.is_brought_back:
            return can_have_invalid(self.plan)
        return self.tally.sums["pixels_invalid"] > 0

    def rows(self) -> Iterator[tuple[Pixels, Mask]]:
        """Yield the map by `BLOCK` rows: (K, h, W) in its type, and (h, W) valid."""
        palette = None if self.plan.request.palette is None else self.plan.palette
        return self._drawn() if palette is None else snapped(self._drawn(), palette)

    def _drawn(self) -> Iterator[tuple[Pixels, Mask]]:
        """Yield the map's rows as the generator drew them."""
        drawn = map_rows(
            self.store,
            self.plan.strips,
            values=self.plan.job.values,
            bands=self.tally.bands,
            rows=BLOCK,
        )
        return self._counted(drawn) if self.plan.is_brought_back else drawn

    def _counted(self, drawn: Iterator[tuple[Pixels, Mask]]) -> Iterator[tuple[Pixels, Mask]]:
        """Yield rows on the scene's grid, and have its invalid pixels counted at the end."""
        invalid = 0
        for pixels, valid in on_scene_grid(drawn, self.plan, height=BLOCK):
            invalid += valid.size - int(np.count_nonzero(valid))
            yield pixels, valid
        self.tally.sums["pixels_invalid"] = invalid


@contextmanager
def begun_early(plan: Plan, store: PartStore) -> Iterator[EarlyMap | None]:
    """Yield a map to be told of every strip that is kept; None where it has to wait for all.

    It has to where it is drawn on a CPU, and where only strips tell its bands, or whether it has a
    mask. What was begun and not finished is gone when the context ends.
    """
    if not can_begin_early(plan):
        yield None
        return
    early = EarlyMap(lambda parts: _staged_map(Finished(plan, parts, Tally(plan))), store)
    try:
        yield early
    finally:
        early.discard()


def can_begin_early(plan: Plan) -> bool:
    """Return whether cores are free, and everything about the map but its pixels is known."""
    is_known = plan.card is not None and not (plan.is_brought_back or can_have_invalid(plan))
    return is_known and has_free_cores(plan)


def has_free_cores(plan: Plan) -> bool:
    """Return whether strips are drawn elsewhere than on the cores that would write the map."""
    return plan.lane.engine.kind == "cuda"


def write_products(finished: Finished) -> dict[str, float]:
    """Write the map and what else was asked for, and remove the strips; return seconds by product.

    Raises
    ------
    OutputError
        When a product cannot be written. Strips are kept unless the map is there.
    """
    seconds = {}
    with ExitStack() as staged:
        for name, stage in STAGED.items():
            seconds[name] = _timed(staged.enter_context, stage(finished))
        for name, make in MADE_OF_STRIPS.items():
            seconds[name] = _timed(make, finished)
    try:
        remove_parts(finished.plan.request.out)
    except OutputError as exc:  # the map is there, complete
        logger.warning("%s", exc)
    return seconds | {name: _timed(make, finished) for name, make in MADE_OF_MAP.items()}


def _timed(make: Callable[[Work], object], work: Work) -> float:
    start = time.perf_counter()
    make(work)
    return time.perf_counter() - start


@contextmanager
def _classes(finished: Finished) -> Iterator[None]:
    if finished.plan.request.classes is None:
        yield
        return
    from geop2p.pipelines.classes import staged_classes  # noqa: PLC0415  shapely, for few

    with staged_classes(finished.plan, finished.rows, is_masked=finished.is_masked):
        yield


@contextmanager
def _vectors(finished: Finished) -> Iterator[None]:
    if finished.plan.request.vectors is None:
        yield
        return
    from geop2p.pipelines.classes import staged_vectors  # noqa: PLC0415

    with staged_vectors(finished.plan, finished.rows) as count:
        finished.tally.sums["polygons"] = count
        yield


def _staged_map(finished: Finished) -> AbstractContextManager[None]:
    plan = finished.plan
    spec = map_spec(plan, bands=finished.tally.bands, is_masked=finished.is_masked)
    return staged_map(plan.request.out, spec, finished.rows, map_format=plan.map_format)


def _write_map(finished: Finished) -> None:
    if finished.early is not None:
        if not finished.is_masked:
            finished.early.finish()
            return
        finished.early.discard()  # it has no mask
    with _staged_map(finished):
        pass


def _write_confidence(finished: Finished) -> None:
    if finished.plan.job.confidence is not None:
        write_confidence(finished.plan, finished.store, finished.tally)


def _write_preview(finished: Finished) -> None:
    preview = finished.plan.request.preview
    if preview is not None:
        from geop2p.pipelines.preview import save_preview  # noqa: PLC0415  matplotlib: half a second

        save_preview(finished.plan, Path(preview))


STAGED = {"classes": _classes, "vectors": _vectors}
"""Made before the map, by the name of their seconds; they take their names when it is there too."""
MADE_OF_STRIPS = {"confidence": _write_confidence, "write": _write_map}
"""By the name of their seconds in the report. The map comes last: where it is, all of them are."""
MADE_OF_MAP = {"preview": _write_preview}
