//! Questions to the kernel over netlink(7), and the bounded reading of its
//! answers. A socket belongs for good to the network namespace of the thread
//! that opened it.

mod attributes;

use std::{
    fmt,
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

pub use attributes::{Attributes, attribute, nested};

/// Bytes of a netlink message's header (`struct nlmsghdr`).
const HEADER: usize = 16;
/// Enough for what the kernel sends at once (it takes at most 32 KiB).
const BUFFER: usize = 64 * 1024;
/// Longest wait for a part of an answer; the kernel has it ready at once.
const PATIENCE: Duration = Duration::from_millis(100);
/// Most messages of one answer.
const MESSAGES: usize = 65_536;

/// Why an answer is missing or cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The kernel refuses, or the socket fails.
    Kernel(Errno),
    /// The time allowed is over.
    Late,
    /// The answer has more messages than are read.
    Long,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(Errno::EPERM) => f.write_str("not permitted (EPERM)"),
            Self::Kernel(errno) => write!(f, "{} ({errno:?})", errno.desc()),
            Self::Late => f.write_str("cut short: its time was over"),
            Self::Long => write!(f, "cut short after {MESSAGES} answers"),
        }
    }
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// One message to the kernel.
pub struct Request {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// A question with one message for an answer; `head` is the fixed part
    /// after the netlink header.
    pub fn get(kind: u16, head: &[u8]) -> Self {
        Self {
            kind,
            flags: NLM_F_REQUEST,
            body: head.to_vec(),
        }
    }

    /// A question with any number of messages for an answer.
    pub fn dump(kind: u16, head: &[u8]) -> Self {
        Self {
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            ..Self::get(kind, head)
        }
    }

    /// Adds an attribute.
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.body.extend(attribute(kind, value));
        self
    }

    fn encode(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.body);
        bytes
    }
}

const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;

/// A socket for one netlink protocol.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    /// An answer was left unread; the kernel takes no further question.
    spent: Option<Failed>,
}

impl Socket {
    /// Opens it in the calling thread's network namespace.
    pub fn open(protocol: SockProtocol) -> Result<Self, Failed> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        let patience = i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX);
        setsockopt(&fd, ReceiveTimeout, &TimeVal::milliseconds(patience))?;
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER],
            spent: None,
        })
    }

    /// Asks, and hands each message of the answer to `each`: its type and what
    /// follows the netlink header.
    pub fn ask(
        &mut self,
        request: &Request,
        deadline: Instant,
        each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Failed> {
        if let Some(failed) = self.spent {
            return Err(failed);
        }
        self.sequence = self.sequence.wrapping_add(1);
        send(
            self.fd.as_raw_fd(),
            &request.encode(self.sequence),
            MsgFlags::empty(),
        )?;
        let answer = self.answer(request.flags & NLM_F_DUMP != 0, deadline, each);
        if let Err(failed @ (Failed::Late | Failed::Long)) = answer {
            self.spent = Some(failed);
        }
        answer
    }

    fn answer(
        &mut self,
        many: bool,
        deadline: Instant,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Failed> {
        let mut left = MESSAGES;
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => 0,
                Err(Errno::EAGAIN) => return Err(Failed::Late),
                Err(errno) => return Err(Failed::Kernel(errno)),
            };
            let bytes = self.buffer.get(..length).unwrap_or_default();
            for message in Messages(bytes).filter(|m| m.sequence == self.sequence) {
                match message.kind {
                    NLMSG_DONE => return end(message.payload),
                    NLMSG_ERROR => return refusal(message.payload),
                    kind => each(kind, message.payload),
                }
                if !many {
                    return Ok(());
                }
                left = left.checked_sub(1).ok_or(Failed::Long)?;
            }
            if Instant::now() >= deadline {
                return Err(Failed::Late);
            }
        }
    }
}

/// `struct nlmsgerr`: 0 is an acknowledgement.
fn refusal(payload: &[u8]) -> Result<(), Failed> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(Failed::Kernel(Errno::from_raw(code.wrapping_neg()))),
        None => Err(Failed::Kernel(Errno::EBADMSG)),
    }
}

/// What a dump ends with: 0, or why it is cut short (`netlink_dump_done`).
fn end(payload: &[u8]) -> Result<(), Failed> {
    if payload.is_empty() {
        return Ok(());
    }
    refusal(payload)
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of a datagram; ends at the first that is malformed.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *self.0.first_chunk::<HEADER>()?;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}

/// Four bytes in host byte order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// An address: 4 or 16 bytes in network byte order.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The bytes of an address in network byte order.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// `AF_INET` or `AF_INET6`.
pub fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

#[cfg(test)]
mod tests;
