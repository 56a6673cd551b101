"""Checkpoints that nobody can lose: written aside, synced, hashed, renamed; read newest first, verified or set aside.

durable          what it takes that bytes survive a power cut
arrays           mlx and numpy arrays as raw little-endian bytes
hashing          digests of tensors, the hash of all parameters, the identity of a model
safetensors_file one file of tensors, hashed while it is written and read
manifest         the proof that a checkpoint is complete
layout           names of folders, LATEST, the quarantine
draft            a checkpoint being written: step-N.tmp -> step-N
writer           the actor around it
reader           the newest good one; verification; loading
retention        which ones may go (pure)
export           a plain mlx-lm model folder
"""
