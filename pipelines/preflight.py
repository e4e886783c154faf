"""What is checked before work starts, and whether it still holds when the map is to be written."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import psutil

from geop2p.errors import (
    NothingToDoError,
    OptionError,
    OutOfMemoryError,
    OutputError,
    SceneError,
)
from geop2p.parts import PartStore, part_bytes
from geop2p.pipelines.confidence import part_planes
from geop2p.pipelines.confidence_raster import confidence_path, confidence_spec
from geop2p.pipelines.planning import Plan, map_spec, strip_bytes
from geop2p.pipelines.request import SIDE_OUTPUTS, Request
from geop2p.raster.identity import SceneIdentity, first_change, identity_of
from geop2p.raster.mapfile import (
    CHECKSUM_TAG,
    FORMAT_TAG,
    LOSSY_TAG,
    read_tags,
    writing_bytes,
)
from geop2p.raster.mapformat import MapFormat, choose_format
from geop2p.seal import TAG as SEAL_TAG
from geop2p.writing import disk_full, free_bytes

SHARE_OF_MEMORY = 0.8
"""Of what is free, that a strip may take."""
FILE_TAGS = frozenset((CHECKSUM_TAG, FORMAT_TAG, LOSSY_TAG, SEAL_TAG))
"""Of a map's tags, those that its file has beside what its pixels came from."""
LONGEST_NAME = 255 - len(".." + 16 * "0" + ".parts")
"""Bytes of an output's name: the folder of its parts has a longer one, and file systems a limit."""


def check_paths(request: Request) -> MapFormat:
    """Refuse outputs that must not be written; return the map's format.

    Raises
    ------
    OutputError
        When an output is the scene, exists without ``overwrite``, or its folder is missing or
        not writable.
    OptionError
        When its name or a creation option fits no map.
    """
    map_format = choose_format(request.out, driver=request.format, options=request.creation_options)
    _check_output(request.out, request)
    outputs = {request.out.absolute(): "the map itself"}
    for option, path in request.side_outputs().items():
        suffixes = SIDE_OUTPUTS[option]
        if path.suffix.lower() not in suffixes:
            raise OptionError(f"{path}: --{option} writes {' or '.join(suffixes)} (name it so)")
        if path.absolute() in outputs:
            raise OutputError(f"{path}: is {outputs[path.absolute()]} (choose another --{option})")
        outputs[path.absolute()] = f"the file of --{option}"
        _check_output(path, request)
    return map_format


def _check_output(path: Path, request: Request) -> None:
    folder = path.parent
    excess = len(os.fsencode(path.name)) - LONGEST_NAME
    if excess > 0:
        raise OutputError(f"{path}: the name is {excess} bytes too long (choose another --out)")
    if path.exists() and Path(request.scene).exists() and path.samefile(request.scene):
        raise OutputError(f"{path}: is the scene itself (choose another name)")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder (give a file)")
    is_skipped = request.skip_existing and path in _skipped(request)
    is_wanted = request.overwrite or is_skipped
    if path.exists() and not is_wanted:
        raise OutputError(f"{path}: exists (choose another name, or --overwrite)")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        state = "is not writable" if folder.is_dir() else "does not exist"
        raise OutputError(f"{path}: the folder {folder} {state} (create it or choose another)")


def _skipped(request: Request) -> list[Path]:
    """Return the outputs that tell by their tags what they were made of."""
    side = request.side_outputs()
    return [request.out, *(side[name] for name in ("confidence",) if name in side)]


def check_apart(request: Request, identity: SceneIdentity) -> None:
    """Refuse to write over one of the files that the scene is made of.

    Raises
    ------
    OutputError
        When an output is one, such as a VRT's source.
    """
    for path in (request.out, *request.side_outputs().values()):
        if os.path.realpath(path) in identity.paths:
            raise OutputError(f"{path}: the scene is made of this file (choose another name)")


def check_news(plan: Plan) -> None:
    """Stop where the map is there already, of the same scene, model and options, if that was asked.

    As with make, a map that is older than a file of its scene does not count.

    Raises
    ------
    NothingToDoError
        When there is nothing to do.
    """
    out = plan.request.out
    if not (plan.request.skip_existing and out.exists()):
        return
    changed = [*_changes(plan, out, plan.tags)]
    if plan.job.confidence is not None:
        beside = confidence_spec(plan, bands=plan.likely_bands).tags
        changed += _changes(plan, confidence_path(plan), beside)
    if not changed:
        raise NothingToDoError(f"{out}: is there already, of this scene, model and options")
    if not plan.request.overwrite:
        path, what = changed[0]
        raise OutputError(f"{path}: {what} (choose another name, or add --overwrite)")


def _changes(plan: Plan, path: Path, tags: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield in what an output is not the one that would be made."""
    if not path.exists():
        yield path, f"is missing, while {plan.request.out} exists"
        return
    found = read_tags(path)
    told = {name for name in found if name.startswith("GEOP2P_")} - FILE_TAGS
    for name in [*tags, *sorted(told - tags.keys())]:
        if found.get(name) != tags.get(name):
            yield path, f"exists, of another {name}"
    if path.stat().st_mtime_ns < plan.identity.newest_ns:
        yield path, "exists, and is older than its scene"


def check_space(plan: Plan, store: PartStore) -> None:
    """Compare what the run will need with what is free on the disk of the output.

    Raises
    ------
    DiskFullError
        When it is too little.
    """
    free = free_bytes(plan.request.out.parent)
    if not plan.request.space_check or free is None:
        return
    needed = needed_bytes(plan) - store.used_bytes()
    if needed > free:
        raise disk_full(
            plan.request.out, "too little room (or give --no-space-check)", needed=needed
        )


def check_memory(plan: Plan) -> None:
    """Compare what one strip takes, at its largest, with the memory that is free.

    Raises
    ------
    OutOfMemoryError
        When it is too little: nothing that geop2p can do makes a row of tiles narrower.
    """
    needed = strip_bytes(plan)
    available = psutil.virtual_memory().available
    if needed > SHARE_OF_MEMORY * available:
        raise OutOfMemoryError(
            f"{plan.request.scene}: a strip of {plan.spec.width} columns takes about "
            f"{needed // 2**20} MiB, {available // 2**20} MiB are free (give --strip-rows 1, or "
            "cut the scene into narrower ones)"
        )


def needed_bytes(plan: Plan) -> int:
    """Return about how much a run puts on the disk at most: all parts, then the map twice."""
    bands, grid = plan.likely_bands, plan.job.grid
    parts = 0
    for strip in plan.strips:
        shared = grid.head(strip) + grid.foot(strip)
        start, stop = grid.painted_rows(strip)
        parts += part_bytes(
            bands=bands,
            rows=stop - start - shared,
            shared_rows=shared,
            width=grid.width,
            beside=part_planes(plan.job.confidence, bands),
            itemsize=np.dtype(plan.job.values.dtype).itemsize,
        )
    if plan.job.confidence is not None:  # it stays, while the map is written
        parts += writing_bytes(confidence_spec(plan, bands=bands))
    return parts + writing_bytes(map_spec(plan, bands=bands, is_masked=plan.spec.has_mask))


def check_unchanged(plan: Plan) -> None:
    """Compare the scene's files with what they were when the run began.

    Raises
    ------
    SceneError
        When one was changed, replaced or removed in between.
    """
    change = first_change(plan.identity, identity_of(plan.job.source))
    if change is not None:
        raise SceneError(
            f"{plan.request.scene}: was changed while it was read: {change} "
            "(run the command again when nothing writes to it)"
        )
