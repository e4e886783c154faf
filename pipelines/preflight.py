"""What is checked before work starts, and whether it still holds when the map is to be written."""

import os
from collections.abc import Mapping
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
from geop2p.pipelines.confidence_raster import confidence_spec
from geop2p.pipelines.planning import Plan, map_spec, strip_bytes
from geop2p.pipelines.request import SIDE_OUTPUTS, Request
from geop2p.raster.identity import SceneIdentity, first_change, identity_of
from geop2p.raster.mapfile import PROOF_TAGS, read_tags, writing_bytes
from geop2p.raster.mapformat import PICTURE_DRIVERS, MapFormat, choose_format
from geop2p.writing import check_folder, disk_full, free_bytes

SHARE_OF_MEMORY = 0.8
"""Of what is free, that a strip may take."""
LONGEST_NAME = 255 - len(".." + 16 * "0" + ".parts")
"""Bytes of an output's name: the folder of its parts has a longer one, and file systems a limit."""

TAG_WORDS = {
    "TIFFTAG_SOFTWARE": "version of geop2p",
    "GEOP2P_VERSION": "version of geop2p",
    "GEOP2P_MODEL": "model",
    "GEOP2P_MODEL_SHA256": "model of that name",
    "GEOP2P_TILE": "tile size",
    "GEOP2P_OVERLAP": "overlap of tiles",
    "GEOP2P_BLEND": "blend",
    "GEOP2P_BANDS": "choice of bands",
    "GEOP2P_STRETCH": "stretch",
    "GEOP2P_MASK_RULE": "mask rule",
    "GEOP2P_ENGINE": "engine, precision or version of torch",
    "GEOP2P_SRC_NODATA": "nodata value of the scene",
    "GEOP2P_EXPANDED": "way to read the scene's colours",
    "GEOP2P_ON_READ_ERROR": "way with blocks that cannot be decoded",
    "GEOP2P_TTA": "choice of mirror images (--tta)",
    "GEOP2P_SCENE_HEADER_SHA256": "scene",
    "GEOP2P_GSD": "ground sample distance",
    "GEOP2P_RESAMPLED": "size of the resampled scene",
    "GEOP2P_OUT_GSD": "ground sample distance of the map",
    "GEOP2P_PALETTE": "palette",
    "GEOP2P_PRODUCT": "product",
    "GEOP2P_CONFIDENCE": "choice of measures of confidence",
    "GEOP2P_SAMPLES": "number of samples",
    "GEOP2P_SAMPLE_SEED": "seed of the samples",
    "GEOP2P_MIN_AREA_PIXELS": "least area of polygons",
    "GEOP2P_SIMPLIFY_PIXELS": "tolerance of outlines",
}
"""What a tag is called where an output was made with another value of it."""


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
    _check_output(request.out, request)  # before its suffix: a folder has none
    map_format = choose_format(request.out, driver=request.format, options=request.creation_options)
    outputs = {request.out.absolute(): "the map itself"}
    for option, path in request.side_outputs().items():
        suffixes = SIDE_OUTPUTS[option]
        if path.suffix.lower() not in suffixes:
            raise OptionError(f"{path}: --{option} writes {' or '.join(suffixes)} (name it so)")
        if path.absolute() in outputs:
            raise OutputError(f"{path}: is {outputs[path.absolute()]} (choose another --{option})")
        outputs[path.absolute()] = f"the file of --{option}"
        _check_output(path, request)
    for path in request.side_cars():
        _check_output(path, request)
    return map_format


def _check_output(path: Path, request: Request) -> None:
    excess = len(os.fsencode(path.name)) - LONGEST_NAME
    if excess > 0:
        raise OutputError(f"{path}: the name is {excess} bytes too long (choose another --out)")
    if path.exists() and Path(request.scene).exists() and path.samefile(request.scene):
        raise OutputError(f"{path}: is the scene itself (choose another name)")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder (give a file, or --out-dir for several scenes)")
    if path.exists() and not (request.overwrite or request.skip_existing):
        raise OutputError(f"{path}: exists (choose another name, or --overwrite)")
    check_folder(path)


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
    request, out = plan.request, plan.request.out
    if not request.skip_existing:
        return
    if out.exists():
        if plan.map_format.driver in PICTURE_DRIVERS:
            _check_picture(request)
            return
        changed = _changes(plan)
        if not changed:
            raise NothingToDoError(f"{out}: is there already, of this scene, model and options")
    else:
        beside = request.side_outputs().values()
        changed = [(path, "exists, without the map") for path in beside if path.exists()]
    if changed and not request.overwrite:
        path, what = changed[0]
        raise OutputError(
            f"{path}: {what} (choose another name, or give --overwrite --skip-existing)"
        )


def _check_picture(request: Request) -> None:
    """Refuse to take a picture for the map that would be made: it may be, or may not."""
    if not request.overwrite:
        raise OutputError(
            f"{request.out}: exists, and a PNG or JPEG does not say what it was made of, so it "
            "cannot be told whether it is the same map (choose another name, --overwrite makes it "
            "anew, or write .tif)"
        )


def _changes(plan: Plan) -> list[tuple[Path, str]]:
    """Return in what the outputs are not those that would be made, and which."""
    out = plan.request.out
    changed = _other_tags(out, found=read_tags(out), expected=plan.tags)
    if out.stat().st_mtime_ns < plan.identity.newest_ns:
        changed.append((out, "exists, and is older than its scene"))
    for option, path in plan.request.side_outputs().items():
        if not path.exists():
            changed.append((path, f"is missing, while {out} exists"))
        elif option in ("classes", "vectors"):
            from geop2p.pipelines.classes import expected_and_found  # noqa: PLC0415  shapely

            expected, found = expected_and_found(plan, option)
            changed += _other_tags(path, found=found, expected=expected)
        elif option == "confidence":
            tags = confidence_spec(plan, bands=plan.likely_bands).tags
            changed += _other_tags(path, found=read_tags(path), expected=tags)
    return changed


def _other_tags(
    path: Path, *, found: Mapping[str, str], expected: Mapping[str, str]
) -> list[tuple[Path, str]]:
    """Return the tags that one has and the other has not, or otherwise."""
    if not any(name.startswith("GEOP2P_") for name in found):
        return [(path, "exists, and does not say what it was made of")]
    told = {name for name in found if name.startswith("GEOP2P_")} - set(PROOF_TAGS)
    names = [*expected, *sorted(told - expected.keys())]
    return [
        (path, f"exists, of another {TAG_WORDS.get(name, name)}")
        for name in names
        if found.get(name) != expected.get(name)
    ]


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
    if plan.palette is not None:
        from geop2p.pipelines.classes import staging_bytes  # noqa: PLC0415  shapely

        parts += staging_bytes(plan)
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
