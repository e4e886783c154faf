"""Commands import what they use and no more: seconds of every start depend on it."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "rasterio", "dask", "distributed", "matplotlib", "numpy", "rich")
UNUSED = ("matplotlib", "torch._dynamo", "torch._inductor", "torchmetrics", "pandas", "rio_cogeo")


def imported(program, names):
    """Return which of the modules a program imports."""
    program += f"\nimport json, sys\nprint(json.dumps(sorted({{*{names}}} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    program = (
        f"from geop2p.cli.main import geop2p\ngeop2p.main([{option!r}], standalone_mode=False)"
    )
    assert imported(program, HEAVY) == []


def test_translations_import_neither_plots_nor_compilers():
    assert imported("import geop2p.pipelines.translate", UNUSED) == []
