//! The engine's rooms, and what it may never hold: sockets, clocks, randomness, threads. What it is
//! and how it is used is in its README, which follows.
//!
//! Layers, each knowing only those above it: `time` `limits` `ascii` · `line` `xtext` `address` `reply`
//! `body` `sasl` `proxy` · `command` `extension` · `server` and `client`, which never know each other.
#![doc = include_str!("../README.md")]
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
pub mod proxy;
pub mod reply;
pub mod sasl;
pub mod server;
pub mod time;
pub mod xtext;
