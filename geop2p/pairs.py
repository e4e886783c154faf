"""Data sets of pairs: a scene patch and the map patch of the same ground.

Three layouts are read, told apart by what the folder holds:

- ``pairs.csv`` with the columns scene, map, split (``train`` or ``val``), paths relative to it;
- ``trainA/ trainB/ valA/ valB/``, or ``A/ B/``: scene and map with equal stems;
- ``train/ val/``, or no sub-folders: pictures with the scene on the left, the map on the right.

Where nothing says which pairs validate, the last tenth by name does. Pictures are read with
Pillow, ``.tif`` with `geop2p.raster`, which is imported only then.
"""

import csv
import hashlib
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from geop2p.errors import PairsError, SceneError
from geop2p.manifest import read_manifest, scenes_of
from geop2p.signatures import special_kind

Pixels = npt.NDArray[Any]
"""A picture, (C, H, W), in its native type."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""What Pillow may take a picture for, whatever its name: no format that it runs a program for."""
PICTURE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for damaged pictures, and for those of more pixels than a patch has."""
RASTER_SUFFIXES = (".tif", ".tiff")
DIRECTIONS = ("scene-to-map", "map-to-scene")
VAL_SHARE = 10
"""One pair in so many validates where the data set does not say which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Where a pair is: two files, or one with both side by side (then ``map_path`` is None)."""

    name: str
    scene_path: Path
    map_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSet:
    """The pairs that train and those that validate, each sorted by name.

    Parameters
    ----------
    folder : Path
        What `find_pairs` was given.
    train_scenes, val_scenes : tuple of str
        Files that the pairs were cut from, where a manifest says so.
    note : str
        How the split came about, when the data set does not give it; else empty.
    """

    folder: Path
    train: tuple[Pair, ...]
    val: tuple[Pair, ...] = ()
    train_scenes: tuple[str, ...] = ()
    val_scenes: tuple[str, ...] = ()
    note: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the names and their split: what a resumed training must find again."""
        names = [*(f"train {pair.name}" for pair in self.train)]
        names += [f"val {pair.name}" for pair in self.val]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSpec:
    """What is known of a patch before its pixels are read: bands, size in pixels, numpy type."""

    bands: int
    height: int
    width: int
    dtype: str


def find_pairs(folder: str | Path) -> PairSet:
    """Return the pairs of a data set.

    Raises
    ------
    PairsError
        When the folder is missing, holds none of the layouts, or a scene lacks its map.
    """
    root = Path(folder)
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder (give the folder that holds the pairs)")
    train, val = _find_layout(root)(root)
    if not train:
        raise PairsError(
            f"{root}: no pairs found (expected pairs.csv, trainA/ and trainB/, A/ and B/, train/, "
            "or side-by-side pictures)"
        )
    if not val:
        return _split(root, train)
    origins = read_manifest(root)
    return PairSet(
        folder=root,
        train=train,
        val=val,
        train_scenes=scenes_of(origins, "train"),
        val_scenes=scenes_of(origins, "val"),
    )


def read_pair(pair: Pair) -> tuple[Pixels, Pixels]:
    """Return scene and map: (C, H, W) and (K, H, W), native types, of equal size.

    Raises
    ------
    PairsError
        When a file cannot be read, the two sizes differ, or pixels are missing or not finite.
    """
    scene = read_patch(pair.scene_path)
    if pair.map_path is None:
        half = scene.shape[2] // 2
        return scene[:, :, :half], scene[:, :, half : 2 * half]
    drawn = read_patch(pair.map_path)
    if scene.shape[1:] != drawn.shape[1:]:
        raise PairsError(
            f"{pair.map_path}: {drawn.shape[2]}x{drawn.shape[1]} pixels, its scene has "
            f"{scene.shape[2]}x{scene.shape[1]} (both must show the same ground at the same size)"
        )
    return scene, drawn


def read_patch(path: Path) -> Pixels:
    """Return the pixels of a picture or raster, (C, H, W) in its native type.

    Raises
    ------
    PairsError
        When it cannot be read, or holds masked pixels or values that are not finite.
    """
    if path.suffix.lower() in RASTER_SUFFIXES:
        return _read_raster(path)
    with _opened(path) as picture:
        pixels = np.asarray(picture.convert(_mode(picture)))
    return (
        pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    )  # (H, W, C) -> (C, H, W)


def describe_pair(pair: Pair) -> tuple[PatchSpec, PatchSpec]:
    """Return what is known of scene and map from the files' headers alone.

    Raises
    ------
    PairsError
        When a header cannot be read, or a side-by-side picture has an odd width.
    """
    scene = _describe(pair.scene_path)
    if pair.map_path is not None:
        return scene, _describe(pair.map_path)
    if scene.width % 2:
        raise PairsError(
            f"{pair.scene_path}: a side-by-side picture of odd width {scene.width} "
            "(scene and map must each be half of it)"
        )
    half = PatchSpec(
        bands=scene.bands, height=scene.height, width=scene.width // 2, dtype=scene.dtype
    )
    return half, half


def _find_layout(root: Path) -> Callable[[Path], tuple[tuple[Pair, ...], tuple[Pair, ...]]]:
    if (root / "pairs.csv").is_file():
        return _from_table
    if (root / "trainA").is_dir() or (root / "A").is_dir():
        return _from_two_folders
    return _from_side_by_side


def _from_table(root: Path) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    pairs: dict[str, list[Pair]] = {"train": [], "val": []}
    for row in _rows(root / "pairs.csv"):
        if row["split"] not in pairs:
            raise PairsError(f"{root}/pairs.csv: split {row['split']!r} (choose from train, val)")
        scene, drawn = root / row["scene"], root / row["map"]
        pairs[row["split"]].append(Pair(name=row["scene"], scene_path=scene, map_path=drawn))
    return _by_name(pairs["train"]), _by_name(pairs["val"])


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = {"scene", "map", "split"} - set(table.fieldnames or ())
            if missing:
                raise PairsError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in table:
                yield {name: (row[name] or "").strip() for name in ("scene", "map", "split")}
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        if isinstance(exc, PairsError):
            raise
        raise PairsError(f"{path}: not a readable table: {exc} (expected CSV in UTF-8)") from exc


def _from_two_folders(root: Path) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    if (root / "trainA").is_dir():
        return _join(root / "trainA", root / "trainB"), _join(root / "valA", root / "valB")
    return _join(root / "A", root / "B"), ()


def _join(scenes: Path, maps: Path) -> tuple[Pair, ...]:
    scene_paths, map_paths = _by_stem(scenes), _by_stem(maps)
    alone = sorted(scene_paths.keys() ^ map_paths.keys())
    if alone:
        raise PairsError(
            f"{scenes}: {alone[0]!r} is not both here and in {maps.name}/ "
            "(scene and map need equal names before the suffix)"
        )
    return tuple(
        Pair(name=stem, scene_path=scene_paths[stem], map_path=map_paths[stem])
        for stem in sorted(scene_paths)
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for path in _files(folder, (*PICTURE_SUFFIXES, *RASTER_SUFFIXES)):
        if path.stem in paths:
            raise PairsError(
                f"{path}: {paths[path.stem].name} has the same name before the suffix (keep one)"
            )
        paths[path.stem] = path
    return paths


def _from_side_by_side(root: Path) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    train = root / "train" if (root / "train").is_dir() else root
    val = root / "val" if train != root else None
    return _side_by_side(train), _side_by_side(val) if val is not None else ()


def _side_by_side(folder: Path) -> tuple[Pair, ...]:
    return tuple(Pair(name=path.stem, scene_path=path) for path in _files(folder, PICTURE_SUFFIXES))


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)


def _by_name(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: pair.name))


def _split(folder: Path, pairs: tuple[Pair, ...]) -> PairSet:
    """Let the last tenth by name validate; with fewer than ten pairs, none."""
    count = len(pairs) // VAL_SHARE
    if not count:
        note = f"{len(pairs)} pairs are too few to hold any back"
        return PairSet(folder=folder, train=pairs, note=note)
    note = f"the last {count} of {len(pairs)} pairs by name validate"
    return PairSet(folder=folder, train=pairs[:-count], val=pairs[-count:], note=note)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Yield a picture whose header was read; what fails inside is told as the picture's fault."""
    try:
        _check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=PICTURE_FORMATS) as picture:
                yield picture
    except PairsError:
        raise
    except PICTURE_ERRORS as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise PairsError(
            f"{path}: not a readable picture: {reason} (replace or remove it)"
        ) from exc


def _check_regular(path: Path) -> None:
    kind = special_kind(path)
    if kind is not None:
        raise PairsError(f"{path}: is {kind} (expected a picture)")


def _mode(picture: Image.Image) -> str:
    """Return the Pillow mode to read a picture in: one band, or red, green, blue.

    Raises
    ------
    ValueError
        For modes that neither of them holds.
    """
    if picture.mode.startswith("I;16"):
        return "I;16"
    if picture.mode in {"I", "F"}:
        raise ValueError(f"pixels of type {picture.mode} (save it as .tif)")
    return "L" if picture.mode in {"1", "L", "LA", "La"} else "RGB"


def _describe(path: Path) -> PatchSpec:
    if path.suffix.lower() in RASTER_SUFFIXES:
        return _describe_raster(path)
    with _opened(path) as picture:
        mode, (width, height) = _mode(picture), picture.size
    dtype = "uint16" if mode == "I;16" else "uint8"
    return PatchSpec(bands=3 if mode == "RGB" else 1, height=height, width=width, dtype=dtype)


def _describe_raster(path: Path) -> PatchSpec:
    with _opened_raster(path) as scene:
        spec = scene.spec
        return PatchSpec(
            bands=len(spec.bands), height=spec.height, width=spec.width, dtype=spec.dtype
        )


def _read_raster(path: Path) -> Pixels:
    with _opened_raster(path) as scene:
        pixels, valid = scene.read(rows=(0, scene.spec.height))
    if not valid.all():
        raise PairsError(
            f"{path}: {100 * (1 - valid.mean()):.1f} % of its pixels are masked or not finite "
            "(cut patches without gaps: geop2p prepare)"
        )
    return np.asarray(pixels)


@contextmanager
def _opened_raster(path: Path) -> Iterator[Any]:
    """Yield an open `geop2p.raster.scene.Scene`."""
    from geop2p.raster.scene import open_scene  # noqa: PLC0415  pictures need none

    try:
        with open_scene(path) as scene:
            yield scene
    except SceneError as exc:
        raise PairsError(str(exc)) from exc
