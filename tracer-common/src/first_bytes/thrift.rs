//! The head of a Thrift message: TBinaryProtocol strict and old,
//! TCompactProtocol, THeader; framed or not (apache/thrift doc/specs
//! `thrift-binary-protocol.md`, `thrift-compact-protocol.md`, `HeaderFormat.md`).

use super::message::{Message, MessageType, Protocol};
use super::window::{Window, min};
use super::{Decision, Payload, ProbeMethods, probes::PROBE_METHOD_MAX};

/// Longest frame: the default of the Thrift libraries, in bytes.
pub const MAX_FRAME: u32 = 16_384_000;
/// Longest method name accepted in strict binary and compact, in bytes.
const MAX_NAME: u32 = 256;
/// Longest method name accepted in old binary. Nothing but length, name and
/// type marks this form; real names, `service:method` included, are shorter.
const MAX_OLD_NAME: u32 = 64;
/// THeader: magic, flags, sequence number, header size.
const HEADER_FIXED: u32 = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No Thrift message.
    Other,
    /// More bytes are needed to tell.
    Unknown,
    /// A message, by all that came so far: a THeader whose inner type more bytes will
    /// show, or the first four bytes of strict binary, which a fifth may refute.
    Likely,
    /// A message.
    Known,
}

/// What a window shows of a message at its start.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) state: State,
    pub(super) message: Message,
    /// Old binary: marked by no magic number.
    pub(super) old: bool,
    /// Starts at the method name.
    name: Window,
    /// 0: not given here. `NAME_LATER`: its length is still to come.
    name_len: u32,
}

const NAME_LATER: u32 = u32::MAX;

impl Look {
    #[inline(always)]
    fn not(state: State) -> Self {
        Self {
            state,
            message: Message {
                protocol: Protocol::Binary,
                kind: MessageType::Call,
            },
            old: false,
            name: Window::EMPTY,
            name_len: 0,
        }
    }

    #[inline(always)]
    fn known(protocol: Protocol, code: u8, name: Window, name_len: u32) -> Self {
        match MessageType::from_wire(code) {
            None => Self::not(State::Other),
            Some(kind) => Self {
                state: State::Known,
                message: Message { protocol, kind },
                old: false,
                name,
                name_len,
            },
        }
    }
}

/// Looks for a message at the window's start. Once it says neither `Unknown` nor
/// `Likely`, it says the same of every longer window with this start.
#[inline(always)]
pub(super) fn look(window: &Window) -> Look {
    let mut message = *window;
    if window.byte(0) == 0 {
        let frame = window.be32();
        if window.len >= 4 && (frame == 0 || frame > MAX_FRAME) {
            return Look::not(State::Other);
        }
        if window.len < 5 {
            return Look::not(State::Unknown);
        }
        // The byte after the length is a name's first letter in old binary,
        // and never so in a frame.
        let body = window.skip(4);
        if !starts_name(body.byte(0)) {
            if body.byte(0) == 0x0f {
                return look_header(&body, frame);
            }
            message = body;
        }
    }
    match message.byte(0) {
        0x80 => look_strict(&message),
        0x82 => look_compact(&message),
        0x00 => look_old(&message),
        _ => Look::not(State::Other),
    }
}

/// The IDL's identifiers start with a letter or an underscore.
#[inline(always)]
fn starts_name(byte: u8) -> bool {
    let folded = byte | 0x20;
    folded.is_ascii_lowercase() || byte == b'_'
}

/// Version 0x8001, a byte that the libraries ignore, the type, and the first byte of the
/// name's length, which is 0. (An unbuffered client sends four bytes alone, and the length
/// next. In a memcached SET the fifth byte is the length of what precedes its key: 8.)
#[inline(always)]
fn look_strict(message: &Window) -> Look {
    if message.len < 4 {
        return Look::not(State::Unknown);
    }
    let alone = message.len == 4;
    if message.byte(1) != 1 || !alone && message.byte(4) != 0 {
        return Look::not(State::Other);
    }
    let name_len = if message.len < 8 {
        NAME_LATER
    } else {
        min(message.skip(4).be32(), MAX_NAME + 1)
    };
    let mut look = Look::known(
        Protocol::Binary,
        message.byte(3),
        message.skip_word(),
        name_len,
    );
    if alone && message.room > 4 && look.state == State::Known {
        look.state = State::Likely;
    }
    look
}

/// Name length, name, type; no magic number.
#[inline(always)]
fn look_old(message: &Window) -> Look {
    if message.len < 4 {
        return Look::not(State::Unknown);
    }
    let name_len = message.be32();
    let name = message.skip(4);
    if name_len == 0 || name_len > MAX_OLD_NAME {
        return Look::not(State::Other);
    }
    if name.len < min(name_len + 1, name.room) {
        return Look::not(State::Unknown);
    }
    if !starts_name(name.byte(0)) || !name.is_identifier(min(name_len, name.room)) {
        return Look::not(State::Other);
    }
    let code = if name_len < name.room {
        name.byte(name_len)
    } else {
        1
    };
    Look {
        old: true,
        ..Look::known(Protocol::Binary, code, name, name_len)
    }
}

/// 0x82, type and version, sequence number and name length as varints, name.
#[inline(always)]
fn look_compact(message: &Window) -> Look {
    if message.len < 2 {
        return Look::not(State::Unknown);
    }
    if message.byte(1) & 0x1f != 1 {
        return Look::not(State::Other);
    }
    // A varint goes on while bytes have their high bit set; 32 bits take five.
    let word = message.words[0] >> 16;
    let two = (word >> 7) & 1;
    let three = two & (word >> 15);
    let four = three & (word >> 23);
    let five = four & (word >> 31);
    if five & (word >> 39) != 0 {
        return Look::not(State::Other);
    }
    let rest = message.skip(3 + (two + three + four + five) as u32);
    let long = u32::from(rest.byte(0) >> 7);
    if rest.len < 1 + long {
        return Look::not(State::Unknown);
    }
    let high = u32::from(rest.byte(1)) * long;
    let name_len = u32::from(rest.byte(0) & 0x7f) | (high << 7);
    if name_len == 0 || name_len > MAX_NAME {
        return Look::not(State::Other);
    }
    let name = rest.skip(1 + long);
    let shown = min(name_len, name.room);
    if name.len < shown {
        return Look::not(State::Unknown);
    }
    if !name.is_identifier(shown) {
        return Look::not(State::Other);
    }
    Look::known(Protocol::Compact, message.byte(1) >> 5, name, name_len)
}

/// Magic 0x0FFF. The type is the inner message's, if no transform hides it and
/// it lies within the bytes kept, else `Call`: what a client sends almost always.
/// The name is out of reach.
#[inline(always)]
fn look_header(body: &Window, frame: u32) -> Look {
    let mut seen = Look::not(State::Unknown);
    if body.len < 2 {
        return seen;
    }
    if body.byte(1) != 0xff || frame < HEADER_FIXED {
        return Look::not(State::Other);
    }
    seen.message = Message {
        protocol: Protocol::Header,
        kind: MessageType::Call,
    };
    seen.state = State::Likely;
    // Header size is in words of four bytes; then protocol and number of
    // transforms, each one byte when small.
    let words = u32::from(body.byte(8)) << 8 | u32::from(body.byte(9));
    let inner = HEADER_FIXED + words * 4;
    if body.len < HEADER_FIXED + 2 && frame >= HEADER_FIXED + 2 {
        return seen;
    }
    if words == 0 || body.byte(11) != 0 || inner + 4 > min(frame, body.room) {
        seen.state = State::Known;
        return seen;
    }
    if body.len < inner + 4 {
        return seen;
    }
    seen.state = State::Known;
    let code = match (body.byte(inner), body.byte(inner + 1)) {
        (0x80, 1) => body.byte(inner + 3),
        (0x82, version) => version >> 5,
        _ => 0,
    };
    if let Some(kind) = MessageType::from_wire(code) {
        seen.message.kind = kind;
    }
    seen
}

/// Decides over a connection's first bytes.
#[inline(always)]
pub(super) fn decide(look: &Look, probes: &ProbeMethods) -> Decision {
    let message = look.message;
    match look.state {
        State::Other => return Decision::Other,
        State::Unknown | State::Likely => return Decision::Undecided,
        State::Known => {}
    }
    let answers = matches!(message.kind, MessageType::Reply | MessageType::Exception);
    if probes.is_empty() || answers {
        return Decision::Thrift(message);
    }
    if look.name_len == NAME_LATER {
        return Decision::Undecided;
    }
    let longest = min(PROBE_METHOD_MAX as u32, look.name.room);
    if look.name_len == 0 || look.name_len > longest {
        return Decision::Thrift(message);
    }
    if look.name.len < look.name_len {
        return Decision::Undecided;
    }
    if probes.contains(&look.name, look.name_len) {
        return Decision::Probe(message);
    }
    Decision::Thrift(message)
}

/// The message that starts at `offset` of a segment's payload, for counting messages
/// in either direction on a connection known to carry Thrift.
///
/// Old binary has no magic number and is looked for only with `old_binary`. A
/// THeader message whose type cannot be seen (a transform, or more than 12 bytes of
/// headers) is reported as `Call`; for the server's side apply
/// [`Message::from_server`].
///
/// Counts too few where several messages share a segment, where a message does
/// not start one, and where an unbuffered client splits a compact head.
#[must_use]
#[inline(always)]
pub fn message_in<P: Payload + ?Sized>(
    payload: &P,
    offset: u32,
    old_binary: bool,
) -> Option<Message> {
    message(&Window::read(payload, offset).0, old_binary)
}

#[inline(always)]
fn message(window: &Window, old_binary: bool) -> Option<Message> {
    let look = look(window);
    if !matches!(look.state, State::Known | State::Likely) {
        return None;
    }
    if look.old {
        return if old_binary { Some(look.message) } else { None };
    }
    // A later segment may start with any data, so more is asked for than of a
    // connection's first bytes: a name, as far as it is shown.
    if look.name_len != NAME_LATER {
        let shown = min(look.name_len, look.name.len);
        if look.name_len > MAX_NAME || look.name.printable() < shown {
            return None;
        }
    }
    Some(look.message)
}
