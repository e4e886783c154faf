"""The rules that modules keep, checked on their source without importing it.

A module is named as it is installed: ``cli/main.py`` is ``geop2p.cli.main``. Imports count wherever
they stand, inside functions too.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"cli": "geop2p.cli", "pipelines": "geop2p.pipelines", "geop2p": "geop2p"}
"""Folder at the top of the repository: the package that it is installed as."""
EXEMPT = ("geop2p", "geop2p.__main__")
"""Re-exports the workflows lazily; calls the command line."""
RANKS = {"geop2p.cli": 2, "geop2p.pipelines": 1}
"""A module imports only modules of its own rank or below; the library has rank 0."""
HOMES = {
    "rasterio": ("geop2p.raster",),
    "shapely": ("geop2p.vector",),
    "pyogrio": ("geop2p.vector",),
    "PIL": ("geop2p.pairs", "geop2p.raster"),
    "safetensors": ("geop2p.model",),
    "torchmetrics": ("geop2p.metrics", "geop2p.inception"),
    "matplotlib": ("geop2p.plots",),
    "distributed": ("geop2p.pipelines",),
    "dask": ("geop2p.pipelines",),
    "click": ("geop2p.cli",),
    "filelock": ("geop2p.locking",),
    "rio_cogeo": ("geop2p.raster",),
    "rich": ("geop2p.cli",),
}
WITHOUT_TORCH = ("grid", "radiometry", "raster", "vector", "blend", "palette")
VAGUE_NAMES = ("utils", "util", "helpers", "common", "misc")
MOST_LINES, MOST_FUNCTION_LINES = 450, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module's installed name, its source's number of lines, and what it imports."""

    name: str
    tree: ast.Module
    lines: int
    imports: frozenset[str]


def findings(root: Path) -> list[str]:
    """Return every breach of a rule in the tree of the repository at ``root``, as a sentence."""
    modules = read_modules(root)
    checked = {name: module for name, module in modules.items() if name not in EXEMPT}
    found = [*_wrong_directions(checked), *_cycles(checked), *_torch_where_none_is(checked)]
    for module in modules.values():
        found += [*_strays(module), *_top_level_imports(module.name, module.imports)]
        found += _oversizes(module)
    return sorted(found)


def read_modules(root: Path) -> dict[str, Module]:
    """Return the modules of the three packages, by installed name."""
    files = {}
    for folder, package in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join([package, *parts]).removesuffix(".__init__")
            files[name] = (path.read_text(encoding="utf-8"), path.name == "__init__.py")
    return {
        name: _parse(name, source, is_package=is_package, known=files)
        for name, (source, is_package) in files.items()
    }


def imported_names(
    tree: ast.Module, *, package: str = "", known: Mapping[str, object] = {}
) -> Iterator[str]:
    """Yield the dotted name of everything that is imported, at any level of the source.

    ``from a import b`` is ``a.b`` where that is a known module, else ``a``; relative imports count
    from ``package``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield name if name in known else source


def _parse(name: str, source: str, *, is_package: bool, known: Mapping[str, object]) -> Module:
    tree = ast.parse(source)
    package = name if is_package else name.rpartition(".")[0]
    return Module(
        name=name,
        tree=tree,
        lines=len(source.splitlines()),
        imports=frozenset(imported_names(tree, package=package, known=known)),
    )


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _rank(name: str) -> int:
    return max((rank for package, rank in RANKS.items() if _is_in(name, (package,))), default=0)


def _wrong_directions(modules: Mapping[str, Module]) -> Iterator[str]:
    for module in modules.values():
        for name in module.imports:
            if _is_in(name, ("geop2p",)) and _rank(name) > _rank(module.name):
                yield f"{module.name} imports {name}, which lies above it"


def _reach(modules: Mapping[str, Module], start: str) -> set[str]:
    """Return every module of ours that ``start`` imports, directly or through others."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = (modules[waiting.pop()].imports & modules.keys()) - reached
        reached |= new
        waiting += new
    return reached


def _cycles(modules: Mapping[str, Module]) -> Iterator[str]:
    for name in modules:
        if name in _reach(modules, name):
            yield f"{name} imports itself, through others or directly"


def _torch_where_none_is(modules: Mapping[str, Module]) -> Iterator[str]:
    """The command line imports torch's users inside its commands, so only it may reach torch."""
    with_torch = {
        name
        for name, module in modules.items()
        if any(_is_in(i, ("torch",)) for i in module.imports)
    }
    pure = tuple(f"geop2p.{name}" for name in WITHOUT_TORCH)
    for name in modules:
        if name in with_torch and _is_in(name, (*pure, "geop2p.cli")):
            yield f"{name} imports torch"
        if _is_in(name, pure):
            for other in sorted(_reach(modules, name) & with_torch):
                yield f"{name} imports torch by way of {other}"


def _strays(module: Module) -> Iterator[str]:
    """Yield each library that is imported outside of its home."""
    for library in sorted({name.partition(".")[0] for name in module.imports} & HOMES.keys()):
        if not _is_in(module.name, HOMES[library]):
            yield f"{module.name} imports {library}, whose home is {' or '.join(HOMES[library])}"


def _top_level_imports(where: str, imports: frozenset[str]) -> Iterator[str]:
    for name in sorted(imports):
        if _is_in(name, ("cli", "pipelines")):
            yield f"{where} imports {name} (write geop2p.{name})"


def top_level_imports(path: Path) -> list[str]:
    """Return the imports of a top-level ``cli`` or ``pipelines`` in a file outside the packages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return list(_top_level_imports(path.name, frozenset(imported_names(tree))))


def _oversizes(module: Module) -> Iterator[str]:
    if module.lines > MOST_LINES:
        yield f"{module.name} has {module.lines} lines (at most {MOST_LINES})"
    if module.name.rpartition(".")[2] in VAGUE_NAMES:
        yield f"{module.name} has no noun for a name"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                yield f"{module.name}.{node.name} has {lines} lines (at most {MOST_FUNCTION_LINES})"
