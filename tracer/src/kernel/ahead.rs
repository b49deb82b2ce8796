//! Which programs see an interface's packets, in their order: those ahead of the tap may
//! keep packets from it.

use std::io;

use aya::Ebpf;

/// `enum bpf_cmd` and `enum bpf_attach_type` (include/uapi/linux/bpf.h).
const PROG_QUERY: libc::c_int = 16;
const TCX_INGRESS: u32 = 46;
/// `BPF_MPROG_MAX`: no more can be attached to one place.
const MOST: usize = 64;

/// Ids of these programs, as far as they are loaded.
pub fn ids(ebpf: &Ebpf, names: &[&str]) -> Vec<u32> {
    let programs = names.iter().filter_map(|name| ebpf.program(name));
    programs
        .filter_map(|program| Some(program.info().ok()?.id()))
        .collect()
}

/// Ids of the programs that tcx runs for what comes in by an interface, in their order.
/// Needs CAP_NET_ADMIN.
///
/// # Errors
/// When the kernel refuses, or has no tcx (EINVAL).
pub fn programs(ifindex: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST];
    let mut attr = QueryAttr {
        target: ifindex,
        attach_type: TCX_INGRESS,
        ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `attr` has the layout of union bpf_attr's `query`, and its pointer is to a
    // buffer of `count` elements that outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_QUERY,
            &raw mut attr,
            size_of::<QueryAttr>(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = (attr.count as usize).min(MOST);
    Ok(ids.into_iter().take(count).collect())
}

/// `query` in union bpf_attr (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    pad: u32,
    id_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}
