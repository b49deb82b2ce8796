//! The tables of iptables-legacy, by getsockopt(2). Read only.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

/// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO`
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, `IP6T_SO_GET_ENTRIES`
const GET_ENTRIES: libc::c_int = 65;
/// Bytes of `struct ipt_getinfo`; the same for IPv6.
const INFO: usize = 84;
/// Bytes of what precedes the entries in `struct ipt_get_entries`; the same for IPv6.
pub const HEAD: usize = 40;
/// Bytes of a table's name, with a NUL.
const NAME: usize = 32;

/// `struct ipt_getinfo` of a table, which has to exist: the kernel makes one that does
/// not. Numbers are in host byte order.
///
/// # Errors
/// Of the kernel.
pub fn info(v6: bool, table: &str) -> Result<Vec<u8>, Errno> {
    let mut buffer = named(table, INFO)?;
    get(v6, GET_INFO, &mut buffer)?;
    Ok(buffer)
}

/// All entries of a table, as many bytes as [`info`] says, behind [`HEAD`] others.
///
/// # Errors
/// Of the kernel; EAGAIN: the table has changed since.
pub fn entries(v6: bool, table: &str, size: u32) -> Result<Vec<u8>, Errno> {
    let mut buffer = named(table, HEAD + size as usize)?;
    let field = buffer.get_mut(NAME..NAME + 4).ok_or(Errno::EINVAL)?;
    field.copy_from_slice(&size.to_ne_bytes());
    get(v6, GET_ENTRIES, &mut buffer)?;
    Ok(buffer)
}

fn named(table: &str, size: usize) -> Result<Vec<u8>, Errno> {
    if table.len() >= NAME {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut buffer = vec![0; size];
    let name = buffer.get_mut(..table.len()).ok_or(Errno::EINVAL)?;
    name.copy_from_slice(table.as_bytes());
    Ok(buffer)
}

fn get(v6: bool, option: libc::c_int, buffer: &mut [u8]) -> Result<(), Errno> {
    let (family, level) = if v6 {
        (AddressFamily::Inet6, libc::SOL_IPV6)
    } else {
        (AddressFamily::Inet, libc::SOL_IP)
    };
    let socket: OwnedFd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(|_| Errno::EINVAL)?;
    let (fd, at) = (socket.as_raw_fd(), buffer.as_mut_ptr());
    // SAFETY: `at` points to `length` writable bytes, and the kernel writes no more.
    let result = unsafe { libc::getsockopt(fd, level, option, at.cast(), &raw mut length) };
    Errno::result(result).map(drop)
}
