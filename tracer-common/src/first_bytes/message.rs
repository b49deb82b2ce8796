//! What is known about a Thrift message from its first bytes.

use crate::words::words;

words! {
    /// How a message is encoded.
    Protocol {
        /// TBinaryProtocol, strict or old.
        Binary = "binary",
        /// TCompactProtocol.
        Compact = "compact",
        /// THeader (magic 0x0FFF), whatever protocol is inside.
        Header = "header",
    }
}

words! {
    /// `TMessageType` of the Thrift specification; the wire carries the number
    /// plus one.
    MessageType {
        /// A call that has an answer.
        Call = "call",
        /// The answer; declared exceptions come so, too.
        Reply = "reply",
        /// `TApplicationException`: unknown method, error in the server.
        Exception = "exception",
        /// A call without an answer.
        Oneway = "oneway",
    }
}

impl MessageType {
    /// From the number on the wire (1 to 4).
    #[inline(always)]
    pub(super) const fn from_wire(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Call),
            2 => Some(Self::Reply),
            3 => Some(Self::Exception),
            4 => Some(Self::Oneway),
            _ => None,
        }
    }
}

/// The head of a Thrift message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its encoding.
    pub protocol: Protocol,
    /// Its type.
    pub kind: MessageType,
}

impl Message {
    /// The message as one that a server sent: servers never call, so a THeader
    /// message whose type could not be seen (reported as `Call`) is a reply.
    #[must_use]
    #[inline(always)]
    pub const fn from_server(self) -> Self {
        match (self.protocol, self.kind) {
            (Protocol::Header, MessageType::Call) => Self {
                protocol: Protocol::Header,
                kind: MessageType::Reply,
            },
            _ => self,
        }
    }
}
