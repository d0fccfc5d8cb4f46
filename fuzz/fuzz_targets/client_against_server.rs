//! Feeds `targets/client_against_server.rs`, which says what is checked.
#![no_main]

#[path = "../targets/client_against_server.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::run(bytes));
