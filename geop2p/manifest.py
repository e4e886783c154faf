"""What `geop2p prepare` leaves beside pairs: where each is from, and the palette of their maps.

Both are for people to read, too: a table of a line a pair, and a palette as ``--palette`` reads it.
A data set has neither where something else made it; an older one has no ground sample distances.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from geop2p.errors import OptionError, PairsError
from geop2p.palette import Palette, read_palette

MANIFEST, PALETTE = "manifest.csv", "palette.json"
MANIFEST_COLUMNS = (
    "split", "scene_patch", "map_patch", "scene", "target", "row", "col", "size",
    "left", "bottom", "right", "top", "crs", "gsd_m", "nodata", "variety",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A line of the manifest: its number in the file, and its cells by column, missing ones empty.

    A file that is no manifest, but has its name, gives lines without cells of any known name.
    """

    line: int
    cells: dict[str, str]

    @property
    def name(self) -> str:
        """The pair's name: that of its scene patch, without folder and suffix."""
        return Path(self.cells["scene_patch"]).stem


def read_manifest(folder: Path) -> list[Origin]:
    """Return the lines of a data set's manifest; none where it has no manifest.

    Raises
    ------
    PairsError
        When there is one that is no table.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            return [
                Origin(
                    line=table.line_num,
                    cells={name: (row.get(name) or "").strip() for name in MANIFEST_COLUMNS},
                )
                for row in table
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise PairsError(f"{path}: not a readable table: {exc} (remove or mend it)") from exc


def scenes_of(origins: list[Origin], split: str) -> tuple[str, ...]:
    """Return the names of the files that the pairs of a split were cut from, each once, sorted."""
    paths = {origin.cells["scene"] for origin in origins if origin.cells["split"] == split}
    return tuple(sorted({Path(path).name for path in paths}))


def read_gsds(folder: Path) -> dict[str, float]:
    """Return metres from pixel to pixel by the pair's name, of pairs for which they are known.

    Raises
    ------
    PairsError
        When the manifest is no table, or a cell holds no such number.
    """
    return {
        origin.name: _metres(origin, folder / MANIFEST)
        for origin in read_manifest(folder)
        if origin.cells["gsd_m"]
    }


def read_pairs_palette(folder: Path) -> Palette | None:
    """Return the palette that drew a data set's maps; None where it has none.

    Raises
    ------
    PairsError
        When there is a file of that name that is no palette.
    """
    path = folder / PALETTE
    if not path.is_file():
        return None
    try:
        return read_palette(path)
    except OptionError as exc:
        raise PairsError(f"{exc} (mend or remove it, or say another with --palette)") from exc


def _metres(origin: Origin, path: Path) -> float:
    text = origin.cells["gsd_m"]
    try:
        metres = float(text)
    except ValueError:
        metres = math.nan
    if not 0 < metres < math.inf:
        raise PairsError(
            f"{path}: line {origin.line} has the ground sample distance {text[:40]!r} (expected "
            "metres above 0, or nothing; mend it, or say one for all pairs with --gsd)"
        )
    return metres
