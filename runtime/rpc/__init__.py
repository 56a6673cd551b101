"""Calls between processes, in trio. The rest of the runtime sees the Network protocol and these names.

    async def session(stream: Stream[ToWorker, FromWorker], call: Call) -> None:     # a handler is a trio task
        async for message in stream:
            await stream.send(answer(message))

    cluster = Service("mlxd.Cluster", {"Session": StreamMethod(FromWorker, session)})
    async with GrpcNetwork.open(token=token) as network:                             # tests: LoopbackNetwork()
        async with network.serve([cluster], "127.0.0.1:0", name="coordinator") as server:
            async with network.connect(server.address, name="worker-0") as channel:
                async with channel.stream("/mlxd.Cluster/Session", ToWorker) as stream:
                    await stream.send(FromWorker(join=join))
                    welcome = await stream.receive()

Reading order: network (the promises), service, pipe, bridge, server, channels, loopback, faults.
"""

from runtime.rpc.auth import new_token
from runtime.rpc.faults import FaultPlan, FaultRates
from runtime.rpc.faulty_network import FaultyNetwork
from runtime.rpc.grpc_network import GrpcNetwork
from runtime.rpc.loopback import LoopbackNetwork
from runtime.rpc.network import Channel, HandlerFailure, Limits, Network, Report, Server
from runtime.rpc.service import Call, ClientStream, Service, Stream, StreamMethod, UnaryMethod
from runtime.rpc.status import CallFailed, Status

__all__ = [
    "Network", "Server", "Channel", "Stream", "ClientStream",
    "Service", "UnaryMethod", "StreamMethod", "Call",
    "GrpcNetwork", "LoopbackNetwork", "Limits", "new_token",
    "CallFailed", "Status", "HandlerFailure", "Report",
    "FaultyNetwork", "FaultPlan", "FaultRates",
]  # fmt: skip
