"""The translation of one scene, step by step: begun, drawn strip by strip, finished.

Whoever translates one scene does the steps one after the other; whoever translates several may
finish one in a thread while the next is drawn.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from geop2p.errors import ModelError, OptionError, SceneError
from geop2p.grid import Strip
from geop2p.locking import all_held
from geop2p.parts import PartStore, StripResult, remove_temporary
from geop2p.pipelines.channels import choose_source
from geop2p.pipelines.cluster import hired
from geop2p.pipelines.crew import Crew
from geop2p.pipelines.dispatch import strip_results
from geop2p.pipelines.early_map import EarlyMap
from geop2p.pipelines.ground import choose_ground, warn_of_gsd, warn_of_size
from geop2p.pipelines.planning import ChosenModel, Plan, choose_model, make_plan
from geop2p.pipelines.preflight import (
    check_apart,
    check_memory,
    check_news,
    check_paths,
    check_space,
    check_unchanged,
)
from geop2p.pipelines.products import Finished, begun_early, write_products
from geop2p.pipelines.request import Request
from geop2p.pipelines.tally import Tally
from geop2p.pipelines.translation_report import TranslateReport, report_on, tell_surprises
from geop2p.progress import Progress
from geop2p.raster.identity import identity_of
from geop2p.raster.mapfile import check_creation_options
from geop2p.raster.scene import open_source

Hire = Callable[[Plan], AbstractContextManager[Crew]]
"""Gives a crew that has the lane of a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRun:
    """A scene that is being translated; its target is locked.

    Parameters
    ----------
    plan : Plan
        What is to be done.
    store : PartStore
        Strips that are done.
    started : float, seconds
        By `time.perf_counter`.
    early : EarlyMap or None
        The map, where it is begun while strips are drawn.
    """

    plan: Plan
    store: PartStore
    started: float
    early: EarlyMap | None = None

    def draw(self, hire: Hire) -> Tally:
        """Do the strips that are missing, keep each as it comes; return what all came to.

        Raises
        ------
        Geop2pError
            What `geop2p.pipelines.dispatch.strip_results` raises; and `SceneError` when the scene
            was changed meanwhile.
        """
        tally = _drawn(self, hire)
        check_unchanged(self.plan)
        return tally

    def kept(self, part: StripResult, tally: Tally) -> None:
        """Take note of a strip that is kept."""
        tally.add(part)
        if self.early is not None:
            self.early.add(part.strip)

    def finish(self, tally: Tally) -> TranslateReport:
        """Write the map, and what else was asked for; may be called from another thread.

        Raises
        ------
        OutputError, VerificationError
            When something cannot be written, or does not read back.
        """
        seconds = write_products(Finished(self.plan, self.store, tally, early=self.early))
        tell_surprises(self.plan, tally.sums)
        seconds["total"] = time.perf_counter() - self.started
        return report_on(self.plan, tally, seconds=seconds)


@contextmanager
def begun(request: Request, *, chosen: ChosenModel | None = None) -> Iterator[SceneRun]:
    """Lock the target and check everything that can be checked; yield what is to be done.

    When it is left by an error, strips stay if the same command could go on from them. It may be
    left by another thread than it was entered by.

    Parameters
    ----------
    request : Request
        What was asked for.
    chosen : ChosenModel or None
        The request's model; None: it is opened here.

    Raises
    ------
    OptionError, SceneError, ModelError, OutputError, NothingToDoError
        See `geop2p.errors`.
    """
    started = time.perf_counter()
    check_paths(request)
    outputs = (request.out, *request.side_outputs().values())
    with all_held(outputs):
        plan = _plan(request, chosen)
        store = PartStore(request.out, plan.fingerprint)
        for path in (*outputs, *request.side_cars()):
            remove_temporary(path)
        if request.fresh:
            store.remove()
        check_space(plan, store)
        check_memory(plan)
        try:
            store.open()
            with begun_early(plan, store) as early:
                yield SceneRun(plan=plan, store=store, started=started, early=early)
        except BaseException as exc:
            if not _can_go_on(plan, exc) or store.is_empty():
                store.remove()
            raise


def crew_of_its_own(plan: Plan) -> AbstractContextManager[Crew]:
    """Give a crew for one scene, see `geop2p.pipelines.cluster.hired`."""
    reads_scene = not plan.spec.is_sequential
    return hired(plan.request, job=plan.job, lane=plan.lane, reads_scene=reads_scene)


def _can_go_on(plan: Plan, exc: BaseException) -> bool:
    """Return whether the same command could go on from the parts that are finished.

    It could after an interruption, a lost worker, or once there is more disk or memory; not where
    scene or model cannot work, and not with a bare function, which nothing tells from another.
    """
    is_hopeless = isinstance(exc, SceneError | ModelError | OptionError)
    return plan.card is not None and not is_hopeless


def _plan(request: Request, chosen: ChosenModel | None) -> Plan:
    """Check everything that can be checked before work starts."""
    map_format = check_paths(request)
    identity = identity_of(request.source(None))
    check_apart(request, identity)
    with open_source(request.source(None)) as scene:
        header = scene.spec
    check_creation_options(request.out, map_format)
    chosen = chosen or choose_model(request)
    ground = choose_ground(request, header, chosen.card)
    source = replace(choose_source(request, header, chosen.card), size=ground.size)
    with open_source(source) as scene:
        plan = make_plan(
            request, scene, identity=identity, chosen=chosen, ground=ground, map_format=map_format
        )
    check_news(plan)
    warn_of_gsd(ground, chosen.card)
    warn_of_size(ground, plan.job.grid, chosen.card)
    return plan


def _drawn(run: SceneRun, hire: Hire) -> Tally:
    plan, store = run.plan, run.store
    tally, missing = Tally(plan), []
    for strip in plan.strips:
        part = store.load(strip)
        if part is None:
            missing.append(strip)
        else:
            run.kept(part, tally)
    watch, request = tally.run, plan.request
    watch.add("strips_resumed", len(plan.strips) - len(missing))
    total = plan.job.grid.tile_rows * plan.job.grid.tile_cols
    done = total - sum(_tiles_of(plan, strip) for strip in missing)
    if not missing:
        return tally
    with hire(plan) as crew:
        for result in strip_results(plan, missing, crew, watch=watch):
            with watch.time("keep"):
                store.save(result)
            run.kept(result, tally)
            done += _tiles_of(plan, result.strip)
            request.on_progress(Progress(stage="translate", done=done, total=total, unit="tiles"))
    return tally


def _tiles_of(plan: Plan, strip: Strip) -> int:
    return (strip.last - strip.first) * plan.job.grid.tile_cols
