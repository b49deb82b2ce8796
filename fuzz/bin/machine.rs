#![no_main]

#[path = "../targets/machine.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|data: &[u8]| machine::run(data));
