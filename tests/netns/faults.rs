//! Faults around the daemon: the line it logs, the metric that shows it, and
//! that it goes on, or ends in order, with exact counts. Interfaces and
//! addresses that come and go are in `wire`, a full flow table in `wire` and
//! `floods`.

#[path = "faults/api.rs"]
mod api;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/output.rs"]
mod output;
#[path = "faults/refused.rs"]
mod refused;
#[path = "faults/room.rs"]
mod room;
#[path = "faults/served.rs"]
mod served;
#[path = "faults/starved.rs"]
mod starved;
#[path = "faults/system.rs"]
mod system;
#[path = "faults/tables.rs"]
mod tables;
