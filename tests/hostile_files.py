"""Files that try to run code, or to be taken for models and checkpoints."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import torch


class Canary:
    """Makes a file when its pickle is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def pickled(path):
    return pickle.dumps({"weights": Canary(path)}, protocol=2)


def torch_archive(path):
    content = io.BytesIO()
    torch.save({"format": 1, "weights": Canary(path)}, content)
    return content.getvalue()


def legacy_torch(path):
    content = io.BytesIO()
    torch.save({"w": Canary(path)}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def torch_tar(path):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            entry = tarfile.TarInfo(name)
            entry.size = len(pickled(path))
            archive.addfile(entry, io.BytesIO(pickled(path)))
    return content.getvalue()


def numpy_array(path):
    content = io.BytesIO()
    np.save(content, np.array([Canary(path)], dtype=object), allow_pickle=True)
    return content.getvalue()


def numpy_archive(path):
    content = io.BytesIO()
    np.savez(content, scene=np.array([Canary(path)], dtype=object))
    return content.getvalue()


def behind_a_header(path):
    """A pickle inside of what begins as a .safetensors file."""
    return (2).to_bytes(8, "little") + b"{}" + pickled(path)


def yaml_card(path):
    return f"!!python/object/apply:os.system [\"touch '{path}'\"]\n".encode()


CANARIES = {
    function.__name__: function
    for function in (
        pickled, torch_archive, legacy_torch, torch_tar, numpy_array, numpy_archive,
        behind_a_header, yaml_card,
    )
}  # fmt: skip


def zipped(entries, *, compression=zipfile.ZIP_STORED, comment=b""):
    """Return a ZIP archive of (name, content) pairs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.comment = comment
        for name, data in entries:
            archive.writestr(name, data)
    return content.getvalue()


def unzipped(content):
    """Return the (name, content) pairs of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(entry.filename, archive.read(entry)) for entry in archive.infolist()]


FOREIGN = {
    "empty": b"",
    "one byte": b"\x80",
    "text": b"weights: none\n" * 20,
    "html": b"<!DOCTYPE html><html>404</html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "tiff": b"II*\0" + bytes(100),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "zip": zipped([("a.txt", b"a")]),
    "zeros": bytes(4096),
    "gzip": b"\x1f\x8b\x08\0" + bytes(60),
}
