//! Reads whole maps by few system calls (`BPF_MAP_LOOKUP_BATCH` and
//! `BPF_MAP_LOOKUP_AND_DELETE_BATCH`, 5.6).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Pod,
    maps::{HashMap, IterableMap, MapData},
};

/// `enum bpf_cmd` (include/uapi/linux/bpf.h).
const LOOKUP: libc::c_int = 24;
const LOOKUP_AND_DELETE: libc::c_int = 25;

/// A reader of all elements of a hash map or an array.
pub struct Batch<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod + Default, V: Pod + Default> Batch<K, V> {
    /// For up to `size` elements by one system call.
    pub fn new(size: usize) -> Self {
        Self {
            keys: vec![K::default(); size],
            values: vec![V::default(); size],
        }
    }

    /// Shows every element of `map` to `see`.
    ///
    /// # Errors
    /// When a system call fails; elements seen until then were seen.
    pub fn walk<M: IterableMap<K, V>>(
        &mut self,
        map: &M,
        see: impl FnMut(&K, &V),
    ) -> io::Result<()> {
        self.all(LOOKUP, map.map(), see)
    }

    /// The same of a hash map, and takes the elements out of it.
    ///
    /// # Errors
    /// When a system call fails; elements seen until then were seen and are out.
    pub fn drain(
        &mut self,
        map: &HashMap<MapData, K, V>,
        see: impl FnMut(&K, &V),
    ) -> io::Result<()> {
        self.all(LOOKUP_AND_DELETE, map.map(), see)
    }

    fn all(
        &mut self,
        command: libc::c_int,
        map: &MapData,
        mut see: impl FnMut(&K, &V),
    ) -> io::Result<()> {
        let mut position = None;
        loop {
            let (read, next) = self.read(command, map, position)?;
            for (key, value) in self.keys.iter().zip(&self.values).take(read) {
                see(key, value);
            }
            position = next;
            if position.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads the next elements; the position to go on from, or `None` at the end.
    fn read(
        &mut self,
        command: libc::c_int,
        map: &MapData,
        position: Option<u32>,
    ) -> io::Result<(usize, Option<u32>)> {
        let mut next = 0u32;
        let size = self.keys.len();
        let mut attr = BatchAttr {
            in_batch: position
                .as_ref()
                .map_or(0, |p| std::ptr::from_ref(p) as u64),
            out_batch: std::ptr::from_mut(&mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(size).unwrap_or(u32::MAX),
            map_fd: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            ..BatchAttr::default()
        };
        // SAFETY: `attr` has the layout of union bpf_attr's `batch`, and its
        // pointers are to buffers of `count` elements that outlive the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                &raw mut attr,
                size_of::<BatchAttr>(),
            )
        };
        let read = (attr.count as usize).min(size);
        match result {
            0 => Ok((read, Some(next))),
            _ => match io::Error::last_os_error() {
                end if end.raw_os_error() == Some(libc::ENOENT) => Ok((read, None)),
                error => Err(error),
            },
        }
    }
}

/// `batch` in union bpf_attr (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}
