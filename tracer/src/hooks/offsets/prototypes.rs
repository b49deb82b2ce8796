//! What the programs take the hooked tracepoints and functions to be. Types that
//! differ would be read as if they did not: the hook is disabled instead.

use anyhow::Result;

use crate::{
    hooks::btf::{self, Argument, Btf},
    snapshot::SOCKET_STATE,
};

/// What an argument has to be.
#[derive(Clone, Copy, Debug)]
enum Param {
    /// A pointer to one of these structs.
    To(&'static [&'static str]),
    /// A pointer to anything.
    Pointer,
    /// An integer or enumerator of 4 bytes.
    Int,
}

/// One hook's prototype.
#[derive(Debug)]
pub struct Prototype {
    pub hook: &'static str,
    /// Arguments that every kernel so far has.
    first: &'static [Param],
    /// Those that came later, one by one, behind them.
    later: &'static [Param],
    /// The global that says whether the first of these is there.
    global: Option<&'static str>,
    /// A function that returns an `int`, no tracepoint.
    function: bool,
}

const SOCK: Param = Param::To(&["sock"]);
const SKB: Param = Param::To(&["sk_buff"]);
const REQUEST: Param = Param::To(&["request_sock"]);
/// Renamed after 6.18; what the programs read of it is ABI.
const ADDRESS: Param = Param::To(&["sockaddr", "sockaddr_unsized"]);

const fn tracepoint(hook: &'static str, first: &'static [Param]) -> Prototype {
    Prototype {
        hook,
        first,
        later: &[],
        global: None,
        function: false,
    }
}

const fn connect(hook: &'static str) -> Prototype {
    Prototype {
        function: true,
        ..tracepoint(hook, &[SOCK, ADDRESS, Param::Int])
    }
}

impl Prototype {
    const fn later(self, global: &'static str, later: &'static [Param]) -> Self {
        Self {
            global: Some(global),
            later,
            ..self
        }
    }
}

pub const PROTOTYPES: &[Prototype] = &[
    tracepoint(SOCKET_STATE, &[SOCK, Param::Int, Param::Int]),
    tracepoint("tcp_send_reset", &[SOCK, SKB]).later("SEND_RESET_HAS_REASON", &[Param::Int]),
    tracepoint("tcp_receive_reset", &[SOCK]),
    tracepoint("tcp_retransmit_skb", &[SOCK, SKB]).later("RETRANSMIT_HAS_ERR", &[Param::Int]),
    tracepoint("tcp_retransmit_synack", &[SOCK, REQUEST]),
    tracepoint("net_dev_queue", &[SKB]),
    tracepoint("kfree_skb", &[SKB, Param::Pointer]).later("KFREE_HAS_REASON", &[Param::Int, SOCK]),
    connect("tcp_v4_connect"),
    connect("tcp_v6_connect"),
];

impl Prototype {
    /// This kernel's.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn find(&self, btf: &Btf) -> Result<Option<btf::Prototype>> {
        if self.function {
            btf.function(self.hook)
        } else {
            btf.tracepoint(self.hook)
        }
    }

    /// The global and 1 where the first of the later arguments is there.
    pub fn has_newest(&self, found: Option<&btf::Prototype>) -> Option<(&'static str, u8)> {
        let has = found.is_some_and(|found| found.arguments.len() > self.first.len());
        self.global.map(|global| (global, u8::from(has)))
    }

    /// Whether the programs can rely on it.
    ///
    /// # Errors
    /// What is different, for people. A function that BTF does not describe is
    /// left to who attaches: a kprobe needs no BTF.
    pub fn check(&self, found: Option<&btf::Prototype>) -> Result<(), String> {
        let Some(found) = found else {
            return match self.function {
                true => Ok(()),
                false => Err("this kernel has no such tracepoint".into()),
            };
        };
        let count = found.arguments.len();
        let counts = self.first.len()..=self.first.len() + self.later.len();
        if !counts.contains(&count) {
            let known: Vec<_> = counts.map(|count| count.to_string()).collect();
            return Err(format!("has {count} arguments, not {}", known.join(" or ")));
        }
        let wanted = self.first.iter().chain(self.later);
        for (number, (wanted, found)) in (1..).zip(wanted.zip(&found.arguments)) {
            if !wanted.admits(found) {
                return Err(format!("argument {number} is {found}, not {wanted}"));
            }
        }
        if self.function && !Param::Int.admits(&found.result) {
            return Err(format!("returns {}, not {}", found.result, Param::Int));
        }
        Ok(())
    }
}

impl Param {
    fn admits(self, found: &Argument) -> bool {
        match (self, found) {
            (Self::To(names), Argument::Pointer(to)) => names.contains(&to.as_str()),
            (Self::Pointer, Argument::Pointer(_)) => true,
            (Self::Int, Argument::Integer(size)) => *size == 4,
            _ => false,
        }
    }
}

impl std::fmt::Display for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::To(names) => write!(f, "a pointer to struct {}", names.join(" or ")),
            Self::Pointer => write!(f, "a pointer"),
            Self::Int => write!(f, "an integer of 4 bytes"),
        }
    }
}
