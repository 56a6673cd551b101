"""Which dtype a device stores parameters in, computes in, and sends gradients in. Pure.

    model.dtype   float32                  bfloat16                   float16
    CPU           all in fp32              16-bit storage, computing in fp32: products in 16 bit are 8 times slower
    GPU           all in fp32              16-bit storage and computing (the loss is scaled for float16)

Wherever parameters are stored in 16 bit, the optimizer has fp32 masters, and gradients are summed in fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from runtime.collectives import WireDtype
from runtime.config.schema import Config
from runtime.models.device import DeviceKind
from runtime.models.load import resolve_dtype


@dataclass(frozen=True)
class Precision:
    """The dtypes of one device."""

    storage: mx.Dtype
    compute: mx.Dtype
    """Of the forward and the backward pass."""


def precision_of(dtype: str, kind: DeviceKind) -> Precision:
    """From `model.dtype` and the kind of device."""
    storage: mx.Dtype = getattr(mx, resolve_dtype(dtype, kind))
    return Precision(storage, mx.float32 if kind is DeviceKind.CPU else storage)


def wire_dtype(config: Config, kind: DeviceKind) -> WireDtype:
    """What `sync.wire_dtype` means here: "auto" is what backward yields, as far as the wire has it, and as far as no
    bit may depend on the number of workers (`run.deterministic`): else float32. Workers of one machine share memory,
    where to round takes twice as long as to send all of it (256 MiB, 2 workers: 0.26 s and 0.13 s)."""
    if config.sync.wire_dtype != "auto":
        return WireDtype[config.sync.wire_dtype.upper()]
    in_bfloat16 = precision_of(config.model.dtype, kind).compute == mx.bfloat16
    is_far = bool(config.cluster.hosts)
    return WireDtype.BFLOAT16 if in_bfloat16 and is_far and not config.run.deterministic else WireDtype.FLOAT32
