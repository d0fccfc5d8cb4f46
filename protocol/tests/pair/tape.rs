//! Choices, read off a string of octets: a fuzzer's, or a property test's. What is chosen, and
//! what comes of it, is not known here.

/// What is left of the octets. At their end everything is as usual.
pub(crate) struct Tape<'t>(pub(crate) &'t [u8]);

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        let Some((&octet, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        octet
    }

    /// 0 to `count - 1`. 0 is what is usual.
    pub(crate) fn choice(&mut self, count: u8) -> usize {
        usize::from(self.next() % count)
    }

    /// Once in 16 times.
    pub(crate) fn rarely(&mut self) -> bool {
        self.next() >= 240
    }

    /// Once in 256 times.
    pub(crate) fn hardly_ever(&mut self) -> bool {
        self.next() == 255
    }

    /// As many bits.
    pub(crate) fn bits(&mut self) -> u32 {
        u32::from_le_bytes([self.next(), self.next(), self.next(), self.next()])
    }

    /// A length from 1 to `len_max`, the longest by custom.
    pub(crate) fn len(&mut self, len_max: usize) -> usize {
        match self.next() {
            0 => len_max,
            octet => (1 + len_max * usize::from(octet) / 256).min(len_max),
        }
    }
}

/// How a stream is cut on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    seed: u64,
    len_max: usize,
}

impl Cuts {
    pub(crate) fn new(tape: &mut Tape<'_>) -> Self {
        let len_max = [usize::MAX, 1, 3, 60, 5000][tape.choice(5)];
        Self {
            seed: tape.bits().into(),
            len_max,
        }
    }

    /// How much of so many octets travels now.
    pub(crate) fn next(&mut self, len: usize) -> usize {
        if self.len_max == usize::MAX {
            return len;
        }
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (1 + (self.seed >> 33) as usize % self.len_max).min(len)
    }
}
