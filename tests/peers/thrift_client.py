"""An Apache Thrift client:

    thrift_client.py ADDRESS PORT WIRE [--connections N] [--calls N] [--pause SECONDS]

Makes N connections (0: until SIGTERM) of so many calls each. Prints its counts so
far as a line of JSON, at most twice a second, and at its end. A call is right when
its answer is."""

import argparse
import json
import signal
import time

from thrift.Thrift import TException, TMessageType, TType
from thrift.transport.TSocket import TSocket

from thrift_wire import WIRES, read_struct, write_struct


def call(protocol, number):
    protocol.writeMessageBegin("get", TMessageType.CALL, 0)
    write_struct(protocol, "get_args", 1, TType.I32, number)
    protocol.writeMessageEnd()
    protocol.trans.flush()
    _, kind, _ = protocol.readMessageBegin()
    if kind != TMessageType.REPLY:
        raise TException(f"message type {kind}")
    answer = read_struct(protocol, 0, TType.STRING)
    protocol.readMessageEnd()
    if answer != f"item {number}":
        raise TException(f"wrong answer {answer}")


def connection(args, counts):
    protocol_factory, _, transport_class = WIRES[args.wire]
    socket = TSocket(args.address, args.port)
    socket.setTimeout(5000)
    transport = transport_class(socket)
    try:
        transport.open()
        counts["connections"] += 1
        protocol = protocol_factory.getProtocol(transport)
        for number in range(args.calls):
            call(protocol, number)
            counts["ok"] += 1
    except (TException, OSError, EOFError):
        counts["failed"] += 1
    finally:
        transport.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("wire", choices=sorted(WIRES))
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0)
    args = parser.parse_args()

    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    counts = {"connections": 0, "ok": 0, "failed": 0}
    made = 0
    said = time.monotonic()
    while not stopped and (args.connections == 0 or made < args.connections):
        connection(args, counts)
        made += 1
        if time.monotonic() - said > 0.5:
            said = time.monotonic()
            print(json.dumps(counts), flush=True)
        time.sleep(args.pause)
    print(json.dumps(counts), flush=True)


main()
