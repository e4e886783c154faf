"""TorchScript files, as tools that measure with Inception share it."""

import warnings

import torch


def write_torchscript(path, module):
    """Write a module; return its path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as a whole
        torch.jit.save(torch.jit.script(module), path)
    return path
