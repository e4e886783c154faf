"""What a translation is asked for: the options, their defaults, and what is no choice at all."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from geop2p.blend import BLEND_NAMES
from geop2p.engines.choice import ENGINES, PRECISIONS
from geop2p.engines.reference import TileFunction
from geop2p.errors import OptionError
from geop2p.legend import side_car
from geop2p.model import DEFAULT_MODEL
from geop2p.palette import Palette
from geop2p.progress import OnProgress, ignore_progress
from geop2p.raster.mapformat import FORMATS
from geop2p.raster.scene import MASK_RULES, MAX_PIXELS, READ_ERRORS, SceneSource

SIDE_OUTPUTS = {
    "preview": (".png",),
    "confidence": (".tif", ".tiff"),
    "classes": (".tif", ".tiff"),
    "vectors": (".gpkg",),
}
"""Options that name a file to be made beside the map, and the suffixes that it may have."""
SIMPLIFY_PIXELS = 1.5
"""Default tolerance of outlines: steps of single pixels go, corners of buildings stay."""

GSDS = ("scene", "model")
"""Whose ground sample distance."""


class TranslateOptions(TypedDict, total=False):
    """Options of `translate`; the defaults are those of `geop2p translate`.

    Parameters
    ----------
    model : str or path
        A bundled model's name or a model file. Default: the bundled ``streets``.
    generator : torch.nn.Module or callable
        Used instead of a model: (N, C, tile, tile) float32 in [-1, 1] to (N, K, tile, tile) in
        [-1, 1]. The map then has the scene's type, and the stretch is undone on the way out.
    tile : int, pixels
        Side of the tile for ``generator``; a model's card says its own. Default 256.
    overlap : int, pixels, 0 to half a tile
        What neighbouring tiles share. Default 64; with ``exact`` it follows from the generator.
    blend : str
        ``linear``, ``cosine`` (default), ``cut``, or ``exact``: only tiles' centres are used, for
        models with a bounded field, and for a ``generator`` with an attribute ``field_radius``,
        in pixels.
    tta : bool
        Draw each tile and its three mirror images, and take the mean. Default False.
    bidx : sequence of int
        Bands of the scene, from 1, in the order of the model's.
    stretch : str or sequence of str
        ``card``, ``auto``, ``MIN,MAX`` (one, or one a band) or ``LOW-HIGH%``.
    src_nodata : float or "none"
        In place of the scene's own nodata value.
    dst_nodata : float
        Value of invalid pixels in the map, in place of a mask band.
    mask_rule : str
        A pixel is valid when ``any`` (default) or ``all`` bands are.
    gsd : str
        ``scene`` (default): the generator sees the scene's own pixels. ``model``: it sees the scene
        resampled, while it is read, to the ground sample distance in the model's card.
    scene_gsd : float, metres
        Ground sample distance of the scene, in place of what its georeference says.
    out_gsd : str
        With ``gsd="model"``: the map on the grid of the ``scene`` (default), or at the distance of
        the ``model``, with corners where the scene has them.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    engine : str
        ``auto``, ``torch`` (the reference), ``packed`` (weights laid out once for the CPU).
    precision : str
        ``auto``, ``fp32``, ``bf16``, ``int8`` (a CPU, and a model that was quantised).
    batch_size, threads : int
        Tiles a batch; torch's threads.
    strip_rows : int, tile rows
        Height of the strips that are worked on at a time.
    workers : int
        Worker processes; 0 (default): threads of this process.
    scheduler : str
        Address of a running Dask scheduler.
    format : str
        ``COG`` (default for .tif), ``GTiff``, ``PNG`` or ``JPEG``.
    creation_options : dict
        GDAL creation options.
    overwrite : bool
        Replace an existing map. Default False.
    skip_existing : bool
        Raise `NothingToDoError` when the map is there already, of the same command; a PNG or JPEG,
        which does not say what it was made of, is refused. Default False.
    fresh : bool
        Use nothing of what an interrupted run had finished. Default False.
    space_check : bool
        Refuse to start where the disk has less room than the run needs. Default True.
    max_pixels : int, pixels
        Largest scene, height x width, that is opened. Default `MAX_PIXELS`.
    allow_network : bool
        Let the scene be a URL or one of GDAL's /vsi... names. Default False.
    on_read_error : str
        ``fail`` (default), or ``nodata``: blocks that cannot be decoded are masked and counted.
    worker_timeout : float, seconds
        A strip that takes longer is given up on that worker and done elsewhere. Default: by tiles.
    tls_ca, tls_cert, tls_key : path
        Certificates for a ``tls://`` scheduler.
    preview : path
        Also write a PNG of the map beside its scene.
    confidence : path
        Also write a GeoTIFF of how sure the map is: how far overlapping tiles disagree.
    samples : int, at least 2
        Draw each tile so many times more, with dropout on, and put the spread into ``confidence``.
    sample_seed : int, at least 0
        Of what is dropped; with ``samples`` alone. Default 0.
    palette : str, path or Palette
        Put each pixel of the map into the nearest colour of this palette: ``card`` (the model's), a
        shipped name, or a JSON file. ``classes`` and ``vectors`` go by it too. Default: the map is
        left as it is, these go by the card's.
    classes : path
        Also write a GeoTIFF of class indexes with a colour table; 255 is no data.
    vectors : path
        Also write a GeoPackage with the polygons of the classes.
    min_area : float, square metres; square pixels where the map has no CRS
        Regions and holes that are smaller go to their largest neighbour before ``vectors`` are
        traced. Default: 16 pixels.
    simplify : float, pixels
        A vertex of ``vectors`` goes while the triangle that it spans with its neighbours is smaller
        than the square of this; 0 keeps the pixels' edges. Default 1.5.
    on_progress : callable
        Gets `geop2p.progress.Progress`.
    """

    model: str | os.PathLike[str]
    generator: TileFunction
    tile: int
    overlap: int | None
    blend: str
    tta: bool
    bidx: Sequence[int] | None
    stretch: str | Sequence[str] | None
    src_nodata: float | str | None
    dst_nodata: float | None
    mask_rule: str
    gsd: str
    scene_gsd: float | None
    out_gsd: str
    device: str
    engine: str
    precision: str
    batch_size: int | None
    threads: int | None
    strip_rows: int | None
    workers: int
    scheduler: str | None
    format: str | None
    creation_options: Mapping[str, str]
    overwrite: bool
    skip_existing: bool
    fresh: bool
    space_check: bool
    max_pixels: int
    allow_network: bool
    on_read_error: str
    worker_timeout: float | None
    tls_ca: str | os.PathLike[str] | None
    tls_cert: str | os.PathLike[str] | None
    tls_key: str | os.PathLike[str] | None
    preview: str | os.PathLike[str] | None
    confidence: str | os.PathLike[str] | None
    samples: int | None
    sample_seed: int | None
    palette: str | os.PathLike[str] | Palette | None
    classes: str | os.PathLike[str] | None
    vectors: str | os.PathLike[str] | None
    min_area: float | None
    simplify: float
    on_progress: OnProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked for; see `TranslateOptions` for each entry."""

    scene: str
    out: Path
    model: str | os.PathLike[str] = DEFAULT_MODEL
    generator: TileFunction | None = None
    tile: int = 256
    overlap: int | None = None
    blend: str = "cosine"
    tta: bool = False
    bidx: Sequence[int] | None = None
    stretch: str | Sequence[str] | None = None
    src_nodata: float | str | None = None
    dst_nodata: float | None = None
    mask_rule: str = "any"
    gsd: str = "scene"
    scene_gsd: float | None = None
    out_gsd: str = "scene"
    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    strip_rows: int | None = None
    workers: int = 0
    scheduler: str | None = None
    format: str | None = None
    creation_options: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False
    skip_existing: bool = False
    fresh: bool = False
    space_check: bool = True
    max_pixels: int = MAX_PIXELS
    allow_network: bool = False
    on_read_error: str = "fail"
    worker_timeout: float | None = None
    tls_ca: str | os.PathLike[str] | None = None
    tls_cert: str | os.PathLike[str] | None = None
    tls_key: str | os.PathLike[str] | None = None
    preview: str | os.PathLike[str] | None = None
    confidence: str | os.PathLike[str] | None = None
    samples: int | None = None
    sample_seed: int | None = None
    palette: str | os.PathLike[str] | Palette | None = None
    classes: str | os.PathLike[str] | None = None
    vectors: str | os.PathLike[str] | None = None
    min_area: float | None = None
    simplify: float = SIMPLIFY_PIXELS
    on_progress: OnProgress = ignore_progress

    def __post_init__(self) -> None:
        """Refuse words that are no choice.

        Raises
        ------
        OptionError
            For an unknown blend, engine, precision, mask rule or format, or a number that is
            below its least.
        """
        _check_choice("blend", self.blend, BLEND_NAMES)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("precision", self.precision, PRECISIONS)
        _check_choice("mask rule", self.mask_rule, MASK_RULES)
        _check_choice("on read error", self.on_read_error, READ_ERRORS)
        self._check_gsd()
        if self.format is not None:
            _check_choice("format", self.format, tuple(FORMATS))
        for name in ("threads", "strip_rows", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} {value} (expected at least 1)")
        self._check_samples()
        self._check_outlines()
        if self.workers and self.scheduler is not None:
            raise OptionError("workers and a scheduler (give one: processes here, or a cluster)")
        if self.scheduler is None and (self.tls_ca or self.tls_cert or self.tls_key):
            raise OptionError("certificates without a scheduler (give --scheduler tls://...)")
        if self.worker_timeout is not None and not self.worker_timeout > 0:
            raise OptionError(f"worker timeout {self.worker_timeout} (expected seconds above 0)")

    def _check_samples(self) -> None:
        if self.confidence is not None and (self.gsd, self.out_gsd) == ("model", "scene"):
            raise OptionError(
                "--confidence with --gsd model: it is measured on the model's grid (give "
                "--out-gsd model, too)"
            )
        if self.samples is None:
            if self.sample_seed is not None:
                raise OptionError("--sample-seed without samples to draw (give --samples N)")
            return
        if self.samples < 2:
            raise OptionError(f"samples {self.samples} (expected at least 2)")
        if self.sample_seed is not None and self.sample_seed < 0:
            raise OptionError(f"sample seed {self.sample_seed} (expected at least 0)")
        if self.confidence is None:
            raise OptionError("--samples without a raster for them (give --confidence FILE.tif)")

    def _check_outlines(self) -> None:
        """Refuse areas and tolerances that are none, or that nothing is made with."""
        if self.min_area is not None and not 0 <= self.min_area < math.inf:
            raise OptionError(f"min area {self.min_area} (expected square metres, at least 0)")
        if not 0 <= self.simplify < math.inf:
            raise OptionError(f"simplify {self.simplify} (expected pixels, at least 0)")
        is_default = self.min_area is None and self.simplify == SIMPLIFY_PIXELS
        if self.vectors is None and not is_default:
            raise OptionError(
                "--min-area and --simplify are for polygons (give --vectors FILE.gpkg)"
            )

    def side_outputs(self) -> dict[str, Path]:
        """Return the files to be made beside the map, by option."""
        return {
            name: Path(value) for name in SIDE_OUTPUTS if (value := getattr(self, name)) is not None
        }

    def with_files_named(self, stem: str) -> "Request":
        """Return it with a file of that name in each folder that an option names."""
        files: dict[str, Any] = {
            name: folder / f"{stem}{SIDE_OUTPUTS[name][0]}"
            for name, folder in self.side_outputs().items()
        }
        return replace(self, **files)

    def side_cars(self) -> tuple[Path, ...]:
        """Return the files that come with those beside the map."""
        return () if self.classes is None else (side_car(Path(self.classes)),)

    def _check_gsd(self) -> None:
        _check_choice("gsd", self.gsd, GSDS)
        _check_choice("out gsd", self.out_gsd, GSDS)
        if self.scene_gsd is not None and not 0 < self.scene_gsd < math.inf:
            raise OptionError(f"scene gsd {self.scene_gsd} (expected metres above 0)")
        if self.out_gsd == "model" and self.gsd != "model":
            raise OptionError(
                "--out-gsd model without --gsd model (give both: the map keeps the size at which "
                "the generator saw the scene)"
            )

    def source(self, bands: tuple[int, ...] | None, *, is_expanded: bool = False) -> SceneSource:
        """Return how the scene is to be read: these bands; None: those of ``bidx``, else all.

        All bands are the picture that the file means: palettes and the like are expanded.
        """
        if bands is None:
            bands, is_expanded = (tuple(self.bidx), False) if self.bidx else (None, True)
        value = self.src_nodata
        nodata = float(value) if isinstance(value, int) else value
        return SceneSource(
            path=self.scene,
            bands=bands,
            is_expanded=is_expanded,
            src_nodata=nodata,
            mask_rule=self.mask_rule,
            max_pixels=self.max_pixels,
            allow_network=self.allow_network,
            on_read_error=self.on_read_error,
        )


def _check_choice(what: str, found: str, choices: Sequence[str]) -> None:
    if found not in choices:
        raise OptionError(f"{what} {found!r} (choose from {', '.join(choices)})")
