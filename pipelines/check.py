"""Verify a finished map: its file, its tags, and how it lies on its scene."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geop2p.errors import SceneError, VerificationError
from geop2p.pipelines.ground import OUT_GSD_TAG, size_in
from geop2p.raster.checking import MapFacts, compare_with_scene, read_whole
from geop2p.raster.identity import identity_of
from geop2p.raster.mapfile import CHECKSUM_TAG, FORMAT_TAG, LOSSY_TAG
from geop2p.raster.mapformat import PICTURE_DRIVERS
from geop2p.raster.recognising import check_map_head
from geop2p.raster.scene import SceneSource
from geop2p.seal import TAG as SEAL_TAG
from geop2p.seal import is_intact

PROVENANCE = (
    "GEOP2P_VERSION",
    "GEOP2P_MODEL",
    "GEOP2P_TILE",
    "GEOP2P_OVERLAP",
    "GEOP2P_BLEND",
    "GEOP2P_BANDS",
    "GEOP2P_STRETCH",
    "GEOP2P_MASK_RULE",
    "GEOP2P_ENGINE",
    "GEOP2P_SCENE_HEADER_SHA256",
    FORMAT_TAG,
    SEAL_TAG,
)
"""Tags that every map in a GeoTIFF has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check found; all is well where there is one.

    Parameters
    ----------
    path : str
        The map.
    height, width, bands : int
        Of the map.
    format : str
        GDAL driver that wrote it.
    checksum : str or None
        SHA-256 of its pixels and mask; None for a lossy codec or a picture, which have none.
    model : str or None
        What drew it, by its tags.
    scene : str or None
        The scene that it was compared with.
    compared : str or None
        What was found to be the scene's: ``grid`` (size and georeference), ``ground`` (the same at
        the model's ground sample distance) or ``size`` (of a picture), and ``and mask`` after it
        where the mask was, too; None without a scene. A JPEG has no mask; one of confidence without
        samples masks more than the scene.
    is_at_model_gsd : bool
        The map has the model's ground sample distance, not its scene's pixel grid.
    """

    path: str
    height: int
    width: int
    bands: int
    format: str
    checksum: str | None
    model: str | None
    scene: str | None
    compared: str | None
    is_at_model_gsd: bool


def check(
    map_path: str | os.PathLike[str], *, scene: str | os.PathLike[str] | None = None
) -> CheckReport:
    """Decode every block of a map and compare all that can be compared.

    Parameters
    ----------
    map_path : path
        A map that `geop2p.translate` wrote.
    scene : path, optional
        The scene that it was made of.

    Raises
    ------
    VerificationError
        When a block does not decode, or checksum, layout, tags, georeference or mask are wrong.
    SceneError
        When map or scene is no file, the map a file of quite another kind, or the scene cannot be
        read.
    """
    path = Path(map_path)
    check_map_head(os.fspath(path))
    facts = read_whole(path)
    if facts.driver not in PICTURE_DRIVERS:
        _check_tags(path, facts)
    compared = None if scene is None else _check_scene(path, facts, os.fspath(scene))
    return CheckReport(
        path=str(path),
        height=facts.height,
        width=facts.width,
        bands=facts.bands,
        format=facts.tags.get(FORMAT_TAG, facts.driver),
        checksum=facts.tags.get(CHECKSUM_TAG),
        model=facts.tags.get("GEOP2P_MODEL"),
        scene=None if scene is None else os.fspath(scene),
        compared=compared,
        is_at_model_gsd=OUT_GSD_TAG in facts.tags,
    )


def _check_tags(path: Path, facts: MapFacts) -> None:
    """Compare the tags with the file, and see that none is missing."""
    missing = [name for name in PROVENANCE if not facts.tags.get(name)]
    if missing:
        raise VerificationError(
            f"{path}: has no tag {missing[0]} (not a map of geop2p, or saved by another program)"
        )
    if LOSSY_TAG not in facts.tags and facts.tags.get(CHECKSUM_TAG) != facts.checksum:
        raise VerificationError(
            f"{path}: pixels and mask have the checksum {facts.checksum}, its tag says "
            f"{facts.tags.get(CHECKSUM_TAG)} (it was changed after it was written)"
        )
    if facts.tags[FORMAT_TAG] == "COG" and facts.cog_errors:
        raise VerificationError(
            f"{path}: is no valid Cloud-Optimised GeoTIFF: {facts.cog_errors[0]} "
            "(it was changed after it was written)"
        )
    if not is_intact(path):
        raise VerificationError(
            f"{path}: its bytes are not those of its checksum {SEAL_TAG} "
            "(it was changed after it was written)"
        )


def _check_scene(path: Path, facts: MapFacts, scene: str) -> str:
    """Compare a map with its scene; return what of it, as `CheckReport` names it."""
    source = _source_of(scene, facts.tags)
    header = facts.tags.get("GEOP2P_SCENE_HEADER_SHA256")
    if header is not None and header != identity_of(source).header_sha256:
        raise VerificationError(f"{path}: was made of another file than {scene} (by its header)")
    # where no tiles overlap, disagreement has no value; the spread of samples has one everywhere
    is_whole = facts.tags.get("GEOP2P_PRODUCT") != "confidence" or "GEOP2P_SAMPLES" in facts.tags
    compare_with_scene(path, source, is_whole=is_whole)
    if facts.driver in PICTURE_DRIVERS:
        place = "size"
    else:
        place = "ground" if OUT_GSD_TAG in facts.tags else "grid"
    has_mask = is_whole and facts.driver != "JPEG"
    return f"{place} and mask" if has_mask else place


def _source_of(scene: str, tags: Mapping[str, str]) -> SceneSource:
    """Return the scene, to be read as the tags say that the map's was."""
    nodata = tags.get("GEOP2P_SRC_NODATA")
    try:
        return SceneSource(
            path=scene,
            bands=tuple(int(band) for band in tags.get("GEOP2P_BANDS", "").split(",") if band)
            or None,
            is_expanded="GEOP2P_EXPANDED" in tags,
            src_nodata=nodata if nodata in (None, "none") else float(nodata),
            mask_rule=tags.get("GEOP2P_MASK_RULE", "any"),
            on_read_error=tags.get("GEOP2P_ON_READ_ERROR", "fail"),
            size=size_in(tags),
        )
    except ValueError as exc:
        raise SceneError(f"{scene}: cannot be read as the map's tags say: {exc}") from exc
