"""What a worker elsewhere must have before it is given work: the same software, scene and model."""

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from distributed import get_worker

from geop2p.version import __version__

PACKAGES = ("distributed", "numpy", "rasterio", "torch")
"""Another version of these may refuse to talk, or draw other pixels."""
_HEAD = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSight:
    """A file as it is seen here: its size, and the SHA-256 of its first ``hashed`` bytes."""

    path: str
    size: int
    hashed: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a worker must have.

    Parameters
    ----------
    versions : dict
        By package, and ``python`` and ``geop2p``.
    files : dict
        ``scene``, where workers read it, and ``model``, where there is one.
    device : str
        Where the generator is to run.
    """

    versions: Mapping[str, str]
    files: Mapping[str, FileSight]
    device: str


def needs_of(*, device: str, scene: str | None = None, model: str | None = None) -> Needs:
    """Return what this process has, as workers must have it; only whole models are hashed."""
    files = {}
    if scene is not None and Path(scene).is_file():
        files["scene"] = _sight(scene, _HEAD)
    if model is not None:
        files["model"] = _sight(model, Path(model).stat().st_size)
    return Needs(versions=_versions(), files=files, device=device)


def inspect(needs: Needs) -> str | None:
    """Run on a worker: return its name and what it lacks, or None when it is fit."""
    found = [*_other_versions(needs), *_other_files(needs)]
    if needs.device != "cpu" and not torch.cuda.is_available():
        found.append(f"has no usable GPU for --device {needs.device}")
    return f"worker {get_worker().name}: {'; '.join(found)}" if found else None


def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "geop2p": __version__} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _other_versions(needs: Needs) -> list[str]:
    here = _versions()
    return [
        f"{name} {here.get(name, 'none')} (expected {wanted})"
        for name, wanted in needs.versions.items()
        if here.get(name) != wanted
    ]


def _other_files(needs: Needs) -> list[str]:
    found = []
    for what, wanted in needs.files.items():
        try:
            is_same = _sight(wanted.path, wanted.hashed) == wanted
        except OSError as exc:
            found.append(f"cannot read the {what} {wanted.path}: {exc.strerror}")
            continue
        if not is_same:
            found.append(f"sees another file as the {what} {wanted.path}")
    return found


def _sight(path: str, hashed: int) -> FileSight:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        remaining = hashed
        while remaining and (block := file.read(min(remaining, 2**20))):
            digest.update(block)
            remaining -= len(block)
    return FileSight(path=path, size=size, hashed=hashed, sha256=digest.hexdigest())
