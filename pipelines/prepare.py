"""Prepare: scenes and the maps of the same ground become training pairs, split by area.

Stages: plan (where patches lie, and on which side of the split), cut (rows of patches, read once
and in order), manifest. Memory holds one row of patches of one scene and of its target.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError, SceneError
from geop2p.palette import Palette
from geop2p.patches import STRADDLING, Patch, variety
from geop2p.pipelines.areas import PatchLattice, place_patches
from geop2p.pipelines.pair_folder import LAYOUTS, Pair, PairFolder, building
from geop2p.progress import OnProgress, Progress, ignore_progress
from geop2p.raster.scene import OrderedRows, SceneSpec, open_scene
from geop2p.style import Style, find_palette, read_style
from geop2p.targets import open_target
from geop2p.vector.drawing import is_vector

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


class PrepareOptions(TypedDict, total=False):
    """What `prepare` can be told; see `PrepareSettings` for meanings and defaults."""

    palette: PathLike | Palette | None
    style: PathLike | Style | None
    size: int
    stride: int | None
    layout: str
    quality: int | None
    max_nodata: float
    min_variety: float
    val_fraction: float
    val: Sequence[PathLike]
    bands: tuple[int, ...] | None
    overwrite: bool
    on_progress: OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """How pairs are cut.

    Parameters
    ----------
    palette : path, shipped name, Palette or None
        Draws targets that hold class indexes; None takes targets as pictures.
    style : path, shipped name, Style or None
        Draws targets that hold vectors.
    size : int, pixels
        Side of a patch; 30 more than the trainer's crop of 256 leave room for jitter.
    stride : int or None, pixels
        From one patch to the next; None is ``size``. Less makes patches overlap.
    layout : str
        ``side-by-side``: ``train/`` and ``val/`` with scene left and map right in one picture.
        ``folders``: ``trainA/`` and ``valA/`` with scenes, ``trainB/`` and ``valB/`` with maps.
    quality : int or None
        JPEG quality, 1 to 100, of side-by-side pictures or of the scene folders; None writes PNG.
    max_nodata : float
        The largest share of a patch's pixels that may be invalid in the scene or the target.
    min_variety : float
        The smallest share of pixels that must differ from the most common colour, in the scene and
        in the map.
    val_fraction : float
        Share of each area's patches that validate, cut off as one block; not used with ``val``.
    val : sequence of paths
        Scenes that validate, whole; all others train.
    bands : tuple of int or None
        Bands of the scenes, counted from 1; None is every band but alpha.
    overwrite : bool
        Replace an output folder that an earlier run made.
    on_progress : callable
        Told after every row of patches.
    """

    palette: PathLike | Palette | None = None
    style: PathLike | Style | None = None
    size: int = 286
    stride: int | None = None
    layout: str = LAYOUTS[0]
    quality: int | None = None
    max_nodata: float = 0.0
    min_variety: float = 0.01
    val_fraction: float = 0.1
    val: Sequence[PathLike] = ()
    bands: tuple[int, ...] | None = None
    overwrite: bool = False
    on_progress: OnProgress = field(default=ignore_progress, repr=False)

    def __post_init__(self) -> None:
        """Refuse values that make no sense.

        Raises
        ------
        OptionError
            Naming the first such value.
        """
        checks = {
            f"layout {self.layout!r} (choose {' or '.join(LAYOUTS)})": self.layout in LAYOUTS,
            f"patch size {self.size} (at least 16 pixels)": self.size >= 16,
            f"stride {self.stride} (at least 1 pixel)": self.stride is None or self.stride >= 1,
            f"quality {self.quality} (1 to 100)": self.quality is None or 1 <= self.quality <= 100,
            f"max nodata {self.max_nodata} (0 <= share < 1)": 0 <= self.max_nodata < 1,
            f"min variety {self.min_variety} (0 <= share < 1)": 0 <= self.min_variety < 1,
            f"val fraction {self.val_fraction} (0 <= share < 1)": 0 <= self.val_fraction < 1,
        }
        for found, is_right in checks.items():
            if not is_right:
                raise OptionError(found)

    def read_palette(self) -> Palette | None:
        """Return the palette, read where it is a name or a file; raises `OptionError`."""
        palette = self.palette
        if palette is None or isinstance(palette, Palette):
            return palette
        return find_palette(os.fspath(palette))

    def read_style(self) -> Style | None:
        """Return the style, read where it is a name or a file; raises `OptionError`."""
        style = self.style
        return style if style is None or isinstance(style, Style) else read_style(os.fspath(style))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """What `prepare` made.

    Parameters
    ----------
    out : Path
        The folder of pairs, with its ``manifest.csv`` and, where one drew them, ``palette.json``.
    train, val : int
        Pairs on each side of the split.
    left_out : dict of str to int
        Patches that are not, by reason: ``straddling`` the split, ``nodata``, ``variety``.
    scenes : int
        Scenes that were cut.
    seconds : float
        Wall time.
    """

    out: Path
    train: int
    val: int
    left_out: dict[str, int]
    scenes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """A scene, its number, all of its patches in reading order, its target and how to draw that."""

    number: int
    spec: SceneSpec
    target: str
    patches: tuple[Patch, ...]
    palette: Palette | None
    style: Style | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBand:
    """The pixels of a row of patches, over the whole width of the scene: (C, h, W) and (h, W)."""

    spec: SceneSpec
    scene: npt.NDArray[Any]
    drawn: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]

    def cut(self, patch: Patch) -> Pair:
        """Return the pair at the patch's columns; where either side is invalid, both are 0."""
        cols = slice(*patch.cols)
        valid = self.valid[:, cols]
        scene = np.where(valid, self.scene[:, :, cols], 0).astype(self.scene.dtype)
        drawn = np.where(valid, self.drawn[:, :, cols], 0).astype(self.drawn.dtype)
        return Pair(
            spec=self.spec,
            patch=patch,
            scene=scene,
            drawn=drawn,
            nodata=1.0 - float(valid.mean()),
            variety=min(variety(scene), variety(drawn)),
        )


def prepare(
    scenes: Sequence[PathLike],
    targets: Sequence[PathLike],
    out: PathLike,
    **options: Unpack[PrepareOptions],
) -> PrepareReport:
    """Cut training pairs from scenes and the maps of the same ground.

    Targets belong to scenes by their order. The folder ``out`` appears complete or not at all.

    Raises
    ------
    OptionError
        When options contradict each other or the data.
    SceneError
        When a raster cannot be used, or no patch is fit to train with.
    OutputError
        When ``out`` exists and is not empty, or cannot be written.
    """
    started = time.monotonic()
    settings = PrepareSettings(**options)
    plans = plan(scenes, targets, settings)
    target = Path(out)
    with building(target, overwrite=settings.overwrite) as path:
        folder = PairFolder(path, layout=settings.layout, quality=settings.quality)
        left_out = _cut_all(plans, folder, settings)
        _check_counts(folder, left_out, settings)
        folder.write_manifest()
        palette = _palette_of_all(plans)
        if palette is not None:
            folder.write_palette(palette)
    return PrepareReport(
        out=target,
        train=folder.count("train"),
        val=folder.count("val"),
        left_out=left_out,
        scenes=len(plans),
        seconds=time.monotonic() - started,
    )


def plan(
    scenes: Sequence[PathLike], targets: Sequence[PathLike], settings: PrepareSettings
) -> list[ScenePlan]:
    """Say where the patches of each scene lie and on which side of the split."""
    matched = _match_targets(scenes, targets)
    specs = [_read_spec(scene, settings.bands) for scene in scenes]
    lattice = PatchLattice(
        size=settings.size,
        stride=settings.stride or settings.size,
        val_fraction=settings.val_fraction,
        val=[os.fspath(path) for path in settings.val],
    )
    placed = place_patches(specs, lattice)
    palette, style = settings.read_palette(), settings.read_style()
    return [
        ScenePlan(
            number=number,
            spec=spec,
            target=target,
            patches=tuple(patches),
            palette=palette,
            style=style,
        )
        for number, (spec, target, patches) in enumerate(zip(specs, matched, placed, strict=True))
    ]


def _match_targets(scenes: Sequence[PathLike], targets: Sequence[PathLike]) -> list[str]:
    if not scenes:
        raise OptionError("no scene was given")
    if len(targets) == 1 and is_vector(targets[0]):
        return [os.fspath(targets[0])] * len(scenes)
    if len(targets) != len(scenes):
        raise OptionError(
            f"scenes: {len(scenes)}, targets: {len(targets)} (give one target a scene, in their "
            "order, or one vector file for all)"
        )
    return [os.fspath(target) for target in targets]


def _read_spec(scene: PathLike, bands: tuple[int, ...] | None) -> SceneSpec:
    with open_scene(scene, bands=bands) as opened:
        return opened.spec


def _cut_all(
    plans: Sequence[ScenePlan], folder: PairFolder, settings: PrepareSettings
) -> dict[str, int]:
    """Write every fit pair into ``folder``; return how many were left out, by reason."""
    left_out: Counter[str] = Counter(straddling=0, nodata=0, variety=0)
    total, done = sum(_row_count(scene_plan) for scene_plan in plans), 0
    for scene_plan in plans:
        for pairs in _rows_of_pairs(scene_plan, settings):
            for pair in pairs:
                reason = _unfitness(pair, settings)
                if pair is None or reason:
                    left_out[reason] += 1
                else:
                    folder.write(pair, number=scene_plan.number, target=scene_plan.target)
            done += 1
            settings.on_progress(
                Progress(stage="prepare", done=done, total=total, unit="rows of patches")
            )
    return dict(left_out)


def _row_count(scene_plan: ScenePlan) -> int:
    return len({patch.row for patch in scene_plan.patches})


def _rows_of_pairs(scene_plan: ScenePlan, settings: PrepareSettings) -> Iterator[list[Pair | None]]:
    """Yield each row of patches with its pixels; None for a patch that straddles the split."""
    spec = scene_plan.spec
    with (
        open_scene(spec.path, bands=settings.bands) as scene,
        open_target(
            scene_plan.target, onto=spec, palette=scene_plan.palette, style=scene_plan.style
        ) as target,
    ):
        scene_rows = OrderedRows(scene)
        for row, patches in groupby(scene_plan.patches, key=lambda patch: patch.row):
            rows = (row, row + settings.size)
            pixels, valid = scene_rows.read(rows=rows)
            drawn, is_drawn = target.read(rows=rows)
            band = RowBand(spec=spec, scene=pixels, drawn=drawn, valid=valid & is_drawn)
            yield [None if p.side == STRADDLING else band.cut(p) for p in patches]


def _unfitness(pair: Pair | None, settings: PrepareSettings) -> str:
    """Return why a pair is left out; empty for one that is kept."""
    if pair is None:
        return "straddling"
    if pair.nodata > settings.max_nodata:
        return "nodata"
    return "variety" if pair.variety < settings.min_variety else ""


def _palette_of_all(plans: Sequence[ScenePlan]) -> Palette | None:
    """Return the palette that drew every map; None where a style drew some, or nothing did."""
    return None if any(is_vector(plan.target) for plan in plans) else plans[0].palette


def _check_counts(folder: PairFolder, left_out: dict[str, int], settings: PrepareSettings) -> None:
    found = f"left out: {', '.join(f'{count} {reason}' for reason, count in left_out.items())}"
    labels = "" if settings.palette else "draw targets that hold class indexes with --palette, "
    if not folder.count("train") + folder.count("val"):
        raise SceneError(
            f"no patch of {settings.size} pixels is fit; {found} "
            f"({labels}choose a smaller --size or --min-variety, allow --max-nodata, check that "
            "scene and target show the same ground)"
        )
    if not folder.count("train"):
        logger.warning("no patch trains; %s", found)
    if not folder.count("val") and (settings.val or settings.val_fraction):
        logger.warning("no patch validates; %s", found)
