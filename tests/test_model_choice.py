"""A model or a generator: one of them, and of a kind that can be run."""

import pytest
from scenes import noise, random_model, write_scene

from geop2p.errors import OptionError
from geop2p.pipelines.translate import translate


@pytest.mark.parametrize("generator", [5, "streets", [1]])
def test_a_generator_that_is_no_function_is_refused(tmp_path, generator):
    scene = write_scene(tmp_path / "s.tif", noise(3, 32, 32))
    with pytest.raises(OptionError, match="generator is a"):
        translate(scene, out=tmp_path / "m.tif", generator=generator)


def test_a_model_beside_a_generator_is_refused(tmp_path):
    scene = write_scene(tmp_path / "s.tif", noise(3, 32, 32))
    model = random_model(tmp_path / "m.safetensors")
    with pytest.raises(OptionError, match="give one of them"):
        translate(scene, out=tmp_path / "m.tif", model=model, generator=lambda tiles: tiles)
