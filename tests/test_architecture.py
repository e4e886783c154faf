"""The direction of imports, the homes of libraries, the sizes; and that the judge sees breaches."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest
from architecture import FOLDERS, HOMES, ROOT, findings, read_modules, top_level_imports

from geop2p.cli.main import COMMANDS

HEAVY = ("torch", "dask", "distributed", "rasterio")
NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.json")
PLANTS = {
    "geop2p/planted.py": ("import rasterio", "planted imports rasterio, whose home"),
    "geop2p/radiometry.py": ("def f():\n    from torch import nn", "radiometry imports torch"),
    "geop2p/palette.py": ("import geop2p.networks", "palette imports torch by way of"),
    "geop2p/raster/scene.py": ("from geop2p.raster import aligning", "imports itself"),
    "geop2p/grid.py": ("from geop2p.pipelines.strips import Stopwatch", "which lies above it"),
    "geop2p/errors.py": ("from .cli import main", "imports geop2p.cli.main, which lies above"),
    "pipelines/strips.py": ("import geop2p.cli.main", "imports geop2p.cli.main, which lies above"),
    "cli/info.py": ("def f():\n    import torch", "geop2p.cli.info imports torch"),
    "cli/models.py": ("from cli.output import Output", "imports cli.output (write geop2p.cli"),
    "cli/helpers.py": ("import json", "geop2p.cli.helpers has no noun for a name"),
    "geop2p/blend.py": ("def f():\n" + 50 * "    0\n", "geop2p.blend.f has 51 lines"),
    "pipelines/lanes.py": (450 * "\n", "lines (at most 450)"),
}


@pytest.fixture(scope="module")
def known():
    return findings(ROOT)


def test_every_rule_is_kept(known):
    assert known == []


@pytest.fixture(scope="module")
def planted(tmp_path_factory, known):
    """What is found besides in a copy of the tree with all `PLANTS`."""
    tree = tmp_path_factory.mktemp("planted")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=NO_SOURCE)
    for file, (source, _expected) in PLANTS.items():
        with (tree / file).open("a", encoding="utf-8") as module:
            module.write(f"\n{source}\n")
    return set(findings(tree)) - set(known)


@pytest.mark.parametrize("file", PLANTS)
def test_a_planted_breach_is_seen(planted, file):
    _source, expected = PLANTS[file]
    assert any(expected in finding for finding in planted)


def test_every_library_is_used_in_its_home():
    used = {name.partition(".")[0] for m in read_modules(ROOT).values() for name in m.imports}
    assert used >= HOMES.keys()


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "docs"])
def test_nothing_else_imports_top_level_cli_or_pipelines(folder):
    assert [
        found for path in (ROOT / folder).rglob("*.py") for found in top_level_imports(path)
    ] == []


def test_every_package_is_listed_for_the_wheel():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        f"{package}.{'.'.join(path.parent.relative_to(ROOT / folder).parts)}".rstrip(".")
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert folders == set(setuptools["packages"])
    assert setuptools["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


def test_help_imports_neither_torch_nor_dask_nor_rasterio():
    program = f"""
import contextlib, io, json, sys
from geop2p.cli.main import COMMANDS, geop2p
seen = {{}}
for arguments in [["--help"], *([name, "--help"] for name in COMMANDS)]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        geop2p.main(arguments, standalone_mode=False)
    seen[" ".join(arguments)] = [len(out.getvalue()), *sorted({{*{HEAVY}}} & set(sys.modules))]
print(json.dumps(seen))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    seen = json.loads(done.stdout)
    assert len(seen) == 1 + len(COMMANDS)
    assert all(length > 200 and not heavy for length, *heavy in seen.values()), seen
