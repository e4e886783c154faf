"""What of a damaged scene can be decoded is translated, the rest is masked and counted."""

import numpy as np
import pytest
import rasterio
from scenes import identity, noise, open_raster, read_raster, write_scene

import geop2p
from geop2p.errors import SceneError
from geop2p.raster.scene import OrderedRows, SceneSource, open_scene, open_source

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def damage(path, *, block, band=1):
    """Overwrite one block of a compressed GeoTIFF; return nothing, the file is changed."""
    col, row = block
    with open_raster(path) as dataset:
        tags = [
            dataset.get_tag_item(f"BLOCK_{name}_{col}_{row}", "TIFF", bidx=band)
            for name in ("OFFSET", "SIZE")
        ]
    offset, size = map(int, tags)
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)


def lenient(path, **options):
    return SceneSource(path=str(path), on_read_error="nodata", **options)


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd"])
@pytest.mark.parametrize("strip_rows", [1, 100])
def test_the_block_that_cannot_be_decoded_is_masked_and_counted_once(
    tmp_path, compress, strip_rows
):
    pixels = noise(3, 600, 200)
    scene = write_scene(tmp_path / "scene.tif", pixels, compress=compress, **TILED)
    for block in ((1, 3), (0, 0), (2, 9)):
        damage(scene, block=block)
    lost = np.zeros((600, 200), bool)
    lost[192:256, 64:128] = lost[:64, :64] = lost[576:, 128:192] = True
    with pytest.raises(SceneError, match=r"cannot be read.*--on-read-error nodata"):
        geop2p.translate(scene, tmp_path / "map.tif", generator=identity)
    report = geop2p.translate(
        scene,
        tmp_path / "map.tif",
        generator=identity,
        on_read_error="nodata",
        strip_rows=strip_rows,
        preview=tmp_path / "preview.png",
    )
    found, valid = read_raster(tmp_path / "map.tif")
    assert np.array_equal(valid, ~lost)
    assert np.array_equal(found[:, valid], pixels[:, valid])
    assert report.pixels_invalid == np.count_nonzero(lost)
    assert report.blocks_unreadable == 3


def test_a_block_of_one_band_masks_that_block(tmp_path):
    pixels = noise(3, 200, 200)
    scene = write_scene(
        tmp_path / "scene.tif", pixels, compress="deflate", interleave="band", **TILED
    )
    damage(scene, block=(1, 1), band=2)
    with open_source(lenient(scene)) as opened:
        valid = opened.read(rows=(0, 200))[1]
        assert opened.unreadable == {(64, 64)}
    assert np.flatnonzero(~valid.all(axis=1)).tolist() == list(range(64, 128))


def test_a_damaged_mask_file_masks_its_blocks(tmp_path):
    scene = tmp_path / "scene.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False):
        write_scene(scene, noise(1, 200, 200), **TILED)
        with open_raster(scene, "r+") as dataset:
            is_valid = np.random.default_rng(0).random((200, 200)) > 0.5
            dataset.write_mask(is_valid)
    damage(tmp_path / "scene.tif.msk", block=(0, 0))
    with pytest.raises(SceneError, match="cannot be read"), open_scene(scene) as opened:
        opened.read(rows=(0, 200))
    with open_source(lenient(scene)) as opened:
        valid = opened.read(rows=(0, 200))[1]
    is_valid[:64, :64] = False
    assert np.array_equal(valid, is_valid)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_the_rows_of_a_truncated_png_above_the_end_are_kept(tmp_path, share):
    pixels = noise(3, 300, 120)
    path = write_scene(tmp_path / "scene.png", pixels, driver="PNG", crs=None, transform=None)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with open_source(lenient(path)) as opened:
        ordered = OrderedRows(opened)
        spans = [(row, min(row + 60, 300)) for row in range(0, 300, 50)]
        parts = [ordered.read(rows=span) for span in spans]
        lost = {row for row, _ in opened.unreadable}
    valid = np.concatenate([part[1][:50] for part in parts])
    kept = np.count_nonzero(valid.all(axis=1))
    assert 300 * share - 40 < kept < 300 * share + 10  # libpng reads ahead
    assert lost == set(range(kept, 300))
    found = np.concatenate([part[0][:, :50] for part in parts], axis=1)
    assert np.array_equal(found[:, :kept], pixels[:, :kept])


@pytest.mark.parametrize("name", ["scene.png", "scene.jpg"])
def test_a_truncated_picture_fails_or_is_translated_as_far_as_it_goes(tmp_path, name):
    driver = "PNG" if name.endswith("png") else "JPEG"
    path = write_scene(tmp_path / name, noise(3, 600, 200), driver=driver, crs=None, transform=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match="cannot be read"):
        geop2p.translate(path, tmp_path / "map.tif", generator=identity)
    report = geop2p.translate(
        path, tmp_path / "map.tif", generator=identity, on_read_error="nodata", strip_rows=1
    )
    valid = read_raster(tmp_path / "map.tif")[1]
    assert 0.3 < valid.mean() < 0.7
    assert report.blocks_unreadable == np.count_nonzero(~valid.all(axis=1))


def test_a_truncated_tiff_of_rows_keeps_its_first_rows(tmp_path):
    pixels = noise(1, 400, 100)
    scene = write_scene(tmp_path / "scene.tif", pixels, blockysize=8, compress="deflate")
    content = scene.read_bytes()
    scene.write_bytes(content[: len(content) // 2])
    try:
        with open_source(lenient(scene)) as opened:
            found, valid = opened.read(rows=(0, 400))
    except SceneError:
        return  # the directory was at the end
    assert 0.3 < valid.mean() < 0.7
    assert np.array_equal(found[0][valid], pixels[0][valid])


def test_a_huge_strip_is_read_in_order_and_kept_up_to_the_fault(tmp_path):
    pixels = np.broadcast_to(noise(1, 1, 9000), (1, 9000, 9000))
    scene = write_scene(
        tmp_path / "scene.tif", pixels, blockysize=9000, compress="deflate", zlevel=1
    )
    content = bytearray(scene.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    scene.write_bytes(content)
    with open_source(lenient(scene, max_pixels=9000 * 9000)) as opened:
        assert opened.spec.is_sequential
        found, valid = opened.read(rows=(3000, 6000))
    kept = np.count_nonzero(valid.all(axis=1))
    assert 500 < kept < 2500
    sure = kept - 20  # deflate may decode some nonsense before it notices
    assert np.array_equal(found[:, :sure], pixels[:, 3000 : 3000 + sure])
