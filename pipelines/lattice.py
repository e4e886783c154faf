"""The lattice of tiles that a translation works on, by its blend, overlap and generator.

For most blends it is the card's tile and an overlap. Blend ``exact`` is for generators with a
bounded field: a map pixel depends on the scene's pixels within a radius of it. Tiles are drawn with
a halo as wide as that, and only their centres are used, so that no pixel sees where a tile ends.
"""

from geop2p.blend import EXACT
from geop2p.card import ModelCard
from geop2p.errors import OptionError
from geop2p.grid import TileGrid
from geop2p.pipelines.request import Request
from geop2p.raster.scene import SceneSpec

OVERLAP = 64
"""Pixels, where none is asked for; half a tile where that is less."""
ALIGNMENT = 4
"""Pixels. A residual generator halves its picture twice, so it draws a picture that is moved by
four pixels as the same one, moved."""
LEAST_HALOS = 4
"""Of which a tile's side is at least made: with fewer, most of what is drawn is not used."""
_HINT = "use --blend cosine"


def choose_grid(request: Request, spec: SceneSpec, card: ModelCard | None) -> TileGrid:
    """Return the lattice: the card's tile and an overlap; for blend ``exact``, one of centres.

    Raises
    ------
    OptionError
        When the overlap fits neither tile nor blend, or the generator's field is not bounded and
        the blend is ``exact``.
    """
    size = request.tile if card is None else card.tile
    if request.blend == EXACT:
        return _centres(request, spec, size=size, radius=_field_radius(request, card))
    overlap = min(OVERLAP, size // 2) if request.overlap is None else request.overlap
    return TileGrid(height=spec.height, width=spec.width, size=size, overlap=overlap)


def exact_geometry(radius: int, *, tile: int) -> tuple[int, int]:
    """Return (halo, side), in pixels, of the tiles of which only centres are used.

    The halo is the radius, rounded up to whole `ALIGNMENT`; the side is ``tile``, or where that is
    less than `LEAST_HALOS` halos the least power of two that is not: 256 for 6 residual blocks, 512
    for 9. Both, and so the centre, are multiples of `ALIGNMENT`.

    Parameters
    ----------
    radius : int, pixels, at least 0
        Of the generator's field.
    tile : int, pixels
        Side of the tile that the generator was trained for.
    """
    halo = _aligned(radius)
    least = LEAST_HALOS * halo
    return halo, _aligned(tile) if tile >= least else 1 << (least - 1).bit_length()


def _aligned(pixels: int) -> int:
    return -(-pixels // ALIGNMENT) * ALIGNMENT


def _centres(request: Request, spec: SceneSpec, *, size: int, radius: int) -> TileGrid:
    halo, side = exact_geometry(radius, tile=size)
    if request.overlap not in (None, 2 * halo):
        raise OptionError(
            f"overlap {request.overlap} and blend {EXACT}, where tiles share {2 * halo} pixels, "
            "twice the generator's field (leave the overlap out)"
        )
    return TileGrid(
        height=spec.height, width=spec.width, size=side - 2 * halo, overlap=0, halo=halo
    )


def _field_radius(request: Request, card: ModelCard | None) -> int:
    """Return how far from a pixel the generator looks; raises where it is not bounded."""
    if card is None:
        return _stated_radius(request)
    if card.field_radius is not None:
        return card.field_radius
    network = card.generator
    if network.norm == "instance" or card.norm_statistics == "tile":
        reason = "has norm layers that take the statistics of the whole tile"
    else:
        reason = f"is a {network.arch}, whose pixels each see the whole tile"
    raise OptionError(
        f"blend {EXACT}: the model {card.name} {reason} "
        f"({_HINT}, or a ResNet model with batch norm and running statistics, as the bundled "
        "streets-exact is)"
    )


def _stated_radius(request: Request) -> int:
    """Return what a bare function says of itself."""
    radius = getattr(request.generator, "field_radius", None)
    if type(radius) is int and radius >= 0:
        return radius
    found = "is not known" if radius is None else f"is {radius!r}"
    raise OptionError(
        f"blend {EXACT}: the generator's field {found} ({_HINT}, or give the generator an "
        "attribute field_radius, pixels, from 0)"
    )
