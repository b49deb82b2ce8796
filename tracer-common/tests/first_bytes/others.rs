//! First bytes of clients of other protocols.

use super::*;

const OTHERS: &[(&str, &[u8])] = &[
    ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("HTTP PUT", b"PUT / HTTP/1.1\r\n\r\n"),
    ("HTTP PROPFIND", b"PROPFIND / HTTP/1.1\r\n\r\n"),
    (
        "HTTP/2, gRPC",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ),
    ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    ("Redis", b"*1\r\n$4\r\nPING\r\n"),
    (
        "MySQL login",
        b"\x20\0\0\x01\x85\xa6\x3f\x20\0\0\0\x01\x21\0\0\0",
    ),
    (
        "PostgreSQL",
        b"\0\0\0\x21\0\x03\0\0user\0app\0database\0app\0\0",
    ),
    ("PostgreSQL SSLRequest", b"\0\0\0\x08\x04\xd2\x16\x2f"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    ("SMTP", b"EHLO localhost\r\n"),
    (
        "DNS",
        b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01",
    ),
    (
        "DNS, no flags",
        b"\0\x1d\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01",
    ),
    (
        "Kafka",
        b"\0\0\0\x19\0\x12\0\x03\0\0\0\x01\0\x07console\0\x05java",
    ),
    (
        "Kafka produce",
        b"\0\0\0\x19\0\0\0\x08\0\0\0\x01\0\x07console\0\x05java",
    ),
    (
        "ZooKeeper",
        b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30",
    ),
    ("MongoDB", b"\x3a\0\0\0\x41\0\0\0\0\0\0\0\xd4\x07\0\0"),
    (
        "MongoDB, 65536 bytes",
        b"\0\0\x01\0\x41\0\0\0\0\0\0\0\xd4\x07\0\0",
    ),
    ("SMB", b"\0\0\0\x45\xffSMBr\0\0\0\0\x18"),
    ("SMB2", b"\0\0\0\x45\xfeSMB\x40\0\0\0\0\x18"),
    ("ONC RPC", b"\x80\0\0\x28\x12\x34\x56\x78\0\0\0\0\0\0\0\x02"),
    ("Oracle", b"\0\x3a\0\0\x01\0\0\0\x01\x36\x01\x2c"),
    ("Erlang", b"\0\x15n\0\x05\0\x03\x7f\xfdnode@host"),
    (
        "memcached SET, key of 3 bytes",
        b"\x80\x01\0\x03\x08\0\0\0\0\0\0\x10\0\0\0\0",
    ),
    ("memcached GET", b"\x80\0\0\x05\0\0\0\0\0\0\0\x05\0\0\0\0"),
    ("AMQP", b"AMQP\0\0\x09\x01"),
    ("MQTT", b"\x10\x10\0\x04MQTT\x04\x02\0\x3c"),
    ("LDAP", b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03"),
    ("zeros", &[0; 64]),
    ("ones", &[0xff; 64]),
];

#[test]
fn other_protocols_are_other() {
    for (name, bytes) in OTHERS {
        let (_, at_close) = check_cuts(bytes, &NONE);
        assert_eq!(at_close, Decision::Other, "{name}");
        assert_eq!(at_start(bytes, true), None, "{name}");
    }
}
