"""The generators that ship with geop2p: ``NAME.safetensors``, one file a model."""
