"""A strip painted in the lane: what a generator must not do, what is filled, where it goes."""

import numpy as np
import pytest
import torch
from scenes import identity, landscape, random_model, read_raster, write_scene

import geop2p
from geop2p.errors import ModelError


@pytest.mark.parametrize("fault", ["inside", "beyond the scene"])
def test_nan_anywhere_in_a_picture_is_an_error(tmp_path, fault):
    def broken(tiles):
        drawn = tiles.clone()
        place = 0 if fault == "inside" else -1
        drawn[-1, 0, place, place] = float("nan")
        return drawn

    scene = write_scene(tmp_path / "scene.tif", landscape(3, 300, 500))
    with pytest.raises(ModelError, match="the generator drew NaN"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=broken, strip_rows=1)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_collars_are_filled_where_reflections_show_them(tmp_path):
    seen = []

    def watching(tiles):
        seen.extend((float(tile.min()), float(tile.max())) for tile in tiles)
        return tiles

    valid = np.ones((260, 300), bool)
    valid[:100] = False  # the second tile row shows it only by reflection
    pixels = np.where(valid, 200, 0).astype(np.uint8)[np.newaxis].repeat(3, axis=0)
    scene = write_scene(tmp_path / "scene.tif", pixels, valid=valid)
    geop2p.translate(scene, tmp_path / "map.tif", generator=watching)
    level = 200 / 255 * 2 - 1
    assert all(ends == pytest.approx((level, level), abs=1e-6) for ends in seen)


def test_generators_get_channels_last_batches_of_at_most_the_batch_size(tmp_path):
    sizes = []

    def watching(tiles):
        assert tiles.is_contiguous(memory_format=torch.channels_last)
        sizes.append(len(tiles))
        return tiles

    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 700))
    options = {"generator": watching, "batch_size": 5, "strip_rows": 100}
    geop2p.translate(scene, tmp_path / "map.tif", **options)
    assert sizes == [5, 5, 5, 1]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_identity_on_a_gpu_draws_what_a_cpu_draws(tmp_path, dtype):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    valid = np.ones((700, 900), bool)
    valid[:300, :400] = False
    scene = write_scene(tmp_path / "s.tif", landscape(3, 700, 900).astype(dtype), valid=valid)
    for device in ("cpu", "cuda"):
        out, options = tmp_path / f"{device}.tif", {"generator": identity, "stretch": "0,200"}
        geop2p.translate(scene, out, device=device, strip_rows=1, **options)
    assert np.array_equal(*(read_raster(tmp_path / f"{x}.tif")[0] for x in ("cpu", "cuda")))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_map_made_on_a_gpu_is_the_same_every_time_whatever_the_strips(tmp_path, precision):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    model = random_model(tmp_path / "random.safetensors")
    scene = write_scene(tmp_path / "scene.tif", landscape(3, 700, 900))
    options = {"model": model, "device": "cuda", "precision": precision, "batch_size": 4}
    maps = [
        geop2p.translate(scene, tmp_path / f"{rows}.tif", strip_rows=rows, **options)
        for rows in (1, 2, 100)
    ]
    assert len({each.sha256 for each in maps}) == 1
