"""Put a generator among those that ship: its file, and the checksum by which it is known again.

    python benchmarks/models/bundle.py NAME MODEL.safetensors

The model is read whole first; what is no sound model, or is called otherwise on its card, is
refused. The file becomes ``geop2p/models/NAME.safetensors``, its SHA-256 an entry of
``checksums.json`` there, without which geop2p takes a bundled file for damaged.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from geop2p.documents import read_json
from geop2p.errors import Geop2pError, ModelError
from geop2p.model import load_model
from geop2p.writing import file_sha256, write_atomically

MODELS = Path(__file__).parents[2] / "geop2p" / "models"
CHECKSUMS = "checksums.json"


def main(arguments: Sequence[str]) -> None:
    """Bundle the named model, or say in one line why not."""
    if len(arguments) != 2:
        sys.exit("python benchmarks/models/bundle.py NAME MODEL.safetensors")
    name, model = arguments
    try:
        sha256 = bundle(name, Path(model), folder=MODELS)
    except Geop2pError as exc:
        sys.exit(str(exc))
    print(f"{MODELS / name}.safetensors: SHA-256 {sha256}")


def bundle(name: str, model: Path, *, folder: Path) -> str:
    """Copy a model to ``NAME.safetensors``, enter its checksum; return that.

    Raises
    ------
    ModelError
        When the name is none, or the file no sound model of that name.
    OutputError
        When the folder cannot be written to.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ModelError(f"{name!r} is no name (expected a-z, 0-9, - and _ alone)")
    loaded = load_model(model.resolve())
    if loaded.card.name != name:
        raise ModelError(
            f"{model}: its card calls it {loaded.card.name!r}, not {name!r} (train it, or resume "
            f"its run, with --name {name})"
        )
    checksums = folder / CHECKSUMS
    known = read_json(checksums) if checksums.exists() else {}
    write_atomically(folder / f"{name}.safetensors", model.read_bytes())
    sha256 = file_sha256(folder / f"{name}.safetensors")
    entries = json.dumps(known | {name: sha256}, indent=2, sort_keys=True)
    write_atomically(checksums, f"{entries}\n".encode())
    return sha256


if __name__ == "__main__":
    main(sys.argv[1:])
