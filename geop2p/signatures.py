"""What a file is, by its first bytes: for messages that say what was given instead of a model."""

import stat
from pathlib import Path

SAFETENSORS = "a .safetensors file"
TORCH_ARCHIVE = "a torch archive, which holds a pickle"
PICKLE = "a pickle"
EMPTY = "an empty file"
TEXT = "a text"
UNKNOWN = "a file of a kind that geop2p does not know"
PICKLES = (TORCH_ARCHIVE, PICKLE)

HEAD_BYTES = 1024
LONGEST_NAME = 4096
"""Bytes of a path; more than any system takes."""

_KINDS = (
    (b"version https://git-lfs.", "a Git LFS pointer, not the file itself (git lfs pull)"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"BM", "a picture (BMP)"),
    (b"II*\0", "a raster (TIFF)"),
    (b"MM\0*", "a raster (TIFF)"),
    (b"II+\0", "a raster (BigTIFF)"),
    (b"MM\0+", "a raster (BigTIFF)"),
    (b"\0\0\0\x0cjP  ", "a raster (JPEG 2000)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"SQLite format 3\0", "an SQLite data base"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"GGUF", "a GGUF model"),
)


def special_kind(path: Path) -> str | None:
    """Return what a path is instead of a regular file, or None for a regular file.

    Nothing is opened, so a pipe that nobody writes to is no trap.
    """
    if len(str(path)) > LONGEST_NAME or "\0" in str(path):
        return "no name of a file"
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        return "missing" if isinstance(exc, FileNotFoundError) else str(exc.strerror or exc)
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode))


def file_kind(path: Path) -> str:
    """Return what the first bytes of a regular file say; raises `OSError` if it is unreadable."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return head_kind(head, size=path.stat().st_size)


def head_kind(head: bytes, *, size: int) -> str:
    """Return what a file of ``size`` bytes is that begins with ``head``."""
    if not head:
        return EMPTY
    for signature, kind in _KINDS:
        if head.startswith(signature):
            return kind
    if head.startswith(b"PK"):
        return TORCH_ARCHIVE if _holds_pickle(head) else "a ZIP archive"
    tests = {
        "a tar archive": head[257:262] == b"ustar",
        SAFETENSORS: _is_safetensors(head, size),
        PICKLE: head[0] == 0x80 and head[1:2] in {b"\2", b"\3", b"\4", b"\5"},
        TEXT: is_text(head),
    }
    return next((kind for kind, is_so in tests.items() if is_so), UNKNOWN)


def _holds_pickle(head: bytes) -> bool:
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return name.endswith((b"/data.pkl", b"/byteorder", b"/version", b"/.format_version"))


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether the header's length and its first character are those of such a file."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size


def is_text(head: bytes) -> bool:
    """Return whether bytes are UTF-8 without controls; the last character may be cut in two."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as exc:
        if len(head) - exc.start > 3:
            return False
        text = head[: exc.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
