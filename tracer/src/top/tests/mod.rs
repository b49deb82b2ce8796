//! Screens, held against pages in `testdata/`. After a change that is meant,
//! `UPDATE_SNAPSHOTS=1 cargo test -p tracer top` writes them anew.

mod any;
mod pty;
mod scene;
mod screens;
