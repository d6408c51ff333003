//! Randomness that a seed repeats exactly.

/// A generator of pseudo-random numbers (SplitMix64): small, fast, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    ///
    /// # Panics
    ///
    /// When `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "no number is below 0");
        // The bias is far below what a test could notice.
        (self.bits() % end as u64) as usize
    }

    /// One of `choices`, or `None` if there are none.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        (!choices.is_empty()).then(|| &choices[self.below(choices.len())])
    }
}

/// `size` bytes that look random and are always the same for this seed; no two blocks are alike, so
/// that a delta transfer cannot mistake one for another.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.bits().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_sequence_and_another_does_not() {
        assert_eq!(content(1, 1000), content(1, 1000));
        assert_eq!(content(1, 13), content(1, 1000)[..13]);
        assert_ne!(content(1, 1000), content(2, 1000));
        assert!(content(1, 0).is_empty());
    }

    #[test]
    fn every_choice_comes_up() {
        let mut random = Random::new(7);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[*random.choose(&[0, 1, 2, 3, 4]).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.choose::<u8>(&[]), None);
    }
}
