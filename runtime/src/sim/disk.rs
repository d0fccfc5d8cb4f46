//! The disk of a machine: what was written and not synced may be lost, torn or kept at a power cut.

use super::World;

/// A disk. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Disk {
    _world: World,
}

impl Disk {
    pub(super) fn new(world: &World) -> Self {
        Self {
            _world: world.clone(),
        }
    }

    pub(super) fn process_ended(&self) {}

    pub(super) fn power_cut(&self) {}
}
