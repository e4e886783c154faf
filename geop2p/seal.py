"""A checksum of a whole file that stands in the file itself.

It is the SHA-256 of the file's bytes with 64 zeros in its own place, which a tag keeps for it. So a
single flipped bit anywhere is seen: in pixels, overviews, mask, georeference or tags.
"""

import hashlib
import mmap
from pathlib import Path

TAG = "GEOP2P_FILE_SHA256"
BLANK = "0" * 64
"""What the tag holds until the file is sealed."""
_BEFORE = f'{TAG}">'.encode()
"""What GDAL's metadata, XML in a GeoTIFF, has before the value."""


def seal(path: Path) -> None:
    """Put the checksum in its place.

    Raises
    ------
    ValueError
        When the file has no such place.
    """
    place = _place(path)
    digest = _digest(path, place)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(digest.encode())


def is_intact(path: Path) -> bool:
    """Return whether the file is what was sealed; False when it never was."""
    try:
        place = _place(path)
    except ValueError:
        return False
    with path.open("rb") as file:
        file.seek(place)
        return file.read(len(BLANK)) == _digest(path, place).encode()


def _place(path: Path) -> int:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = content.find(_BEFORE)
    if found < 0:
        raise ValueError(f"{path}: has no place for a checksum")
    return found + len(_BEFORE)


def _digest(path: Path, place: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for size in (*[2**20] * (place // 2**20), place % 2**20):
            digest.update(file.read(size))
        digest.update(BLANK.encode())
        file.seek(place + len(BLANK))
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
