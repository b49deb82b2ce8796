//! Ctrl-C: what was read until then is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use crate::{
    exit::Exit,
    explain::{self, Ended},
};

/// How often Ctrl-C came.
#[derive(Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicU32>);

impl Interrupt {
    /// Handles Ctrl-C from now on; the second one quits.
    ///
    /// # Errors
    /// When that cannot be set up.
    pub(super) fn handle() -> Result<Self, Exit> {
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|e| Exit::runtime("handle signals", e))?;
        let mut signals = {
            let _inside = runtime.enter();
            explain::interrupts()?
        };
        thread::spawn(move || {
            runtime.block_on(async {
                while signals.recv().await.is_some() {
                    if counted.fetch_add(1, Ordering::Relaxed) > 0 {
                        std::process::exit(Ended::Interrupted as i32);
                    }
                }
            });
        });
        Ok(Self(count))
    }

    /// Whether it came.
    #[inline]
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}
