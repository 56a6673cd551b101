"""Models: a fast BLAS, devices, random or loaded weights, tokenizers, generation, the exported folder.

Nothing here imports mlx at import time: the coordinator and the root read these modules and must stay light.
"""
