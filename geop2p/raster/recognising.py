"""What a file is that is no scene, said in words: by its kind, its size and its first bytes."""

import os
import stat
from pathlib import Path

from geop2p.errors import SceneError
from geop2p.redaction import escaped, redacted
from geop2p.signatures import is_text

HEAD_BYTES = 64 * 1024
SCENES = (
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51",
    b"BM",
    b"EHFA_HEADER_TAG",
)
"""First bytes of the formats that are opened; VRT, ENVI and WEBP are told otherwise."""
_KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the raster itself", "run git lfs pull"),
    (b"version https://hawser", "a Git LFS pointer, not the raster itself", "run git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the raster itself", "run git annex get"),
    (b"../.git/annex/", "a git-annex pointer, not the raster itself", "run git annex get"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"PK\x05\x06", "an empty ZIP archive", "give a raster file"),
    (b"BZh", "a bzip2 archive", "unpack it"),
    (b"\xfd7zXZ\0", "an xz archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"%PDF", "a PDF", "convert it to GeoTIFF"),
    (b"%!PS", "a PostScript file", "convert it to GeoTIFF"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF-4 file", "convert it to GeoTIFF"),
    (b"\x0e\x03\x13\x01", "an HDF4 file", "convert it to GeoTIFF"),
    (b"CDF\x01", "a NetCDF file", "convert it to GeoTIFF"),
    (b"CDF\x02", "a NetCDF file", "convert it to GeoTIFF"),
    (b"CDF\x05", "a NetCDF file", "convert it to GeoTIFF"),
    (b"GRIB", "a GRIB file", "convert it to GeoTIFF"),
    (b"NITF", "a NITF file", "convert it to GeoTIFF"),
    (b"NSIF", "a NITF file", "convert it to GeoTIFF"),
    (b"SIMPLE  =", "a FITS file", "convert it to GeoTIFF"),
    (b"GIF8", "a GIF picture", "convert it to GeoTIFF or PNG"),
    (b"8BPS", "a Photoshop file", "convert it to GeoTIFF or PNG"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture", "convert it to GeoTIFF"),
    (b"\0\0\x27\x0a", "a shapefile: vectors", "give a raster file"),
    (b"SQLite format 3\0", "an SQLite data base, e.g. a GeoPackage", "convert it to GeoTIFF"),
    (b"LASF", "a LAS point cloud", "give a raster file"),
    (b"\x93NUMPY", "a numpy array", "write it to a GeoTIFF"),
    (b"\x7fELF", "a program", "give a raster file"),
    (b"ENVI", "an ENVI header", "give the data file beside it"),
)
_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO), not a regular file",
    stat.S_IFSOCK: "a socket, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}


def read_head(name: str, *, shown: str) -> bytes:
    """Return the first bytes of a regular file; anything else is refused, and never opened.

    Parameters
    ----------
    name : str
        The file.
    shown : str
        What messages call it.

    Raises
    ------
    SceneError
        For a missing file, a folder or other special file, an empty or an unreadable one.
    """
    if "\0" in name:
        raise SceneError(f"{shown}: a NUL character in the name (check the path)")
    try:
        _check_regular(Path(name).stat(), shown=shown)
        # a pipe that took the file's place in between would block without O_NONBLOCK
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(HEAD_BYTES)
    except SceneError:
        raise
    except (OSError, ValueError) as exc:
        raise SceneError(f"{shown}: {_refusal(name, exc)}") from exc


def _check_regular(status: os.stat_result, *, shown: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "not a regular file")
        raise SceneError(f"{shown}: {kind} (give a raster file, e.g. a GeoTIFF)")
    if status.st_size == 0:
        raise SceneError(f"{shown}: an empty file (copy it again)")


def foreign_kind(head: bytes, *, size: int) -> str | None:
    """Return what a file is that no driver opens, and what to do, or None where nothing is known.

    Parameters
    ----------
    head : bytes
        The file's first bytes, up to `HEAD_BYTES`.
    size : int, bytes
        Of the file.
    """
    for signature, kind, remedy in _KINDS:
        if head.startswith(signature):
            return f"{kind} ({remedy})"
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it)"
    if not head.strip(b"\0"):
        return "only zeros: allocated, never written (copy it again)"
    return _text_kind(head, size)


def opening_failure(head: bytes, *, size: int) -> str | None:
    """Return why GDAL could not open a file of a known format, or None where it must say itself."""
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        order = "little" if head[:1] == b"I" else "big"
        is_big = head[2:4] in {b"+\0", b"\0+"}
        where = head[8:16] if is_big else head[4:8]
        directory = int.from_bytes(where, order)  # type: ignore[arg-type]  # one of two words
        if directory + 2 > size or len(where) < (8 if is_big else 4):
            return (
                f"a truncated TIFF: its directory lies at byte {directory}, the file has {size} "
                "bytes (copy it again)"
            )
    return None


def check_map_head(path: str) -> None:
    """Refuse what cannot have been a map: a file of another kind, but not a damaged one.

    Raises
    ------
    SceneError
        When it is that, or no file that can be read.
    """
    shown = redacted(escaped(path))
    head = read_head(path, shown=shown)
    is_written = bool(head.strip(b"\0"))  # a map on a failing disk may read as zeros
    kind = foreign_kind(head, size=Path(path).stat().st_size) if is_written else None
    if kind is not None:
        raise SceneError(f"{shown}: is no map: {kind}")


def is_scene_head(head: bytes) -> bool:
    """Return whether a file begins as one of the formats does that are opened."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or is_vrt(head) or head.startswith(SCENES)


def is_vrt(head: bytes) -> bool:
    """Return whether GDAL would take a file for a VRT: by the word in its first kilobytes."""
    return b"<VRTDataset" in head[:4096]


def is_envi(name: str) -> bool:
    """Return whether an ENVI header lies beside a data file, which itself looks like anything."""
    path = Path(name)
    for header in (Path(f"{name}.hdr"), path.with_suffix(".hdr"), path.with_suffix(".HDR")):
        try:
            if header != path and stat.S_ISREG(header.stat().st_mode):
                with header.open("rb") as file:
                    return file.read(4) == b"ENVI"
        except OSError:
            continue
    return False


def _refusal(name: str, exc: OSError | ValueError) -> str:
    """Return why a path has no file that can be read."""
    if isinstance(exc, FileNotFoundError):
        if Path(name).is_symlink():
            return f"a link to {Path(name).readlink()}, which is missing (check the link)"
        return "no such file (check the path)"
    if isinstance(exc, PermissionError):
        return "no permission to read it (check the rights of the file and its folders)"
    return f"cannot be read: {getattr(exc, 'strerror', None) or exc} (check the path)"


def _text_kind(head: bytes, size: int) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a download that failed? fetch the raster itself)"
    if start.startswith(b"<") and is_text(head):
        return "an XML file, and no VRT (give the raster itself)"
    if is_text(head):
        what = "a JSON text" if start.startswith((b"{", b"[")) else "a text"
        return f"{what} of {size} bytes (give a raster file, e.g. a GeoTIFF)"
    return None
