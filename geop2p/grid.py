"""The lattice of tiles over a scene, and the strips of it that are worked on at a time.

Integers only. A span is ``(first, one after the last)`` in raster rows or columns. Tiles start at
multiples of the stride from the scene's upper left corner; where a tile passes an edge, the scene
is continued by reflection. Two tiles share at most one overlap in each direction.

A lattice of centres paints without overlap, and shows the generator a halo round what it paints:
its outermost tiles begin a halo before the scene.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geop2p.errors import OptionError

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One tile by its place in the lattice: ``row`` and ``col`` count tiles, not pixels."""

    row: int
    col: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Whole tile rows ``first`` to ``last - 1``: what one task translates."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """The lattice of tiles over a scene of ``height`` x ``width`` pixels.

    Every pixel of the scene lies in one tile, or in two neighbours in a direction; the last tile of
    a direction holds at least one pixel that no other tile holds.

    Parameters
    ----------
    height, width : int, pixels, at least 1
        Size of the scene.
    size : int, pixels
        Side of what a tile paints: without a halo, of the tile.
    overlap : int, pixels, 0 <= overlap <= size // 2
        What two neighbouring tiles both paint.
    halo : int, pixels
        Context on each side of it that the generator sees too. Its picture there is not used.
    """

    height: int
    width: int
    size: int = 256
    overlap: int = 64
    halo: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no lattice.

        Raises
        ------
        OptionError
            When the overlap does not fit the tile, or the scene has no pixels.
        """
        if not 0 <= self.overlap <= self.size // 2:
            raise OptionError(
                f"overlap {self.overlap} (expected 0 to {self.size // 2}, half a tile, in pixels)"
            )
        if self.height < 1 or self.width < 1:
            raise OptionError(f"a scene of {self.height} x {self.width} pixels has no tiles")

    @property
    def stride(self) -> int:
        """Pixels from one tile's start to the next one's."""
        return self.size - self.overlap

    @property
    def side(self) -> int:
        """Pixels of a side of what the generator sees and draws, halo included."""
        return self.size + 2 * self.halo

    @property
    def shared(self) -> int:
        """Pixels in a direction that two neighbouring tiles both show, halos included."""
        return self.overlap + 2 * self.halo

    @property
    def tile_rows(self) -> int:
        """How many tiles lie below each other."""
        return self._count(self.height)

    @property
    def tile_cols(self) -> int:
        """How many tiles lie beside each other."""
        return self._count(self.width)

    def _count(self, length: int) -> int:
        return max(
            1, -((self.overlap - length) // self.stride)
        )  # ceil((length - overlap) / stride)

    def strips(self, tile_rows: int) -> list[Strip]:
        """Return the strips of ``tile_rows`` tile rows each, the last one possibly shorter."""
        return [
            Strip(first=first, last=min(first + tile_rows, self.tile_rows))
            for first in range(0, self.tile_rows, tile_rows)
        ]

    def tiles(self, strip: Strip) -> Iterator[Tile]:
        """Yield a strip's tiles, row by row from the left."""
        for row in range(strip.first, strip.last):
            for col in range(self.tile_cols):
                yield Tile(row=row, col=col)

    def rows(self, tile_row: int) -> Span:
        """Return the raster rows that a tile row paints; they may pass the scene's last row."""
        return tile_row * self.stride, tile_row * self.stride + self.size

    def cols(self, tile_col: int) -> Span:
        """Return the raster columns that a tile column paints; they may pass the last one."""
        return tile_col * self.stride, tile_col * self.stride + self.size

    def painted_rows(self, strip: Strip) -> Span:
        """Return the scene's rows that a strip's tiles paint, head and foot included."""
        return strip.first * self.stride, min(self.rows(strip.last - 1)[1], self.height)

    def own_rows(self, strip: Strip) -> Span:
        """Return the rows that are a strip's alone when every row is given to exactly one strip."""
        is_last = strip.last == self.tile_rows
        return strip.first * self.stride, self.height if is_last else strip.last * self.stride

    def head(self, strip: Strip) -> int:
        """Return how many of a strip's first rows the strip above paints too."""
        return self.overlap if strip.first > 0 else 0

    def foot(self, strip: Strip) -> int:
        """Return how many of a strip's last rows the strip below paints too."""
        return self.overlap if strip.last < self.tile_rows else 0

    def source_rows(self, strip: Strip) -> npt.NDArray[np.intp]:
        """Return for each row of a strip's tiles, halos included, the scene's row that it shows."""
        start, stop = self.rows(strip.first)[0] - self.halo, self.rows(strip.last - 1)[1]
        return reflect(np.arange(start, stop + self.halo), self.height)

    def source_cols(self, tile_col: int) -> npt.NDArray[np.intp]:
        """Return for each column of a tile, halo included, the scene's column that it shows."""
        start, stop = self.cols(tile_col)
        return reflect(np.arange(start - self.halo, stop + self.halo), self.width)


def reflect(indexes: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """Return ``indexes`` folded into 0 .. ``length - 1`` as between two mirrors.

    The mirrors stand on the first and the last pixel, which are not repeated: 4 pixels are
    continued as 0 1 2 3 2 1 0 1 ...
    """
    period = max(2 * (length - 1), 1)
    folded = indexes % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(indexes)
