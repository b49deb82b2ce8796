"""A threaded Apache Thrift server: thrift_server.py ADDRESS PORT WIRE

Prints "listening" when connections are accepted and runs until it is killed."""

import sys

from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TSocket import TServerSocket

from thrift_wire import WIRES, read_struct, write_struct


class Processor(TProcessor):
    """Answers `get` with the id in words, anything else with an exception."""

    def process(self, iprot, oprot):
        name, _, seq = iprot.readMessageBegin()
        if name == "get":
            number = read_struct(iprot, 1, TType.I32)
            iprot.readMessageEnd()
            oprot.writeMessageBegin(name, TMessageType.REPLY, seq)
            write_struct(oprot, "get_result", 0, TType.STRING, f"item {number}")
        else:
            iprot.skip(TType.STRUCT)
            iprot.readMessageEnd()
            oprot.writeMessageBegin(name, TMessageType.EXCEPTION, seq)
            kind = TApplicationException.UNKNOWN_METHOD
            TApplicationException(kind, f"unknown method {name}").write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()
        return True


class AnnouncedSocket(TServerSocket):
    """Says when it listens, which the server does inside serve()."""

    def listen(self):
        super().listen()
        print("listening", flush=True)


def main():
    address, port, wire = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    protocol, transport, _ = WIRES[wire]
    socket = AnnouncedSocket(address, port)
    TThreadedServer(Processor(), socket, transport, protocol, daemon=True).serve()


main()
