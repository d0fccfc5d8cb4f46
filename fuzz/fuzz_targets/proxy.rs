//! Feeds `targets/proxy.rs`, which says what is checked.
#![no_main]

#[path = "../targets/proxy.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
