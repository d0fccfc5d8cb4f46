//! Feeds `targets/sasl.rs`, which says what is checked.
#![no_main]

#[path = "../targets/sasl.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
