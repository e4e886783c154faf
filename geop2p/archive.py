"""The archive that torch saves a checkpoint in, examined before torch is let near it.

torch's restricted unpickler runs no code, but believes what an archive says of itself: a few bytes
can ask it for terabytes, or for a tensor that reaches beyond its storage. So three things are
looked at first: how entries lie in the archive and their checksums; what the pickle is made of; and
whether each tensor lies within a storage that has the size which the archive gives it.
"""

import io
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import IO, Any

MOST_ENTRIES = 100_000
MOST_BYTES = 8 * 2**30
"""Of a whole archive: a training of U-Net-256 with 64 channels takes 0.7 GiB."""
MOST_PICKLE_BYTES = 16 * 2**20
MOST_DIMENSIONS = 8

ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""Bytes of one item, by torch's names of its storages."""

_OPCODES = re.compile(
    "PROTO|STOP|MARK|NONE|NEWTRUE|NEWFALSE|BININT[12]?|LONG1|BINFLOAT|BINUNICODE|TUPLE[123]?"
    "|EMPTY_(DICT|LIST|TUPLE)|APPENDS?|SETITEMS?|(LONG_)?BIN(PUT|GET)|GLOBAL|REDUCE|BUILD|BINPERSID"
)
"""What plain values and tensors are pickled with in torch's protocol 2."""

_ENTRY_NAME = re.compile(
    r"(?P<root>[^/\\]+)/(?P<rest>data\.pkl|data/\d+|version|byteorder|\.format_version"
    r"|\.storage_alignment|\.data/serialization_id)"
)
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
"""What the standard library raises for damaged archives and pickles."""


class ArchiveError(ValueError):
    """An archive that torch must not be given; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A tensor as the pickle describes it: the name of its storage's type, and its shape."""

    storage: str
    shape: tuple[int, ...]

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        """Refuse a pickle that changes a tensor after it was made."""
        raise ArchiveError("its pickle changes a tensor")


@dataclass(frozen=True, slots=True)
class _Storage:
    kind: str
    items: int

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        """Refuse a pickle that changes a storage after it was made."""
        raise ArchiveError("its pickle changes a storage")


class _Dict(OrderedDict[Any, Any]):
    """What torch keeps a network's weights in, with the one attribute that it gives it."""

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        if not isinstance(state, dict) or state.keys() - {"_metadata"}:
            raise ArchiveError("its pickle changes the attributes of a value")


def examine_archive(file: IO[bytes]) -> Any:  # noqa: ANN401  whatever was saved
    """Return what an archive would load, with a `Sketch` for each tensor; nothing of torch runs.

    Raises
    ------
    ArchiveError
        When the archive is damaged or no plain checkpoint. Memory stays below a few times
        `MOST_PICKLE_BYTES`.
    """
    try:
        return _examine(file)
    except ArchiveError:
        raise
    except MemoryError as exc:
        raise ArchiveError("it asks for more memory than there is") from exc
    except _UNREADABLE as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise ArchiveError(f"the archive is damaged: {reason[:160]}") from exc


def _examine(file: IO[bytes]) -> Any:  # noqa: ANN401
    size = file.seek(0, io.SEEK_END)
    if size > MOST_BYTES:
        raise ArchiveError(f"{size} bytes are more than any checkpoint has (at most {MOST_BYTES})")
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        _check_entries(entries, archive, size=size)
        _check_layout(entries, file, end=archive.start_dir)
        root = entries[0].filename.split("/")[0]
        if f"{root}/data.pkl" not in archive.namelist():
            raise ArchiveError("there is no data.pkl in it")
        _check_checksums(entries, archive)
        content = archive.read(f"{root}/data.pkl")
        sizes = {
            entry.filename.rsplit("/", 1)[1]: entry.file_size
            for entry in entries
            if entry.filename.startswith(f"{root}/data/")
        }
    _check_opcodes(content)
    return _DryRun(content, sizes=sizes, most_bytes=size).load()


def _check_entries(entries: list[zipfile.ZipInfo], archive: zipfile.ZipFile, *, size: int) -> None:
    """Check names, count, sizes and compression, from the archive's directory alone."""
    if not 0 < len(entries) <= MOST_ENTRIES:
        raise ArchiveError(f"{len(entries)} entries (expected 1 to {MOST_ENTRIES})")
    if archive.comment:
        raise ArchiveError("the archive has a comment")
    _check_names([entry.orig_filename for entry in entries])
    for entry in entries:
        _check_entry(entry)
    total = sum(entry.file_size for entry in entries)
    if total > size:
        raise ArchiveError(f"its entries claim {total} bytes, the file has {size}")


def _check_names(names: list[str]) -> None:
    roots = set()
    for name in names:
        found = _ENTRY_NAME.fullmatch(name)
        if found is None:
            raise ArchiveError(f"an entry is called {name[:60]!r}, which torch never writes")
        roots.add(found["root"])
    if len(roots) > 1:
        raise ArchiveError("its entries lie in several folders")
    if len(set(names)) < len(names):
        raise ArchiveError("two of its entries have one name")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
        raise ArchiveError(f"{entry.filename} is compressed or encrypted")
    if entry.compress_size != entry.file_size:
        raise ArchiveError(f"{entry.filename} has two sizes")
    if entry.filename.endswith("/data.pkl") and entry.file_size > MOST_PICKLE_BYTES:
        raise ArchiveError(f"its pickle has {entry.file_size} bytes")


def _check_layout(entries: list[zipfile.ZipInfo], file: IO[bytes], *, end: int) -> None:
    """Check that entries follow each other from the first byte on, without overlap."""
    free_from = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < free_from or (free_from == 0 and entry.header_offset):
            raise ArchiveError(f"{entry.filename} overlaps another entry, or bytes lie before it")
        file.seek(entry.header_offset)
        fields = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        name_length, extra_length = fields[9], fields[10]
        name = file.read(name_length)
        if (fields[0], fields[3]) != (b"PK\3\4", 0) or name != entry.orig_filename.encode():
            raise ArchiveError(f"{entry.filename} is called otherwise in its own header")
        data_at = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        free_from = data_at + entry.file_size
    if free_from > end:
        raise ArchiveError("its entries reach into its directory")


def _check_checksums(entries: list[zipfile.ZipInfo], archive: zipfile.ZipFile) -> None:
    for entry in entries:
        with archive.open(entry) as content:
            while content.read(2**20):
                pass  # the CRC-32 is compared at the end; a mismatch raises BadZipFile


def _check_opcodes(content: bytes) -> None:
    """Check that a pickle holds plain values and tensors, by the names of its instructions."""
    puts = 0
    for opcode, argument, _position in pickletools.genops(content):
        if not _OPCODES.fullmatch(opcode.name):
            raise ArchiveError(f"its pickle has the instruction {opcode.name}")
        if opcode.name == "GLOBAL":
            _check_global(str(argument))
        if opcode.name.endswith("PUT"):
            if argument is None or not 0 <= argument <= puts:
                raise ArchiveError(f"its pickle numbers a value {argument}, {puts} was expected")
            puts = max(puts, argument + 1)


def _check_global(name: str) -> None:
    module, _, attribute = name.partition(" ")
    if (module, attribute) not in _STAND_INS and not (
        module == "torch" and attribute in ITEM_BYTES
    ):
        raise ArchiveError(f"its pickle asks for {name.replace(' ', '.')[:80]!r}")


class _DryRun(pickle.Unpickler):
    """Goes through a pickle with harmless stand-ins for everything that it asks for."""

    def __init__(self, content: bytes, *, sizes: Mapping[str, int], most_bytes: int) -> None:
        super().__init__(io.BytesIO(content))
        self._sizes, self._bytes_left = sizes, most_bytes
        self._kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if module == "torch" and name in ITEM_BYTES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._sketch
        return _STAND_INS[(module, name)]

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401
        """Return a storage, if the archive holds as many bytes as it is said to have."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise ArchiveError("a storage is not described as torch does it")
        _storage, kind, key, location, items = pid
        if kind not in ITEM_BYTES or not isinstance(key, str) or not isinstance(location, str):
            raise ArchiveError("a storage is not described as torch does it")
        if self._kinds.setdefault(key, kind) != kind:
            raise ArchiveError(f"storage {key[:20]!r} has two types")
        if type(items) is not int or items * ITEM_BYTES[kind] != self._sizes.get(key):
            raise ArchiveError(
                f"storage {key[:20]!r} should have {items} items, it has {self._sizes.get(key)} "
                "bytes"
            )
        return _Storage(kind, items)

    def _sketch(self, storage: Any, *place: Any) -> Sketch:  # noqa: ANN401
        """Return a tensor's sketch, if each of its items has its own place in the storage."""
        if not isinstance(storage, _Storage) or len(place) != 5 or not _are_counts(place[:1]):
            raise ArchiveError("a tensor is not described as torch does it")
        offset, shape, strides = place[:3]
        if not (_are_counts(shape) and _are_counts(strides) and len(shape) == len(strides)):
            raise ArchiveError("a tensor is not described as torch does it")
        items = prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if items and (last >= storage.items or items > storage.items):
            raise ArchiveError(
                f"a tensor of {items} items, {tuple(shape)}, lies in a storage of {storage.items}"
            )
        self._bytes_left -= items * ITEM_BYTES[storage.kind]
        if self._bytes_left < 0:
            raise ArchiveError("its tensors have more items than the file has bytes for")
        return Sketch(storage.kind, tuple(shape))


def _are_counts(numbers: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(numbers, tuple)
        and len(numbers) <= MOST_DIMENSIONS
        and all(type(number) is int and 0 <= number < 2**48 for number in numbers)
    )


_STAND_INS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dict,
    ("torch._utils", "_rebuild_tensor_v2"): None,
}
"""What a pickle may ask for besides storages; a tensor's maker is a method of the dry run."""
