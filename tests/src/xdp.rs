//! An XDP program that lets everything pass, as those of other datapaths stand before
//! the tap (bpf(2)).

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::net::if_::if_nametoindex;

use crate::netns::Netns;

// enum bpf_cmd, bpf_prog_type and bpf_attach_type of include/uapi/linux/bpf.h.
const LOAD: libc::c_long = 5;
const LINK: libc::c_long = 28;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;

/// `r0 = XDP_PASS; exit`, as `struct bpf_insn`.
static PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
static LICENSE: &[u8; 4] = b"MIT\0";

/// `union bpf_attr`, as far as loading a program takes it.
#[repr(C)]
#[derive(Default)]
struct Program {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log: [u64; 2],
    version: u32,
    flags: u32,
}

/// The same for a link.
#[repr(C)]
#[derive(Default)]
struct Link {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the size given of `attr`, whose pointers lead to statics.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    match i32::try_from(fd) {
        // SAFETY: the descriptor is new and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The program on an interface; dropping it takes it away.
#[derive(Debug)]
pub struct Xdp {
    _link: OwnedFd,
}

impl Xdp {
    /// Attaches it in a namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pass(ns: &Netns, interface: &str) -> Result<Self> {
        ns.enter(|| {
            let program = bpf(
                LOAD,
                &mut Program {
                    kind: TYPE_XDP,
                    instructions: PASS.len() as u32,
                    code: PASS.as_ptr() as u64,
                    license: LICENSE.as_ptr() as u64,
                    ..Program::default()
                },
            );
            let program = program.context("load an XDP program")?;
            let link = bpf(
                LINK,
                &mut Link {
                    program: program.as_raw_fd().cast_unsigned(),
                    target: if_nametoindex(interface)?,
                    attach_type: ATTACH_XDP,
                    ..Link::default()
                },
            );
            let link = link.with_context(|| format!("attach XDP to {interface}"))?;
            Ok(Self { _link: link })
        })?
    }
}
