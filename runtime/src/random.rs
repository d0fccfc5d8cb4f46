//! Randomness: the only file of the crate that asks for it, so that a seeded world can answer instead.

/// Fills `bytes` with what nobody can foretell; in a seeded world with what its seed tells.
///
/// # Panics
/// If the kernel has no random bytes, which no system that has io_uring says.
pub(crate) fn fill(bytes: &mut [u8]) {
    #[cfg(feature = "sim")]
    if let Some(world) = crate::sim::here() {
        return world.chance().fill(bytes);
    }
    getrandom::fill(bytes).expect("the kernel has random bytes");
}
