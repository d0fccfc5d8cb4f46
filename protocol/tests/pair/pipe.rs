//! Octets on their way: those in front go, and the rest need not move each time. Who reads them is
//! not known here.

/// A queue of octets.
#[derive(Default)]
pub(crate) struct Pipe {
    octets: Vec<u8>,
    /// How many are gone.
    gone: usize,
}

impl Pipe {
    /// What is there.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.octets[self.gone..]
    }

    /// So many go.
    pub(crate) fn take(&mut self, count: usize) {
        self.gone += count;
        assert!(self.gone <= self.octets.len());
        if self.gone == self.octets.len() {
            self.octets.clear();
            self.gone = 0;
        }
    }

    pub(crate) fn put(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }
}
