"""Rasters without a georeference, opened without a warning.

A scene without one is welcome: its map has none either. Python's filters of warnings belong to the
process, and whoever leaves puts back what stood there when it came. So where several threads open
rasters, the first to come sets the filter, and the last to leave takes it away.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rasterio.errors import NotGeoreferencedWarning

_LOCK = threading.Lock()
_FILTER = ExitStack()
_inside = 0


@contextmanager
def georeference_not_missed() -> Iterator[None]:
    """Let no warning come of a missing georeference, in any thread."""
    global _inside  # noqa: PLW0603  as the filters are
    with _LOCK:
        if _inside == 0:
            _FILTER.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if _inside == 0:
                _FILTER.close()
