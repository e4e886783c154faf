"""What an evaluation is asked for: the options, their defaults, and what is no choice at all."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geop2p.bootstrap import DRAWS
from geop2p.errors import OptionError, OutputError
from geop2p.model import DEFAULT_MODEL
from geop2p.pairs import DIRECTIONS
from geop2p.palette import Palette
from geop2p.pipelines.request import Request, TranslateOptions
from geop2p.progress import OnProgress, ignore_progress
from geop2p.style import Style, find_palette, read_style
from geop2p.writing import check_folder

PathLike = str | os.PathLike[str]

STATISTICS = ("card", "running", "tile", "training")
SPLITS = ("val", "train", "all")
REFUSED = (
    "generator",
    "tile",
    "preview",
    "confidence",
    "samples",
    "sample_seed",
    "classes",
    "vectors",
    "min_area",
    "simplify",
    "skip_existing",
    "format",
    "creation_options",
    "dst_nodata",
    "out_gsd",
)
"""Options of a translation that an evaluation does not take."""
OPTIONS = {"map_path": "--map", "seams": "--no-seams"}
"""Names that the command has for options of another name."""


class EvaluateOptions(TranslateOptions, total=False):
    """Options of `evaluate`; those of a translation draw the map of a scene.

    Parameters
    ----------
    pairs : path
        Folder of pairs.
    scene, truth : path
        A scene, and its true map: a picture, class indexes or vectors.
    against : str or path
        Another model, compared with the first.
    split : str
        Of the pairs: ``val`` (default), ``train`` or ``all``.
    direction : str
        Of the pairs: ``scene-to-map`` or ``map-to-scene``. Default: what the card says that the
        model was trained for, else ``scene-to-map``.
    load_size : int, pixels
        Side that pairs are resized to, bicubic; 0 (default) keeps their own.
    statistics : str
        Of the norm layers: the card's (``card``), ``running``, ``tile``, or, for pairs,
        ``training``: each tile's own, and dropout.
    palette : path, shipped name or Palette
        Classes, in place of the card's.
    style : path, shipped name or Style
        Draws vectors.
    inception : path
        TorchScript Inception network for FID, KID and Inception Score.
    seams, modes : bool
        Whether seams of a scene's map are measured, and other statistics of the norm layers scored.
        Default True.
    draws, seed : int
        Of the bootstrap. Default 1000 and 0.
    map_path, page : path
        Where the map of the scene and the HTML page are kept.
    """

    pairs: PathLike | None
    scene: PathLike | None
    truth: PathLike | None
    against: PathLike | None
    split: str
    direction: str
    load_size: int
    statistics: str
    palette: PathLike | Palette | None
    style: PathLike | Style | None
    inception: PathLike | None
    seams: bool
    modes: bool
    draws: int
    seed: int
    map_path: PathLike | None
    page: PathLike | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was asked for; see `EvaluateOptions` for each entry.

    ``translation`` are the options that go on to `geop2p.translate`.
    """

    model: PathLike = DEFAULT_MODEL
    pairs: PathLike | None = None
    scene: PathLike | None = None
    truth: PathLike | None = None
    against: PathLike | None = None
    split: str = "val"
    direction: str | None = None
    load_size: int = 0
    statistics: str = "card"
    palette: PathLike | Palette | None = None
    style: PathLike | Style | None = None
    inception: PathLike | None = None
    seams: bool = True
    modes: bool = True
    draws: int = DRAWS
    seed: int = 0
    map_path: Path | None = None
    page: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    on_progress: OnProgress = ignore_progress
    translation: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, before any work is done.

        Raises
        ------
        OptionError
            For words that are no choice, and options of pairs with a scene or the other way round.
        OutputError
            For outputs that exist, or whose folder does not.
        """
        self._check_kind()
        self._check_choices()
        for path in filter(None, (self.map_path, self.page)):
            _check_output(path, overwrite=self.overwrite)

    @classmethod
    def of(cls, options: EvaluateOptions) -> "Evaluation":
        """Sort options into an evaluation's own and those of a translation."""
        given: dict[str, Any] = dict(options)
        refused = [name for name in REFUSED if name in given]
        if refused:
            raise OptionError(f"{refused[0]} (an evaluation does not take it)")
        own = {name: given[name] for name in cls.__dataclass_fields__ if name in given}
        for name in ("map_path", "page"):
            own[name] = None if own.get(name) is None else Path(own[name])
        shared = {name: own[name] for name in ("device",) if name in own}
        rest = {name: value for name, value in given.items() if name not in own}
        return cls(**own, translation=rest | shared)

    @property
    def is_scene(self) -> bool:
        """Whether a scene is evaluated, not pairs."""
        return self.scene is not None

    def request(self, model: PathLike, out: Path, *, precision: str | None = None) -> Request:
        """Return the translation of the scene by a model; ``precision`` goes before that asked."""
        options = dict(self.translation)
        if precision is not None:
            options["precision"] = precision
        return Request(
            scene=os.fspath(self.scene or ""),
            out=out,
            model=model,
            on_progress=self.on_progress,
            **options,
        )

    def read_palette(self) -> Palette | None:
        """Return the palette that was given; raises `OptionError`."""
        if self.palette is None or isinstance(self.palette, Palette):
            return self.palette
        return find_palette(os.fspath(self.palette))

    def read_style(self) -> Style | None:
        """Return the style that was given; raises `OptionError`."""
        if self.style is None or isinstance(self.style, Style):
            return self.style
        return read_style(os.fspath(self.style))

    def _check_kind(self) -> None:
        if (self.pairs is None) == (self.scene is None):
            raise OptionError("give --pairs DIR, or --scene SCENE with --truth FILE")
        if (self.truth is None) != (self.scene is None):
            raise OptionError("--scene and --truth belong together (give both)")
        if self.is_scene:
            alien: dict[str, Any] = {"split": "val", "direction": None, "load_size": 0}
            kind = "pairs, not for a scene"
        else:
            alien = {"map_path": None, "style": None, "seams": True, "translation": {}}
            kind = "a scene, not for pairs"
        shared = {"translation": {"device": self.device}}
        for name, default in alien.items():
            value = getattr(self, name)
            if value not in (default, shared.get(name, default)):
                named = next(iter(value)) if isinstance(value, Mapping) else name
                option = OPTIONS.get(named, f"--{named.replace('_', '-')}")
                raise OptionError(f"{option} is for {kind} (leave it out)")

    def _check_choices(self) -> None:
        modes = STATISTICS[:-1] if self.is_scene else STATISTICS
        for what, found, choices in (
            ("split", self.split, SPLITS),
            ("direction", self.direction or DIRECTIONS[0], DIRECTIONS),
            ("statistics", self.statistics, modes),
        ):
            if found not in choices:
                raise OptionError(f"{what} {found!r} (choose from {', '.join(choices)})")
        for what, number, least in (("draws", self.draws, 1), ("load size", self.load_size, 0)):
            if number < least:
                raise OptionError(f"{what} {number} (expected at least {least})")
        if self.page is not None and self.page.suffix.lower() not in (".html", ".htm"):
            raise OptionError(f"{self.page}: a page is HTML (name it .html)")
        if self.map_path is not None and self.map_path.suffix.lower() not in (".tif", ".tiff"):
            raise OptionError(f"{self.map_path}: the map that is kept is a GeoTIFF (name it .tif)")
        if self.page is not None and self.page == self.map_path:
            raise OptionError(f"{self.page}: is the map as well (choose another name)")


def _check_output(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder (give a file)")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists (choose another name, or --overwrite)")
    check_folder(path)
