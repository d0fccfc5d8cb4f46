//! Feeds `targets/dns_answer.rs`, which says what is checked.
#![no_main]

#[path = "../targets/dns_answer.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
