#![no_main]

#[path = "../targets/first_bytes.rs"]
mod first_bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| first_bytes::run(data));
