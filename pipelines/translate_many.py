"""Translate several scenes: the next one is drawn while the last one's map is written.

    scene:   plan, draw ----------> plan, draw ----------> ...
    map:                    write -------->        write -------->

The generator is opened once, workers are hired once. At most one map is being written, so memory
and part files are those of two scenes, however many there are.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Unpack
from urllib.parse import urlsplit

from geop2p.errors import Geop2pError, NothingToDoError, OptionError, OutputError
from geop2p.pipelines.cluster import end_if_started_by_spawn
from geop2p.pipelines.crew import Crew, check_workers
from geop2p.pipelines.inspection import needs_of
from geop2p.pipelines.lanes import LaneSpec
from geop2p.pipelines.planning import ChosenModel, Plan, check_engine, choose_model
from geop2p.pipelines.preflight import check_paths
from geop2p.pipelines.request import Request, TranslateOptions
from geop2p.pipelines.scene_run import begun, crew_of_its_own
from geop2p.pipelines.translation_report import TranslateReport
from geop2p.progress import OnProgress, Progress
from geop2p.raster.mapformat import SUFFIXES

Finishing = Callable[[], TranslateReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOutcome:
    """What became of one scene of several.

    Parameters
    ----------
    scene, path : str
        The scene, and its map.
    report : TranslateReport or None
        Of the translation; None where there was none.
    error : Geop2pError or None
        Why there was none.
    """

    scene: str
    path: str
    report: TranslateReport | None = None
    error: Geop2pError | None = None

    @property
    def state(self) -> str:
        """``translated``, ``skipped`` (the map is there already) or ``failed``."""
        if self.error is None:
            return "translated"
        return "skipped" if isinstance(self.error, NothingToDoError) else "failed"


def translate_many(
    scenes: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    **options: Unpack[TranslateOptions],
) -> Iterator[SceneOutcome]:
    """Translate scenes into maps of their names in a folder; one that fails stops no other.

    Every map is, to the last bit, what `translate` makes of its scene. A map that is there already,
    of the same scene, model and options, is skipped, unless ``overwrite`` is given without
    ``skip_existing``, or a bare function draws; so the same call goes on where one was interrupted.

    Parameters
    ----------
    scenes : iterable of paths
        Raster files that GDAL reads. No two may have one name but for folder and suffix.
    out_dir : path
        An existing folder for the maps: the scene's name, .tif, or the suffix of ``format``.
    **options
        See `TranslateOptions`; bands, stretch and the like are resolved for each scene. Options
        that name a file beside the map (``classes``, ``vectors``, ``confidence``, ``preview``) name
        an existing folder for such files here, each with its scene's name. ``on_progress`` is told
        of scenes by their numbers.

    Returns
    -------
    iterator of SceneOutcome
        One a scene, in their order. Work begins when the first is asked for; with the last, or when
        the iterator is closed, generator and workers are let go. Until then torch's threads and
        switches, and Dask's settings, are those of a translation, in the whole process.

    Raises
    ------
    OptionError, ModelError, OutputError
        At once, for what concerns all scenes: options, the model, names that clash, the folder.
    """
    end_if_started_by_spawn()
    requests = _requests([os.fspath(scene) for scene in scenes], Path(out_dir), options)
    _check_all(requests)
    chosen = choose_model(requests[0])
    check_engine(requests[0], chosen)
    return _outcomes(requests, chosen)


def _requests(scenes: list[str], out_dir: Path, options: TranslateOptions) -> list[Request]:
    if not scenes:
        raise OptionError("no scene to translate (give at least one)")
    on_progress = options.pop("on_progress", None)
    first_suffix = {driver: suffix for suffix, driver in reversed(SUFFIXES.items())}
    suffix = first_suffix.get(options.get("format") or "COG", ".tif")
    requests = []
    for number, scene in enumerate(scenes, start=1):
        stem = _stem(scene)
        request = Request(scene=scene, out=out_dir / f"{stem}{suffix}", **options)
        request = request.with_files_named(stem)
        is_kept = not request.overwrite and request.generator is None
        told = on_progress and _numbered(on_progress, f"{number}/{len(scenes)}")
        requests.append(
            replace(
                request,
                skip_existing=request.skip_existing or is_kept,
                on_progress=told or request.on_progress,
            )
        )
    return requests


def _stem(scene: str) -> str:
    return Path(urlsplit(scene).path if "://" in scene else scene).stem


def _numbered(on_progress: OnProgress, number: str) -> OnProgress:
    def show(progress: Progress) -> None:
        on_progress(replace(progress, stage=f"{progress.stage} {number}"))

    return show


def _check_all(requests: list[Request]) -> None:
    """Refuse what is wrong with names, before any work."""
    for option, path in requests[0].side_outputs().items():
        if not path.parent.is_dir():
            raise OptionError(
                f"{path.parent}: no such folder (with several scenes --{option} names one, for "
                "files of the scenes' names: make it)"
            )
    scenes = {os.path.realpath(request.scene) for request in requests}
    taken: dict[Path, str] = {}
    for request in requests:
        if request.out in taken:
            raise OptionError(
                f"{taken[request.out]} and {request.scene} would both become {request.out} "
                "(rename one, or translate them into two folders)"
            )
        taken[request.out] = request.scene
        if os.path.realpath(request.out) in scenes:
            raise OutputError(f"{request.out}: is one of the scenes (choose another folder)")
        check_paths(request)


def _outcomes(requests: list[Request], chosen: ChosenModel) -> Iterator[SceneOutcome]:
    with Workplace() as place, _Finisher() as finisher:
        for request in requests:
            try:
                with ExitStack() as stack:
                    run = stack.enter_context(begun(request, chosen=chosen))
                    tally = run.draw(place.hire)
                    yield from finisher.finished()
                    finisher.start(request, stack.pop_all(), partial(run.finish, tally))
            except Geop2pError as exc:
                yield from finisher.finished()
                yield _outcome(request, error=exc)
        yield from finisher.finished()


def _outcome(
    request: Request, *, report: TranslateReport | None = None, error: Geop2pError | None = None
) -> SceneOutcome:
    return SceneOutcome(scene=request.scene, path=str(request.out), report=report, error=error)


class _Finisher:
    """A thread that writes one map at a time; leaving it waits for that map."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="geop2p-finish")
        self._under_way: tuple[Request, Future[TranslateReport]] | None = None

    def start(self, request: Request, stack: ExitStack, finish: Finishing) -> None:
        """Let a map be written; what ``stack`` holds, its lock, is let go afterwards."""
        self._under_way = request, self._thread.submit(_finished, stack, finish)

    def finished(self) -> Iterator[SceneOutcome]:
        """Yield what became of the map that was started, if one was."""
        if self._under_way is None:
            return
        request, report = self._under_way
        self._under_way = None
        try:
            outcome = _outcome(request, report=report.result())
        except Geop2pError as exc:
            outcome = _outcome(request, error=exc)
        yield outcome

    def __enter__(self) -> "_Finisher":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)


def _finished(stack: ExitStack, finish: Finishing) -> TranslateReport:
    with stack:
        return finish()


class Workplace:
    """A crew that is hired for the first scene and kept for the next, unless something fails."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._crew: Crew | None = None
        self._lane: LaneSpec | None = None

    @contextmanager
    def hire(self, plan: Plan) -> Iterator[Crew]:
        """Give the crew, fit for a plan; after an error the next scene gets another one.

        Raises
        ------
        OptionError, ClusterError
            See `geop2p.pipelines.cluster.hired`.
        """
        try:
            yield self._fit_for(plan)
        except BaseException:  # strips may still be under way there
            self.close()
            raise

    def _fit_for(self, plan: Plan) -> Crew:
        if plan.lane != self._lane:
            self.close()
        crew, self._lane = self._crew, plan.lane
        if crew is None:
            crew = self._stack.enter_context(crew_of_its_own(plan))
        elif crew.needs is not None:
            needs = needs_of(
                device=plan.lane.engine.device,
                scene=None if plan.spec.is_sequential else plan.job.source.path,
                model=plan.lane.model_path,
            )
            crew = replace(crew, needs=needs)
            check_workers(crew, needs)
        self._crew = crew
        return crew

    def close(self) -> None:
        """Let the crew go."""
        self._crew = None
        self._stack.close()

    def __enter__(self) -> "Workplace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
