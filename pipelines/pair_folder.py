"""A folder of pairs while it is built: pictures of each, and a manifest of where they are from.

The folder takes its name when everything is in it.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError, OutputError
from geop2p.faults import around
from geop2p.locking import held
from geop2p.manifest import MANIFEST, MANIFEST_COLUMNS, PALETTE
from geop2p.palette import Palette
from geop2p.patches import SPLITS, Patch
from geop2p.raster.aligning import ground_box
from geop2p.raster.gsd import gsd_of
from geop2p.raster.patch_files import is_picture, write_picture, write_tiff
from geop2p.raster.scene import SceneSpec
from geop2p.writing import remains, sync_folder, told_as_output_error

LAYOUTS = ("side-by-side", "folders")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The pixels of one pair, and what decides whether it is kept.

    Parameters
    ----------
    spec : SceneSpec
        The scene that it was cut from.
    patch : Patch
        Where it was cut.
    scene, drawn : (C, H, W)
        The two patches, 0 where either is invalid.
    nodata : float
        Share of pixels that are invalid in the scene or the target.
    variety : float
        The smaller of the two patches' `geop2p.patches.variety`.
    """

    spec: SceneSpec
    patch: Patch
    scene: npt.NDArray[Any]
    drawn: npt.NDArray[Any]
    nodata: float
    variety: float


class PairFolder:
    """Takes pairs one by one.

    Parameters
    ----------
    path : Path
        An existing folder.
    layout : str
        One of `LAYOUTS`.
    quality : int or None
        JPEG quality; None writes PNG.
    """

    def __init__(self, path: Path, *, layout: str, quality: int | None) -> None:
        self._path = path
        self._layout = layout
        self._quality = quality
        self._records: list[dict[str, Any]] = []

    def count(self, split: str) -> int:
        """Return how many pairs there are in ``train`` or ``val``."""
        return sum(record["split"] == split for record in self._records)

    def write(self, pair: Pair, *, number: int, target: str) -> None:
        """Write one pair, cut from scene ``number`` and its ``target``.

        Raises
        ------
        OptionError
            When the layout cannot hold pixels of this kind.
        DiskFullError, OutputError
            When a file cannot be written.
        """
        stem = f"{number:03d}_{Path(pair.spec.path).stem}_{pair.patch.row}_{pair.patch.col}"
        split = SPLITS[pair.patch.side]
        with told_as_output_error(self._path):
            files = self._write_files(pair, split, stem)
        record = {"split": split, "scene_patch": files[0], "map_patch": files[1]}
        self._records.append(record | _origin(pair, target))

    def write_manifest(self) -> None:
        """Write ``manifest.csv``: one line a pair, paths relative to the folder."""
        text = io.StringIO()
        table = csv.DictWriter(text, MANIFEST_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self._records)
        with told_as_output_error(self._path):
            (self._path / MANIFEST).write_text(text.getvalue(), encoding="utf-8")

    def write_palette(self, palette: Palette) -> None:
        """Write ``palette.json``: the classes that the maps' colours stand for, a line each."""
        lines = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in palette.to_list())
        with told_as_output_error(self._path):
            (self._path / PALETTE).write_text(f"[\n  {lines}\n]\n", encoding="utf-8")

    def _write_files(self, pair: Pair, split: str, stem: str) -> tuple[str, str]:
        if self._layout == "side-by-side":
            name = f"{split}/{stem}{'.png' if self._quality is None else '.jpg'}"
            write_picture(self._file(name), _side_by_side(pair), quality=self._quality)
            return name, name
        scene = self._write_one(pair.scene, f"{split}A/{stem}", pair, quality=self._quality)
        return scene, self._write_one(pair.drawn, f"{split}B/{stem}", pair, quality=None)

    def _write_one(
        self, pixels: npt.NDArray[Any], name: str, pair: Pair, *, quality: int | None
    ) -> str:
        if is_picture(str(pixels.dtype), len(pixels)):
            name += ".png" if quality is None else ".jpg"
            write_picture(self._file(name), pixels, quality=quality)
        else:
            name += ".tif"
            corner = (pair.patch.row, pair.patch.col)
            write_tiff(self._file(name), pixels, scene=pair.spec, corner=corner)
        return name

    def _file(self, name: str) -> Path:
        file = self._path / name
        file.parent.mkdir(exist_ok=True)
        return file


@contextmanager
def building(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder beside ``target``, which takes its name in the end.

    What stood there before stands there, whole, until then. What killed runs left is removed.

    Raises
    ------
    DiskFullError, OutputError
        When ``target`` is a file, a folder with something in it that may not be replaced, held by
        another run, or cannot be written.
    """
    with told_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with held(target):
        with told_as_output_error(target):
            _remove_remains(target)
        _check_replaceable(target, overwrite=overwrite)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with told_as_output_error(target):
                with around("make folder"):
                    temporary.mkdir()
                yield temporary
                _take_place(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, target: Path) -> None:
    """Rename a folder over another one: whoever looks finds the old, nothing, or the new."""
    former = target.with_name(f".{target.name}.{os.getpid()}.part-former")
    if target.exists():
        target.rename(former)
    try:
        with around("rename"):
            temporary.rename(target)
        sync_folder(target.parent)
    finally:
        if former.exists() and not target.exists():
            former.rename(target)
        shutil.rmtree(former, ignore_errors=True)


def _remove_remains(target: Path) -> None:
    """Remove what killed runs left; an old folder that one had just set aside goes back first."""
    for path in remains(target):
        if path.name.endswith(".part-former") and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: a file of that name exists (choose another folder)")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{target}: exists and is not empty (choose another, or --overwrite)")
    if not (target / MANIFEST).is_file():
        raise OutputError(
            f"{target}: has no {MANIFEST}, so geop2p did not make it and does not replace it "
            "(choose another folder)"
        )


def _side_by_side(pair: Pair) -> npt.NDArray[np.uint8]:
    """Return scene left and map right in one picture: (C, H, 2 * W)."""
    for pixels, what in ((pair.scene, pair.spec.path), (pair.drawn, "the target")):
        if not is_picture(str(pixels.dtype), len(pixels)):
            raise OptionError(
                f"{what}: {len(pixels)} bands of {pixels.dtype} do not fit into a side-by-side "
                "picture (choose 1 or 3 bands of 8 bits with --bidx, or --layout folders)"
            )
    bands = max(len(pair.scene), len(pair.drawn))
    halves = [np.broadcast_to(half, (bands, *half.shape[1:])) for half in (pair.scene, pair.drawn)]
    return np.concatenate(halves, axis=2)


def _origin(pair: Pair, target: str) -> dict[str, Any]:
    """Return where a pair was cut, in pixels and, where the scene has a CRS, in its units.

    So is the scene's ground sample distance, in metres: patches keep the scene's pixels.
    """
    spec, patch = pair.spec, pair.patch
    record = {
        "scene": spec.path,
        "target": target,
        "row": patch.row,
        "col": patch.col,
        "size": patch.size,
        "nodata": round(pair.nodata, 4),
        "variety": round(pair.variety, 4),
    }
    if spec.crs:
        box = ground_box(spec, rows=patch.rows, cols=patch.cols)
        record |= dict(zip(("left", "bottom", "right", "top"), box, strict=True))
        record["crs"] = spec.crs.to_string()
    gsd = gsd_of(spec)
    if gsd is not None:
        record["gsd_m"] = float(f"{gsd.mean_m:.6g}")
    return record
