//! What the wire tap makes of packets of every shape, on interfaces of every
//! kind: exactly one attempt each, with the right outcome.

#[path = "wire/addresses.rs"]
mod addresses;
#[path = "wire/headers.rs"]
mod headers;
#[path = "wire/icmp.rs"]
mod icmp;
#[path = "wire/interfaces.rs"]
mod interfaces;
#[path = "wire/payload.rs"]
mod payload;
#[path = "wire/scene.rs"]
mod scene;
#[path = "wire/settings.rs"]
mod settings;
