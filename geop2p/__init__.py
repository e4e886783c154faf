"""geop2p: turn large satellite and aerial scenes into maps with pix2pix generators.

Axes, everywhere: (N, C, H, W) is tiles, bands, rows, columns; K stands for the map's bands. Sizes
are (height, width), positions (row, col), bounds (left, bottom, right, top).

Importing geop2p is quick: the names below are fetched when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geop2p.version import __version__

if TYPE_CHECKING:
    from geop2p.card import ModelCard
    from geop2p.errors import (
        CheckpointError,
        ClusterError,
        DiskFullError,
        Geop2pError,
        ModelError,
        NothingToDoError,
        OptionError,
        OutOfMemoryError,
        OutputError,
        PairsError,
        SceneError,
        TrainingError,
        VerificationError,
    )
    from geop2p.model import load_model, save_model
    from geop2p.pipelines.evaluate import evaluate
    from geop2p.pipelines.evaluation_report import EvaluateReport
    from geop2p.pipelines.prepare import PrepareReport, prepare
    from geop2p.pipelines.quantize import QuantizeReport, quantize
    from geop2p.pipelines.train import TrainReport, train
    from geop2p.pipelines.translate import translate
    from geop2p.pipelines.translate_many import SceneOutcome, translate_many
    from geop2p.pipelines.translation_report import TranslateReport

_HOMES = {
    "VerificationError": "geop2p.errors",
    "OutOfMemoryError": "geop2p.errors",
    "NothingToDoError": "geop2p.errors",
    "DiskFullError": "geop2p.errors",
    "ClusterError": "geop2p.errors",
    "CheckpointError": "geop2p.errors",
    "EvaluateReport": "geop2p.pipelines.evaluation_report",
    "Geop2pError": "geop2p.errors",
    "ModelCard": "geop2p.card",
    "ModelError": "geop2p.errors",
    "OptionError": "geop2p.errors",
    "OutputError": "geop2p.errors",
    "PairsError": "geop2p.errors",
    "PrepareReport": "geop2p.pipelines.prepare",
    "QuantizeReport": "geop2p.pipelines.quantize",
    "SceneError": "geop2p.errors",
    "SceneOutcome": "geop2p.pipelines.translate_many",
    "TrainReport": "geop2p.pipelines.train",
    "TrainingError": "geop2p.errors",
    "TranslateReport": "geop2p.pipelines.translation_report",
    "evaluate": "geop2p.pipelines.evaluate",
    "load_model": "geop2p.model",
    "prepare": "geop2p.pipelines.prepare",
    "quantize": "geop2p.pipelines.quantize",
    "save_model": "geop2p.model",
    "train": "geop2p.pipelines.train",
    "translate": "geop2p.pipelines.translate",
    "translate_many": "geop2p.pipelines.translate_many",
}

__all__ = [
    "CheckpointError",
    "ClusterError",
    "DiskFullError",
    "EvaluateReport",
    "Geop2pError",
    "ModelCard",
    "ModelError",
    "NothingToDoError",
    "OptionError",
    "OutOfMemoryError",
    "OutputError",
    "PairsError",
    "PrepareReport",
    "QuantizeReport",
    "SceneError",
    "SceneOutcome",
    "TrainReport",
    "TrainingError",
    "TranslateReport",
    "VerificationError",
    "__version__",
    "evaluate",
    "load_model",
    "prepare",
    "quantize",
    "save_model",
    "train",
    "translate",
    "translate_many",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module's names are of any type
    """Fetch a public name from its home, and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geop2p' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
