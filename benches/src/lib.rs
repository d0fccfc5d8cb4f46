//! Benchmarks of mailrail.
