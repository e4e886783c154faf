"""The wheel: built without network, installed where the checkout is out of sight, and used."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from architecture import FOLDERS, ROOT
from scenes import open_raster, read_raster

pytestmark = pytest.mark.slow

SCENE = ROOT / "sample_tiles" / "massachusetts" / "18778720.tif"
FILES = ("pyproject.toml", "README.md", "LICENSE")
ORIGINS = """
import json, sys
import geop2p, geop2p.cli.main, geop2p.pipelines.translate, geop2p.raster.scene, torch
finders = [type(finder).__module__ for finder in sys.meta_path] + list(sys.modules)
print(json.dumps({
    "ours": [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "geop2p"],
    "torch": torch.__file__,
    "path": sys.path,
    "editable": [name for name in finders if "editable" in name],
}))
"""


def run(*words, cwd):
    """Run a command; return its stdout. pip may ask no index, Python may look nowhere else."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    words = [str(word) for word in words]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the sources: building leaves files, and must not find old ones."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in FILES:
        shutil.copyfile(ROOT / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=source)
    (built,) = wheels.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The ``bin`` folder of a fresh environment with the wheel and the dependencies of this one.

    A plain path in a .pth file shows the dependencies; unlike a site folder, its own .pth files are
    not run, so the editable install of the checkout is not seen.
    """
    venv = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv)
    python = venv / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", wheel, cwd=venv)
    site = Path(
        run(
            python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv
        ).strip()
    )
    site.joinpath("dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return venv / "bin"


def test_the_wheel_holds_every_source_and_data_file_and_one_top_level_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        "/".join([*package.split("."), *path.relative_to(ROOT / folder).parts])
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == sources


def test_the_installed_package_does_not_use_the_checkout(installed, tmp_path):
    found = json.loads(run(installed / "python", "-c", ORIGINS, cwd=tmp_path))
    assert len(found["ours"]) > 10
    assert all(Path(file).is_relative_to(installed.parent) for file in found["ours"])
    assert not Path(found["torch"]).is_relative_to(installed.parent)
    assert str(ROOT) not in found["path"]
    assert found["editable"] == []


def test_the_command_and_the_module_tell_the_version(installed, tmp_path):
    version = run(installed / "geop2p", "--version", cwd=tmp_path)
    assert version == run(installed / "python", "-m", "geop2p", "--version", cwd=tmp_path)
    assert version.startswith("geop2p, version ")


def test_the_default_model_translates_a_sample_outside_of_the_repository(installed, tmp_path):
    shutil.copyfile(SCENE, tmp_path / "scene.tif")
    told = run(
        installed / "geop2p", "translate", "scene.tif", "--out", "map.tif", "--json", cwd=tmp_path
    )
    report = json.loads(told)
    with open_raster(tmp_path / "scene.tif") as scene, open_raster(tmp_path / "map.tif") as drawn:
        assert (drawn.shape, drawn.crs, drawn.transform) == (
            scene.shape,
            scene.crs,
            scene.transform,
        )
    assert (read_raster(tmp_path / "map.tif")[1] == read_raster(SCENE)[1]).all()
    assert (report["model"], report["tiles"] > 0) == ("streets", True)
