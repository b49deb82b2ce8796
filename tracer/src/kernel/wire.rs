//! Attaches the wire tap to interfaces, by tcx links or by packet-socket
//! filters. Both belong to this process and vanish with it.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::ProgramArray,
    programs::{
        LinkOrder, SchedClassifier, SocketFilter, TcAttachType,
        tc::{SchedClassifierLink, TcAttachOptions},
    },
};

use tracer_common::config::Tail;

use super::{
    interfaces::{Interface, Inventory},
    object::borrow,
};
use crate::config::{Config, WireTap};

/// How packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// tcx links on ingress and egress (from 6.6).
    Tcx,
    /// A filter on a packet socket, which keeps nothing.
    Packet,
}

impl Mode {
    /// The name in output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Packet => "packet",
        }
    }

    /// The programs of this mode.
    pub const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Tcx => &["wire_in", "wire_out", "wire_in_l3", "wire_out_l3"],
            Self::Packet => &[
                "wire_packet",
                "wire_packet_l3",
                "wire_packet_tail",
                "wire_packet_l3_tail",
            ],
        }
    }
}

/// What keeps a tap on one interface; dropping it takes the tap away.
enum Tap {
    Tcx { _links: [SchedClassifierLink; 2] },
    Packet { _socket: OwnedFd },
}

/// The taps on the edge interfaces.
pub struct Taps {
    mode: Mode,
    /// Names the operator gave; empty: every edge interface.
    wanted: Vec<String>,
    attached: BTreeMap<u32, Tap>,
}

impl Taps {
    /// Chooses the mode and loads its programs.
    pub fn load(ebpf: &mut Ebpf, config: &Config) -> anyhow::Result<Self> {
        let mode = match config.wire_tap {
            WireTap::Tcx => load_tcx(ebpf).map(|()| Mode::Tcx)?,
            WireTap::Packet => load_packet(ebpf).map(|()| Mode::Packet)?,
            WireTap::Auto => match load_tcx(ebpf) {
                Ok(()) => Mode::Tcx,
                Err(error) => {
                    tracing::info!(
                        reason = format!("{error:#}"),
                        "no tcx, using packet sockets"
                    );
                    load_packet(ebpf)?;
                    Mode::Packet
                }
            },
        };
        Ok(Self {
            mode,
            wanted: config.interfaces.clone(),
            attached: BTreeMap::new(),
        })
    }

    /// The mode chosen.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes the taps fit the interfaces there are now. An interface that
    /// cannot be tapped is reported and tried again at the next change.
    ///
    /// # Errors
    /// The last such failure; all other interfaces are tapped all the same.
    pub fn follow(&mut self, ebpf: &mut Ebpf, inventory: &Inventory) -> anyhow::Result<()> {
        let mut result = Ok(());
        let gone = |index: &u32| {
            !inventory
                .interfaces
                .get(index)
                .is_some_and(|i| self.wants(i))
        };
        let gone: Vec<u32> = self.attached.keys().copied().filter(gone).collect();
        for index in gone {
            self.attached.remove(&index);
            tracing::info!(ifindex = index, "wire tap removed");
        }
        for (index, interface) in &inventory.interfaces {
            if self.attached.contains_key(index) || !self.wants(interface) {
                continue;
            }
            match self.attach(ebpf, *index, interface) {
                Ok(tap) => {
                    self.attached.insert(*index, tap);
                    tracing::info!(
                        interface = interface.name,
                        mode = self.mode.as_str(),
                        "wire tap attached"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        interface = interface.name,
                        error = format!("{error:#}"),
                        "wire tap failed"
                    );
                    result = Err(error.context(format!("tap {}", interface.name)));
                }
            }
        }
        result
    }

    /// Interfaces tapped now, by name.
    pub fn names(&self, inventory: &Inventory) -> Vec<String> {
        let name = |index| inventory.interfaces.get(index).map(|i| i.name.clone());
        self.attached.keys().filter_map(name).collect()
    }

    /// Index and name of those that are to be tapped.
    pub fn wanted<'a>(&self, inventory: &'a Inventory) -> impl Iterator<Item = (u32, &'a str)> {
        let all = inventory.interfaces.iter();
        all.filter(|(_, interface)| self.wants(interface))
            .map(|(index, interface)| (*index, interface.name.as_str()))
    }

    /// How many interfaces are tapped now.
    pub fn count(&self) -> usize {
        self.attached.len()
    }

    fn wants(&self, interface: &Interface) -> bool {
        if self.wanted.is_empty() {
            interface.edge
        } else {
            self.wanted.contains(&interface.name)
        }
    }

    fn attach(&self, ebpf: &mut Ebpf, index: u32, interface: &Interface) -> anyhow::Result<Tap> {
        match self.mode {
            Mode::Tcx => {
                let (ingress, egress) = match interface.ethernet {
                    true => ("wire_in", "wire_out"),
                    false => ("wire_in_l3", "wire_out_l3"),
                };
                // Answers first: a SYN seen when its answer is not would time out.
                let out = attach_tcx(ebpf, egress, &interface.name, TcAttachType::Egress)?;
                let _links = [
                    attach_tcx(ebpf, ingress, &interface.name, TcAttachType::Ingress)?,
                    out,
                ];
                Ok(Tap::Tcx { _links })
            }
            Mode::Packet => {
                let program = if interface.ethernet {
                    "wire_packet"
                } else {
                    "wire_packet_l3"
                };
                let program: &mut SocketFilter = program_mut(ebpf, program)?.try_into()?;
                let socket = packet_socket()?;
                program
                    .attach(&socket)
                    .context("attach the packet filter")?;
                bind_packet_socket(&socket, index).context("bind the packet socket")?;
                Ok(Tap::Packet { _socket: socket })
            }
        }
    }
}

/// Loads the tcx programs and tries one on the loopback interface, which every
/// network namespace has: only attaching tells whether the kernel has tcx.
fn load_tcx(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    for name in Mode::Tcx.programs() {
        let program: &mut SchedClassifier = program_mut(ebpf, name)?.try_into()?;
        program.load().with_context(|| format!("load {name}"))?;
    }
    attach_tcx(ebpf, "wire_in", "lo", TcAttachType::Ingress).map(drop)
}

fn load_packet(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    for name in Mode::Packet.programs() {
        let program: &mut SocketFilter = program_mut(ebpf, name)?.try_into()?;
        program.load().with_context(|| format!("load {name}"))?;
    }
    set_tail(ebpf, Tail::Packet, "wire_packet_tail")?;
    set_tail(ebpf, Tail::PacketL3, "wire_packet_l3_tail")?;
    // Attaching alone tells whether the kernel takes the filter.
    let program: &mut SocketFilter = program_mut(ebpf, "wire_packet")?.try_into()?;
    let socket = packet_socket()?;
    program
        .attach(&socket)
        .map(drop)
        .context("attach the packet filter")
}

fn set_tail(ebpf: &mut Ebpf, place: Tail, name: &str) -> anyhow::Result<()> {
    let program: &mut SocketFilter = program_mut(ebpf, name)?.try_into()?;
    let program = program.fd()?.try_clone()?;
    let mut tails: ProgramArray<_> = borrow(ebpf, "TAILS")?;
    tails
        .set(place as u32, &program, 0)
        .with_context(|| format!("place {name}"))
}

fn program_mut<'a>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> anyhow::Result<&'a mut aya::programs::Program> {
    ebpf.program_mut(name)
        .with_context(|| format!("the kernel object has no program {name}"))
}

fn attach_tcx(
    ebpf: &mut Ebpf,
    program: &str,
    interface: &str,
    to: TcAttachType,
) -> anyhow::Result<SchedClassifierLink> {
    let program: &mut SchedClassifier = program_mut(ebpf, program)?.try_into()?;
    // First in either direction: whatever another program does, it was seen.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let link = program
        .attach_with_options(interface, to, options)
        .with_context(|| format!("attach a tcx link to {interface}"))?;
    Ok(program.take_link(link)?)
}

/// A packet socket that receives nothing yet: protocol 0 (packet(7)).
fn packet_socket() -> anyhow::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("open a packet socket (needs CAP_NET_RAW)");
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind_packet_socket(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: plain integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is a sockaddr_ll of the length given.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
