//! The daemon never stands in the way: not when it is killed, not when it
//! cannot start, not when its readers are slow.

#[path = "robust/errors.rs"]
mod errors;
#[path = "robust/privileges.rs"]
mod privileges;
#[path = "robust/readers.rs"]
mod readers;
#[path = "robust/signals.rs"]
mod signals;
#[path = "robust/stop.rs"]
mod stop;
