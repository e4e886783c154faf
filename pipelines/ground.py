"""How large a scene's pixels are on the ground, and the size at which the generator sees it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from geop2p.card import MOST_GSD_FACTOR, ModelCard
from geop2p.errors import OptionError, SceneError
from geop2p.grid import TileGrid
from geop2p.pipelines.request import Request
from geop2p.raster.gsd import Gsd, gsd_of
from geop2p.raster.scene import MAX_PIXELS, SceneSpec

logger = logging.getLogger(__name__)

NEAR = 0.01
"""Relative difference below which a scene is not brought to the model's: it would only be blurred.
A projection's scale makes as much, e.g. 0.9996 in the middle of a UTM zone."""

RESAMPLED_TAG = "GEOP2P_RESAMPLED"
"""Tag: height and width at which the generator saw the scene, where these are not its own."""
OUT_GSD_TAG = "GEOP2P_OUT_GSD"
"""Tag: the map has that size, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The two ground sample distances, and what was made of them.

    Parameters
    ----------
    own : SceneSpec
        The scene's header, before it is brought to any other size.
    scene_m : float or None, metres
        Of the scene; None where it is not known.
    model_m : float or None, metres
        Of the model's training scenes, by its card.
    size : tuple of int or None, pixels
        (height, width) that the scene is brought to for the generator; None: its own.
    is_model_out : bool
        The map keeps that size.
    """

    own: SceneSpec
    scene_m: float | None = None
    model_m: float | None = None
    size: tuple[int, int] | None = None
    is_model_out: bool = False


def choose_ground(request: Request, spec: SceneSpec, card: ModelCard | None) -> Ground:
    """Return both ground sample distances, and the size at which the generator sees the scene.

    Raises
    ------
    OptionError
        When the model's distance is asked for and it has none, or the scene would become larger
        than what is opened.
    SceneError
        When it is asked for and nothing tells the scene's, or a map of that size would lie nowhere.
    """
    gsd = gsd_of(spec) if request.scene_gsd is None else Gsd(request.scene_gsd, request.scene_gsd)
    model_m = None if card is None else card.gsd_m
    size = None if request.gsd == "scene" else _size(request, spec, gsd, card=card)
    is_model_out = size is not None and request.out_gsd == "model"
    if is_model_out and (spec.gcps[0] or spec.rpcs):
        raise SceneError(
            f"{spec.path}: is located by control points or rational polynomials, which count its "
            "own pixels (leave --out-gsd away, or warp the scene first)"
        )
    return Ground(
        own=spec,
        scene_m=None if gsd is None else gsd.mean_m,
        model_m=model_m,
        size=size,
        is_model_out=is_model_out,
    )


def warn_of_gsd(ground: Ground, card: ModelCard | None) -> None:
    """Say so where the generator sees other pixels than it was trained on."""
    scene_m, model_m = ground.scene_m, ground.model_m
    if card is None or scene_m is None or model_m is None or ground.size is not None:
        return
    factor = max(scene_m, model_m) / min(scene_m, model_m)
    if factor > MOST_GSD_FACTOR:
        logger.warning(
            "%s: a pixel is %.3g m on the ground, the model %s was trained at %.3g m: %.3gx %s "
            "(resample on the fly with --gsd model)",
            ground.own.path,
            scene_m,
            card.name,
            model_m,
            factor,
            "finer" if scene_m < model_m else "coarser",
        )


def warn_of_size(ground: Ground, grid: TileGrid, card: ModelCard | None) -> None:
    """Say so where resampling left less of the scene than one tile shows."""
    if card is None or ground.size is None or max(ground.size) >= grid.size:
        return
    height, width = ground.size
    logger.warning(
        "%s: at the %.3g m of the model %s it is %d x %d pixels, less than one tile of %d x %d: "
        "the map will show little (is the scene's ground sample distance, %.3g m, right? "
        "--scene-gsd METRES says another)",
        ground.own.path,
        ground.model_m,
        card.name,
        width,
        height,
        grid.size,
        grid.size,
        ground.scene_m,
    )


def gsd_tags(ground: Ground) -> dict[str, str]:
    """Return the provenance of a map whose scene was resampled; nothing for another."""
    if ground.size is None:
        return {}
    height, width = ground.size
    tags = {RESAMPLED_TAG: f"{height}x{width}", "GEOP2P_GSD": f"{ground.model_m:g} m"}
    return tags | ({OUT_GSD_TAG: "model"} if ground.is_model_out else {})


def size_in(tags: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the (height, width) to which a map's tags say that the scene has to be brought for it.

    Raises
    ------
    ValueError
        When the tag is no size.
    """
    if OUT_GSD_TAG not in tags:
        return None
    height, width = map(int, tags.get(RESAMPLED_TAG, "").split("x"))
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"{RESAMPLED_TAG} {tags[RESAMPLED_TAG]}")
    return height, width


def _size(
    request: Request, spec: SceneSpec, gsd: Gsd | None, *, card: ModelCard | None
) -> tuple[int, int] | None:
    """Return the size at which pixels are the model's, None where they are already."""
    if card is None:
        raise OptionError(
            "gsd model and a bare generator, which has no card that says its ground sample "
            "distance (leave gsd away)"
        )
    if card.gsd_m is None:
        raise OptionError(
            f"--gsd model: the card of {card.name} has no gsd_m, the ground sample distance that "
            "it was trained at (leave --gsd away)"
        )
    if gsd is None:
        raise SceneError(
            f"{spec.path}: nothing says how many metres a pixel is on the ground: --gsd model "
            "needs a CRS and a transform (or say it with --scene-gsd METRES)"
        )
    factors = gsd.row_m / card.gsd_m, gsd.col_m / card.gsd_m
    if all(abs(factor - 1) <= NEAR for factor in factors):
        return None
    height, width = (
        max(1, round(length * factor))
        for length, factor in zip((spec.height, spec.width), factors, strict=True)
    )
    if height * width > request.max_pixels:
        raise OptionError(
            f"{spec.path}: {gsd.mean_m:.3g} m brought to the {card.gsd_m:g} m of {card.name} is "
            f"{width} x {height} pixels, more than {request.max_pixels} "
            f"(--max-pixels {height * width} allows it)"
        )
    return (height, width) if (height, width) != (spec.height, spec.width) else None
