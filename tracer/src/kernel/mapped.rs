//! Arrays of the kernel programs', read from memory that the kernel shares.

use std::{
    num::NonZeroUsize,
    os::fd::{AsFd as _, BorrowedFd},
    ptr::NonNull,
    sync::atomic::AtomicU64,
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

const PAGE: usize = 4096;

/// A mapped array, as numbers of 64 bits.
pub struct Mapped {
    memory: NonNull<AtomicU64>,
    numbers: usize,
    map: MapData,
}

// SAFETY: the memory is only read, by atomic loads, and lives as long as `self`.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first `numbers` of the array `name`, which holds as many or more.
    pub fn new(ebpf: &mut Ebpf, name: &str, numbers: usize) -> anyhow::Result<Self> {
        let Some(Map::Array(map)) = ebpf.take_map(name) else {
            anyhow::bail!("the kernel object has no array {name}");
        };
        let memory = map_memory(map.fd().as_fd(), bytes(numbers)?);
        let memory = memory.with_context(|| format!("map {name} into memory"))?;
        Ok(Self {
            memory,
            numbers,
            map,
        })
    }

    /// All of it.
    pub fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds so many aligned numbers, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.numbers) }
    }

    /// The array itself, for another user of it.
    pub fn share(&self) -> anyhow::Result<MapData> {
        let fd = self.map.fd().as_fd().try_clone_to_owned();
        Ok(MapData::from_fd(fd.context("share an array")?)?)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Ok(bytes) = bytes(self.numbers) {
            // SAFETY: exactly the mapping made in `map_memory`, and no reference
            // into it outlives `self`.
            let _ = unsafe { munmap(self.memory.cast(), bytes.get()) };
        }
    }
}

/// Whole pages.
fn bytes(numbers: usize) -> anyhow::Result<NonZeroUsize> {
    let bytes = (numbers * size_of::<u64>()).div_ceil(PAGE) * PAGE;
    NonZeroUsize::new(bytes).context("no ports to watch")
}

fn map_memory(map: BorrowedFd<'_>, bytes: NonZeroUsize) -> anyhow::Result<NonNull<AtomicU64>> {
    let (read, shared) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice.
    Ok(unsafe { mmap(None, bytes, read, shared, map, 0) }?.cast())
}
