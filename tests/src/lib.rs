//! The harness of the whole-server tests.
