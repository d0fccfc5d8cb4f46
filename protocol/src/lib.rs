//! `mailrail-protocol`: a sans-IO SMTP engine for both roles.
#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::std_instead_of_core,
    clippy::alloc_instead_of_core,
    clippy::std_instead_of_alloc
)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]
extern crate alloc;

pub mod address;
mod ascii;
pub mod body;
pub mod client;
pub mod command;
pub mod extension;
pub mod limits;
mod line;
pub mod reply;
pub mod server;
pub mod time;
