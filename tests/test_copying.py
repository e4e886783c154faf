import errno

import numpy as np
import pytest
from scenes import noise, read_raster, write_scene

from geop2p.errors import DiskFullError, SceneError
from geop2p.raster.copying import copy_window
from geop2p.raster.scene import SceneSource, open_scene
from geop2p.writing import remove_temporaries, temporary_folder


@pytest.mark.parametrize(("bands", "dtype"), [(3, "uint8"), (4, "uint8"), (2, "float32")])
def test_a_window_keeps_its_pixels_bands_and_type(tmp_path, bands, dtype):
    pixels = noise(bands, 300, 70, dtype=dtype)
    scene = write_scene(tmp_path / "scene.tif", pixels, photometric="minisblack")
    copy = tmp_path / "copy.tif"
    copy_window(SceneSource(path=str(scene)), copy, rows=(20, 300), cols=(9, 70))
    found, valid = read_raster(copy)
    assert found.dtype == dtype
    assert (found == pixels[:, 20:, 9:]).all()
    assert valid.all()
    with open_scene(copy) as opened:
        assert opened.spec.count == bands


def test_a_window_keeps_its_mask(tmp_path):
    mask = np.ones((60, 50), bool)
    mask[30:, 20:] = False
    scene = write_scene(tmp_path / "scene.tif", noise(3, 60, 50), valid=mask)
    copy = tmp_path / "copy.tif"
    copy_window(SceneSource(path=str(scene)), copy, rows=(10, 60), cols=(5, 50))
    assert (read_raster(copy)[1] == mask[10:, 5:]).all()


def test_a_copy_that_cannot_be_written_is_named(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(3, 30, 20))
    target = tmp_path / "none" / "copy.tif"
    with pytest.raises(SceneError, match="cannot be copied"):
        copy_window(SceneSource(path=str(scene)), target, rows=(0, 30), cols=(0, 20))


def test_a_temporary_folder_is_gone_after_an_error_and_at_a_sudden_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(FileNotFoundError), temporary_folder() as folder:
        (folder / "file").rename(folder / "none" / "file")
    assert list(tmp_path.iterdir()) == []
    with temporary_folder() as folder:
        (folder / "file").write_text("x")
        remove_temporaries()
        assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_made_is_told_as_an_output(tmp_path, monkeypatch):
    def refuse(**_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DiskFullError, match="No space left"), temporary_folder():
        pass
