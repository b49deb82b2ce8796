//! Empty kernel programs, which show what a hook costs when nothing is done there: two
//! instructions each (or a known number of them), loaded and attached by the bare system call (include/uapi/linux/bpf.h).

use std::ffi::{CStr, c_int};
use std::io;
use std::iter;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::programs::{Counts, fdinfo_of};

/// `bpf_cmd`.
const BPF_PROG_LOAD: c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: c_int = 17;
const BPF_LINK_CREATE: c_int = 28;
/// `bpf_prog_type`.
const SOCKET_FILTER: u32 = 1;
const SCHED_CLS: u32 = 3;
const RAW_TRACEPOINT: u32 = 17;
/// `bpf_attach_type`.
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;
/// On to the next tcx program.
const TCX_NEXT: i32 = -1;

/// A loaded and attached program that does nothing; gone when dropped.
#[derive(Debug)]
pub(super) struct Empty {
    program: OwnedFd,
    _attached: OwnedFd,
}

impl Empty {
    /// After all other tcx programs on the interface with this index in the current network
    /// namespace, for packets that come in or go out.
    ///
    /// # Errors
    /// The kernel has no tcx (before 6.6) or refuses.
    pub(super) fn tcx(ifindex: u32, ingress: bool) -> Result<Self> {
        let program = load(SCHED_CLS, TCX_NEXT, 0)?;
        let mut attr = LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: ifindex,
            attach_type: if ingress { TCX_INGRESS } else { TCX_EGRESS },
            ..LinkCreate::default()
        };
        let link = bpf(BPF_LINK_CREATE, &mut attr).context("attach an empty program by tcx")?;
        Ok(Self {
            program,
            _attached: link,
        })
    }

    /// As the filter of a packet socket, which keeps nothing, on the interface with this index in
    /// the current network namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn packet(ifindex: u32) -> Result<Self> {
        let program = load(SOCKET_FILTER, 0, 0)?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)
            .context("open a packet socket")?;
        let fd = program.as_raw_fd();
        // SAFETY: the pointer and the length describe one live integer.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_BPF,
                (&raw const fd).cast(),
                length_of(&fd),
            )
        };
        check(set).context("attach an empty socket filter")?;
        bind(&socket, ifindex).context("bind a packet socket")?;
        Ok(Self {
            program,
            _attached: socket,
        })
    }

    /// At a tracepoint, as a raw tracepoint program that adds so often before it ends.
    ///
    /// # Errors
    /// The kernel lacks the tracepoint or refuses.
    pub(super) fn tracepoint(name: &CStr, additions: usize) -> Result<Self> {
        let program = load(RAW_TRACEPOINT, 0, additions)?;
        let mut attr = RawTracepointOpen {
            name: name.as_ptr() as u64,
            prog_fd: program.as_raw_fd(),
            _reserved: 0,
        };
        let link = bpf(BPF_RAW_TRACEPOINT_OPEN, &mut attr)
            .with_context(|| format!("attach an empty program to {}", name.to_string_lossy()))?;
        Ok(Self {
            program,
            _attached: link,
        })
    }

    /// What it has used so far.
    pub(super) fn counts(&self) -> Result<Counts> {
        Counts::parse(&fdinfo_of("self", &self.program.as_raw_fd().to_string())?)
    }
}

/// `union bpf_attr` of `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `union bpf_attr` of `BPF_LINK_CREATE` for tcx.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: c_int,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    _padding: u32,
    expected_revision: u64,
}

/// `union bpf_attr` of `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: c_int,
    _reserved: u32,
}

/// Loads `r0 = result; exit`, with `r0 += 1` in between.
fn load(prog_type: u32, result: i32, additions: usize) -> Result<OwnedFd> {
    const MOV64_R0_IMM: u64 = 0xb7;
    const ADD64_R0_1: u64 = 1 << 32 | 0x07;
    const EXIT: u64 = 0x95;
    let immediate = u64::from(result.cast_unsigned()) << 32;
    // struct bpf_insn: opcode, registers, offset, immediate, from the lowest byte up.
    let mut program = vec![(immediate | MOV64_R0_IMM).to_le()];
    program.extend(iter::repeat_n(ADD64_R0_1.to_le(), additions));
    program.push(EXIT.to_le());
    let mut attr = ProgLoad {
        prog_type,
        insn_cnt: u32::try_from(program.len()).context("a program's length")?,
        insns: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_name: *b"bench_empty\0\0\0\0\0",
        ..ProgLoad::default()
    };
    bpf(BPF_PROG_LOAD, &mut attr).context("load an empty kernel program")
}

fn bpf<T>(command: c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is laid out as the command wants it, the size says how much of it there is,
    // and what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    let fd = c_int::try_from(fd).map_err(io::Error::other)?;
    check(fd)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(socket: &OwnedFd, ifindex: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and the length describe one live sockaddr_ll.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of(&address),
        )
    };
    check(bound)
}

fn length_of<T>(value: &T) -> libc::socklen_t {
    size_of_val(value) as libc::socklen_t
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Bytes of kernel memory that a map holds, by its own account in fdinfo.
pub(super) fn map_memory(map: BorrowedFd<'_>) -> Result<u64> {
    let info = fdinfo_of("self", &map.as_raw_fd().to_string())?;
    info.get("memlock")
        .and_then(|bytes| bytes.parse().ok())
        .context("a map without memlock in its fdinfo")
}
