"""VRT files checked before GDAL opens them: every file that they are made of is there, and a file.

GDAL runs Python code that a VRT holds where it is told to, fetches what it names from the network,
and draws nothing where a source is missing. So the XML is read here first, sources of sources too.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from geop2p.errors import SceneError
from geop2p.raster.recognising import foreign_kind, is_envi, is_scene_head, is_vrt, read_head
from geop2p.redaction import redacted

MOST_BYTES = 64 * 2**20
"""Largest VRT that is read: some 100,000 sources."""
MOST_DEPTH = 8
"""VRTs in VRTs."""
SOURCE_TAGS = frozenset({"SourceFilename", "SourceDataset", "DEMPath", "SRCDEM"})
SOURCE_KEY = "OVERVIEW_FILE"
"""Metadata item whose value GDAL opens as a raster of any format."""
GUARDED_KEYS = frozenset({"X_DATASET", "Y_DATASET", "RPC_DEM"})
"""Metadata items whose values GDAL may open when a raster is warped."""
SIDECARS = (".msk", ".ovr", ".msk.ovr", ".ovr.msk")
_NETWORK = re.compile(r"/vsi|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_CONNECTION = re.compile(r"[a-z][a-z0-9_+.-]+:", re.IGNORECASE)


@dataclass(slots=True)
class _Source:
    text: str
    is_relative: bool
    is_raw: bool


@dataclass(slots=True)
class _Document:
    """What of an XML file matters here."""

    sources: list[_Source] = field(default_factory=list)
    has_python: bool = False
    network: str | None = None


def is_network_name(name: str) -> bool:
    """Return whether a name is a URL or one of GDAL's virtual file systems."""
    return _NETWORK.match(name) is not None


def vrt_sources(
    path: str, *, shown: str, allow_network: bool, seen: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield every file or URL that a VRT is made of, those of nested VRTs too; check each.

    Raises
    ------
    SceneError
        When the XML is too large or no XML, holds Python code, or names what is missing, no raster
        file, on the network without leave, or itself.
    """
    if path in seen:
        raise SceneError(f"{shown}: a VRT that is made of itself ({' -> '.join((*seen, path))})")
    if len(seen) >= MOST_DEPTH:
        raise SceneError(f"{shown}: VRTs nested more than {MOST_DEPTH} deep (flatten them)")
    document = _read(path, shown=shown)
    if document.has_python:
        raise SceneError(
            f"{shown}: a VRT with a pixel function in Python, which is code and is never run "
            "(write its result to a GeoTIFF)"
        )
    check_leave(document.network, shown=shown, allow_network=allow_network)
    folder = _folder(path)
    for name in dict.fromkeys((s.text, s.is_relative, s.is_raw) for s in document.sources):
        text, is_relative, is_raw = name
        yield from _checked(
            text,
            path=_resolved(text, folder if is_relative else None),
            is_raw=is_raw,
            shown=shown,
            nested=lambda inner: vrt_sources(
                inner, shown=shown, allow_network=allow_network, seen=(*seen, path)
            ),
        )


def check_sidecars(path: str, *, shown: str, allow_network: bool) -> None:
    """Refuse a mask or overview beside a file that is XML, and what its ``.aux.xml`` may not name.

    GDAL opens them by any driver that fits: XML there would be a VRT or a service on the network.

    Raises
    ------
    SceneError
        Which names the sidecar.
    """
    for suffix in SIDECARS:
        if Path(path + suffix).is_file() and _starts_as_xml(path + suffix):
            raise SceneError(
                f"{shown}{suffix}: XML, where a raster is expected (take it away, or make it again)"
            )
    if not Path(f"{path}.aux.xml").is_file():
        return
    shown = f"{shown}.aux.xml"
    try:
        document = _read(f"{path}.aux.xml", shown=shown)
    except SceneError as exc:
        if isinstance(exc.__cause__, expat.ExpatError):
            return  # GDAL reads nothing of it either
        raise
    check_leave(document.network, shown=shown, allow_network=allow_network)
    for source in document.sources:
        check_overview_name(source.text, path=path, shown=shown)


def check_leave(name: str | None, *, shown: str, allow_network: bool) -> None:
    """Refuse a name on the network that a file holds, unless leave was given.

    Raises
    ------
    SceneError
        Which names the file and the option.
    """
    if name is not None and is_network_name(name) and not allow_network:
        raise SceneError(
            f"{shown}: it names {redacted(name)} "
            "(--allow-network lets GDAL open what is not a local file)"
        )


def check_overview_name(text: str, *, path: str, shown: str) -> None:
    """Refuse an ``OVERVIEW_FILE`` that is no raster file; raises what `check_sidecars` does."""
    if is_network_name(text):
        return  # leave was given, or it was refused before
    name = text.replace(":::BASE:::", f"{_folder(path)}/")
    for _ in _checked(name, path=_resolved(name, None), is_raw=False, shown=shown, nested=iter):
        pass


def _starts_as_xml(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def _checked(
    text: str, *, path: str, is_raw: bool, shown: str, nested: Callable[[str], Iterator[str]]
) -> Iterator[str]:
    """Yield one source, and what it is made of itself, after it was found to be a raster file."""
    if is_network_name(text):
        yield text
        return
    if _CONNECTION.match(text) or text.lstrip().startswith("<"):
        raise SceneError(
            f"{shown}: made of {text[:120]!r}, which is no file name (make it of raster files)"
        )
    head = read_head(path, shown=f"{shown}: its source {path}")
    if is_vrt(head):
        yield from nested(path)
    elif not (is_raw or is_scene_head(head) or is_envi(path)):
        kind = foreign_kind(head, size=Path(path).stat().st_size) or "no raster of a known format"
        raise SceneError(f"{shown}: its source {path}: {kind}")
    yield path


def _resolved(text: str, folder: str | None) -> str:
    return text if is_network_name(text) else str(Path(folder or Path.cwd(), text))


def _folder(path: str) -> str:
    """Return the folder that relative names start at; a link is followed once, as GDAL does."""
    folder = Path(path).parent
    if Path(path).is_symlink():
        folder = Path(folder, Path(path).readlink()).parent
    return str(folder)


def _read(path: str, *, shown: str) -> _Document:
    size = Path(path).stat().st_size
    if size > MOST_BYTES:
        raise SceneError(
            f"{shown}: an XML file of {size} bytes (at most {MOST_BYTES}; make a mosaic of parts)"
        )
    reader = _Reader()
    try:
        reader.parse(Path(path).read_bytes())
    except (expat.ExpatError, LookupError, ValueError) as exc:
        raise SceneError(f"{shown}: no well-formed XML: {exc} (write the VRT again)") from exc
    return reader.document


class _Reader:
    """Walks the XML once, with a bounded memory of where it is."""

    def __init__(self) -> None:
        self.document = _Document()
        self._open: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []

    def parse(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.Parse(data, True)  # noqa: FBT003  expat takes it by position only

    def _refuse(self, *_: object) -> None:
        raise ValueError("a document type or entities, which no VRT has")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append((tag, attributes))
        self._text.clear()
        if "Python" in (attributes.get("PixelFunctionLanguage", "")):
            self.document.has_python = True

    def _end(self, tag: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        _, attributes = self._open.pop()
        if tag == "PixelFunctionLanguage" and text.lower() == "python":
            self.document.has_python = True
        is_item = tag in {"MDI", "Item"}
        key = attributes.get("key", attributes.get("name", ""))
        if tag in SOURCE_TAGS or (is_item and key == SOURCE_KEY):
            self._add_source(text, attributes)
        elif is_network_name(text) and (key in GUARDED_KEYS or not (is_item or tag == "SRS")):
            self.document.network = self.document.network or text

    def _add_source(self, text: str, attributes: dict[str, str]) -> None:
        is_relative = attributes.get("relativeToVRT", attributes.get("relativetoVRT", "0")) == "1"
        is_raw = any(a.get("subClass") == "VRTRawRasterBand" for _, a in self._open)
        self.document.sources.append(_Source(text, is_relative, is_raw))
        if is_network_name(text):
            self.document.network = self.document.network or text
