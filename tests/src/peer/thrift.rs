//! Apache Thrift messages without arguments, byte by byte (the protocol
//! specifications in apache/thrift, doc/specs). Integers are big-endian.

/// The message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Call = 1,
    /// Its answer.
    Reply = 2,
    /// An error in place of an answer.
    Exception = 3,
    /// A request without an answer.
    Oneway = 4,
}

/// A message with an empty argument struct.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The message type.
    pub kind: Kind,
    /// The method's name.
    pub method: &'a str,
    /// The sequence id.
    pub seq: u32,
}

impl<'a> Message<'a> {
    /// A call with sequence id 0.
    #[must_use]
    pub fn call(method: &'a str) -> Self {
        Self {
            kind: Kind::Call,
            method,
            seq: 0,
        }
    }

    /// Strict binary protocol: version 1 in the first word.
    #[must_use]
    pub fn strict(&self) -> Vec<u8> {
        let mut bytes = vec![0x80, 0x01, 0x00, self.kind as u8];
        bytes.extend(self.name());
        bytes.extend(self.seq.to_be_bytes());
        bytes.push(0);
        bytes
    }

    /// Old binary protocol: the name comes first.
    #[must_use]
    pub fn old(&self) -> Vec<u8> {
        let mut bytes = self.name();
        bytes.push(self.kind as u8);
        bytes.extend(self.seq.to_be_bytes());
        bytes.push(0);
        bytes
    }

    /// Compact protocol, version 1; names of up to 127 bytes.
    #[must_use]
    pub fn compact(&self) -> Vec<u8> {
        let mut bytes = vec![0x82, (self.kind as u8) << 5 | 1];
        let mut seq = self.seq;
        while seq > 0x7f {
            bytes.push(u8::try_from(seq & 0x7f).unwrap_or(0) | 0x80);
            seq >>= 7;
        }
        bytes.push(u8::try_from(seq).unwrap_or(0));
        bytes.push(u8::try_from(self.method.len()).unwrap_or(0x7f));
        bytes.extend(self.method.bytes());
        bytes.push(0);
        bytes
    }

    fn name(&self) -> Vec<u8> {
        let length = u32::try_from(self.method.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(self.method.bytes());
        bytes
    }
}

/// A message in a frame: its length, four bytes, before it.
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heads of messages recorded from Apache's Python library.
    #[test]
    fn messages_begin_as_apache_writes_them() {
        let ping = Message::call("ping");
        assert_eq!(ping.strict(), b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\0\0");
        assert_eq!(ping.old(), b"\0\0\0\x04ping\x01\0\0\0\0\0");
        assert_eq!(ping.compact(), b"\x82\x21\0\x04ping\0");
        assert_eq!(framed(&ping.compact())[..5], *b"\0\0\0\x09\x82");
    }

    #[test]
    fn compact_sequence_ids_are_varints() {
        let message = Message {
            seq: 300,
            ..Message::call("m")
        };
        assert_eq!(message.compact(), b"\x82\x21\xac\x02\x01m\0");
    }
}
