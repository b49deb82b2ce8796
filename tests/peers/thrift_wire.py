"""The one method of the test service, `get(1: i32 id) -> string`, as
thrift-generated code would write and read it, and the wire formats."""

from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
from thrift.protocol.TCompactProtocol import TCompactProtocolFactory
from thrift.Thrift import TType
from thrift.transport.TTransport import (
    TBufferedTransport,
    TBufferedTransportFactory,
    TFramedTransport,
    TFramedTransportFactory,
)

# name: (protocol factory, transport factory of the server, transport of the client)
WIRES = {
    "binary": (TBinaryProtocolFactory(), TBufferedTransportFactory(), TBufferedTransport),
    "framed": (TBinaryProtocolFactory(), TFramedTransportFactory(), TFramedTransport),
    "compact": (TCompactProtocolFactory(), TFramedTransportFactory(), TFramedTransport),
}


def write_struct(protocol, name, field_id, field_type, value):
    """Writes a struct of one field."""
    write = {TType.I32: protocol.writeI32, TType.STRING: protocol.writeString}[field_type]
    protocol.writeStructBegin(name)
    protocol.writeFieldBegin("value", field_type, field_id)
    write(value)
    protocol.writeFieldEnd()
    protocol.writeFieldStop()
    protocol.writeStructEnd()


def read_struct(protocol, field_id, field_type):
    """Reads a struct and returns the value of the wanted field, or None."""
    read = {TType.I32: protocol.readI32, TType.STRING: protocol.readString}[field_type]
    value = None
    protocol.readStructBegin()
    while True:
        _, found_type, found_id = protocol.readFieldBegin()
        if found_type == TType.STOP:
            break
        if (found_id, found_type) == (field_id, field_type):
            value = read()
        else:
            protocol.skip(found_type)
        protocol.readFieldEnd()
    protocol.readStructEnd()
    return value
