"""Which files a scene is made of, and whether they are still the same."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geop2p.raster.opening import SceneSource, open_dataset
from geop2p.raster.virtual import vrt_sources

HEADER_BYTES = 2**16
"""Of the main file, that are hashed."""

SIDE_CARS = (".aux.xml", ".msk", ".ovr")
"""What GDAL reads beside a raster, too."""

FileState = tuple[str, int, int]
"""Real path, size in bytes, time of change in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneIdentity:
    """The files of a scene at one moment; small, and safe to send to a worker.

    Parameters
    ----------
    files : tuple of (str, int, int)
        Real path, size (bytes) and time of change (ns) of each, the scene's own first. Side-car
        files and a VRT's sources, also those of its sources, are among them.
    header_sha256 : str
        Of the first `HEADER_BYTES` of the scene's own; of its name for a network source.
    """

    files: tuple[FileState, ...]
    header_sha256: str

    @property
    def paths(self) -> tuple[str, ...]:
        """The files alone."""
        return tuple(path for path, _size, _time in self.files)

    @property
    def newest_ns(self) -> int:
        """The latest time of change, in nanoseconds; 0 for a network source."""
        return max((time for _path, _size, time in self.files), default=0)

    def to_json_value(self) -> dict[str, Any]:
        """Return plain values."""
        return {"files": [list(file) for file in self.files], "header": self.header_sha256}


def identity_of(source: SceneSource) -> SceneIdentity:
    """Return the files of a scene as they are now.

    Raises
    ------
    SceneError
        When it cannot be opened.
    """
    seen: dict[str, FileState] = {}
    for name in _files_of(source):
        real = os.path.realpath(name)
        if real not in seen and Path(real).is_file():
            state = Path(real).stat()
            seen[real] = (real, state.st_size, state.st_mtime_ns)
    return SceneIdentity(files=tuple(seen.values()), header_sha256=_header_sha256(source.path))


def first_change(before: SceneIdentity, after: SceneIdentity) -> str | None:
    """Return in words what differs first, or None."""
    was, now = ({path: rest for path, *rest in one.files} for one in (before, after))
    for path in (*was, *now):
        if path not in now:
            return f"{path} is gone"
        if path not in was:
            return f"{path} is new"
        if was[path][0] != now[path][0]:
            return f"{path} had {was[path][0]} bytes and has {now[path][0]}"
        if was[path] != now[path]:
            return f"{path} was written again"
    return None if before.header_sha256 == after.header_sha256 else "the header is another"


def _files_of(source: SceneSource) -> list[str]:
    """Return the files that GDAL reads for a scene, its own first, and side-cars of a VRT's."""
    own = SceneSource(
        path=source.path, max_pixels=source.max_pixels, allow_network=source.allow_network
    )
    with open_dataset(own) as dataset:
        files = [source.path, *dataset.files]
        is_virtual = dataset.driver == "VRT"
    if is_virtual:
        shown = source.path
        for name in vrt_sources(shown, shown=shown, allow_network=source.allow_network):
            files += [name, *(f"{name}{suffix}" for suffix in SIDE_CARS)]
    return files


def _header_sha256(path: str) -> str:
    if not Path(path).is_file():
        return hashlib.sha256(path.encode()).hexdigest()
    with Path(path).open("rb") as file:
        return hashlib.sha256(file.read(HEADER_BYTES)).hexdigest()
