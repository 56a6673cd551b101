"""A child's module that never gets past its imports."""

from __future__ import annotations

import os

nobody_reads_on, nobody_writes = os.pipe()
print("importing", flush=True)
os.read(nobody_reads_on, 1)
