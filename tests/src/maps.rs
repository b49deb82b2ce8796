//! Arrays of a running daemon's kernel programs, through the kernel (bpf(2)).

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

// enum bpf_cmd of include/uapi/linux/bpf.h.
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const FD_BY_ID: libc::c_long = 14;
/// BPF_MAP_TYPE_ARRAY
const ARRAY: u32 = 2;

/// `union bpf_attr` as the commands on elements use it.
#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn bpf(command: libc::c_long, attr: &mut Element) -> io::Result<i32> {
    let size = size_of::<Element>();
    // SAFETY: the kernel reads `size` bytes of `attr`, and what its pointers lead to
    // lives as long as their callers' borrows.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size) };
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An array map.
#[derive(Debug)]
pub struct Array {
    fd: OwnedFd,
    value_size: usize,
    entries: u32,
}

impl Array {
    /// The one of the process `pid` with so many places of so many bytes.
    ///
    /// # Errors
    /// There is none such, or more than one.
    pub fn of(pid: i32, entries: u32, value_size: u32) -> Result<Self> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // Closed since.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            let number = |key: &str| {
                let value = text.lines().find_map(|line| line.strip_prefix(key));
                value.and_then(|value| value.trim().parse::<u32>().ok())
            };
            let what = ["map_type:", "max_entries:", "value_size:"].map(number);
            if what == [ARRAY, entries, value_size].map(Some) {
                ids.extend(number("map_id:"));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ensure!(ids.len() == 1, "{} arrays of this kind", ids.len());
        let mut attr = Element {
            map: *ids.first().context("none")?,
            ..Element::default()
        };
        let fd = bpf(FD_BY_ID, &mut attr)?;
        Ok(Self {
            // SAFETY: the kernel has just opened it for us.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            value_size: value_size as usize,
            entries,
        })
    }

    fn element(&self, key: &u32, value: &mut [u8]) -> Result<Element> {
        ensure!(value.len() == self.value_size, "{} bytes", value.len());
        Ok(Element {
            map: self.fd.as_raw_fd().cast_unsigned(),
            key: &raw const *key as u64,
            value: value.as_mut_ptr() as u64,
            ..Element::default()
        })
    }

    /// Reads all values.
    ///
    /// # Errors
    /// As of bpf(2).
    pub fn values(&self) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for key in 0..self.entries {
            let mut value = vec![0; self.value_size];
            bpf(LOOKUP, &mut self.element(&key, &mut value)?)?;
            all.push(value);
        }
        Ok(all)
    }

    /// Writes one value.
    ///
    /// # Errors
    /// As of bpf(2), or when its size is another.
    pub fn set(&self, key: u32, mut value: Vec<u8>) -> Result<()> {
        bpf(UPDATE, &mut self.element(&key, &mut value)?)?;
        Ok(())
    }
}
