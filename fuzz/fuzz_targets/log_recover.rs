//! Feeds `targets/log_recover.rs`, which says what is checked.
#![no_main]

#[path = "../targets/log_recover.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
