"""The gRPC library, imported in one place, after its fork handlers were switched off.

Import gRPC as `from runtime.rpc.library import grpc`. Its atfork handlers hang or complain when a child is started
(children here come by exec only and never use gRPC before it), and the switch counts only before the first import.
Its own log goes to stderr past every log file of ours, and repeats what reaches us as status: quiet unless asked for.
"""

from __future__ import annotations

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio

__all__ = ["grpc"]
