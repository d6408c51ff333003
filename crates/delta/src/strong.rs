//! The strong sums of blocks and of whole files, and what the session's seed has to do with them (wire-files 11.2 to 11.6).

use std::fmt;
use std::ops::Deref;

use md5::Digest as _;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128_with_seed};
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD4.
    Md4,
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// XXH64.
    Xxh64,
    /// XXH3 with 64 bits.
    Xxh3,
    /// XXH3 with 128 bits.
    Xxh128,
    /// No check at all: one zero byte.
    None,
}

impl Algorithm {
    /// Bytes in a sum.
    pub fn digest_len(self) -> usize {
        match self {
            Algorithm::Md4 | Algorithm::Md5 | Algorithm::Xxh128 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Xxh64 | Algorithm::Xxh3 => 8,
            Algorithm::None => 1,
        }
    }
}

/// A sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; 20],
    len: u8,
}

impl Digest {
    fn new(sum: &[u8]) -> Self {
        let mut bytes = [0; 20];
        bytes[..sum.len()].copy_from_slice(sum);
        Digest {
            bytes,
            len: sum.len() as u8,
        }
    }

    /// A sum that is certainly not this one, for a file whose data could not all be sent (wire-files 11.4).
    #[must_use]
    pub fn spoiled(&self) -> Self {
        let mut wrong = Digest {
            bytes: [0; 20],
            len: self.len,
        };
        if *self == wrong {
            wrong.bytes[usize::from(self.len).saturating_sub(1)] = 1;
        }
        wrong
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Sums blocks, with the session's seed.
#[derive(Debug, Clone, Copy)]
pub struct StrongSum {
    algorithm: Algorithm,
    seed: i32,
    seed_first: bool,
}

impl StrongSum {
    /// `seed_fix` tells whether the peers agreed to put the seed before the data under MD5.
    pub fn new(algorithm: Algorithm, seed: i32, seed_fix: bool) -> Self {
        let seed_first = match algorithm {
            Algorithm::Md5 => seed_fix,
            Algorithm::Md4 => false,
            _ => true,
        };
        StrongSum {
            algorithm,
            seed,
            seed_first,
        }
    }

    /// Bytes in a sum.
    pub fn digest_len(&self) -> usize {
        self.algorithm.digest_len()
    }

    /// The sum of one block, in full length.
    pub fn block_sum(&self, data: &[u8]) -> Digest {
        let seed = i64::from(self.seed).cast_unsigned();
        match self.algorithm {
            Algorithm::Md4 => self.seeded::<md4::Md4>(data),
            Algorithm::Md5 => self.seeded::<md5::Md5>(data),
            Algorithm::Sha1 => self.seeded::<sha1::Sha1>(data),
            Algorithm::Xxh64 => Digest::new(&xxh64(data, seed).to_le_bytes()),
            Algorithm::Xxh3 => Digest::new(&xxh3_64_with_seed(data, seed).to_le_bytes()),
            Algorithm::Xxh128 => Digest::new(&xxh3_128_with_seed(data, seed).to_le_bytes()),
            Algorithm::None => Digest::new(&[0]),
        }
    }

    fn seeded<D: md5::Digest>(&self, data: &[u8]) -> Digest {
        let seed = self.seed.to_le_bytes();
        // A seed of 0 is none.
        let seed = if self.seed == 0 { &[] } else { &seed[..] };
        let (first, second) = if self.seed_first {
            (seed, data)
        } else {
            (data, seed)
        };
        Digest::new(&D::new().chain_update(first).chain_update(second).finalize())
    }
}

/// The sum of a whole file, as its data comes by.
#[derive(Clone)]
pub struct FileSum(State);

#[derive(Clone)]
enum State {
    Md4(md4::Md4),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Xxh64(Xxh64),
    // The state of XXH3 is more than half a kilobyte.
    Xxh3(Box<Xxh3>),
    Xxh128(Box<Xxh3>),
    None,
}

impl FileSum {
    /// The sum after a transfer, and the one that `--checksum` compares before it. Neither takes a seed.
    pub fn new(algorithm: Algorithm) -> Self {
        FileSum(match algorithm {
            Algorithm::Md4 => State::Md4(md4::Md4::new()),
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Xxh64 => State::Xxh64(Xxh64::new(0)),
            Algorithm::Xxh3 => State::Xxh3(Box::default()),
            Algorithm::Xxh128 => State::Xxh128(Box::default()),
            Algorithm::None => State::None,
        })
    }

    /// The sum after a transfer before protocol 30, if nobody chose an algorithm: MD4 with the seed first, even if it
    /// is 0.
    pub fn implied_md4(seed: i32) -> Self {
        FileSum(State::Md4(md4::Md4::new_with_prefix(seed.to_le_bytes())))
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Md4(state) => state.update(data),
            State::Md5(state) => state.update(data),
            State::Sha1(state) => state.update(data),
            State::Xxh64(state) => state.update(data),
            State::Xxh3(state) | State::Xxh128(state) => state.update(data),
            State::None => {}
        }
    }

    /// The sum of all data, in full length.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Md4(state) => Digest::new(&state.finalize()),
            State::Md5(state) => Digest::new(&state.finalize()),
            State::Sha1(state) => Digest::new(&state.finalize()),
            State::Xxh64(state) => Digest::new(&state.digest().to_le_bytes()),
            State::Xxh3(state) => Digest::new(&state.digest().to_le_bytes()),
            State::Xxh128(state) => Digest::new(&state.digest128().to_le_bytes()),
            State::None => Digest::new(&[0]),
        }
    }
}

impl fmt::Debug for FileSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSum").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 7] = [
        Algorithm::Md4,
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Xxh64,
        Algorithm::Xxh3,
        Algorithm::Xxh128,
        Algorithm::None,
    ];

    fn file_sum(algorithm: Algorithm, data: &[u8]) -> String {
        let mut sum = FileSum::new(algorithm);
        data.chunks(3).for_each(|chunk| sum.update(chunk));
        format!("{:?}", sum.finish())
    }

    #[test]
    fn file_sums_are_the_published_ones() {
        assert_eq!(
            file_sum(Algorithm::Md4, b"abc"),
            "a448017aaf21d8525fc10ae87aa6729d"
        );
        assert_eq!(
            file_sum(Algorithm::Md5, b"abc"),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            file_sum(Algorithm::Sha1, b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        // The published values of XXH are written the other way round.
        assert_eq!(file_sum(Algorithm::Xxh64, b""), "99e9d85137db46ef");
        assert_eq!(file_sum(Algorithm::Xxh3, b""), "c294d3380580062d");
        assert_eq!(
            file_sum(Algorithm::Xxh128, b""),
            "7f498d4624c30160d8984701d306aa99"
        );
        assert_eq!(file_sum(Algorithm::None, b"abc"), "00");
    }

    #[test]
    fn without_a_seed_a_block_is_summed_like_a_file() {
        for algorithm in ALL {
            let block = StrongSum::new(algorithm, 0, true).block_sum(b"some data");
            assert_eq!(format!("{block:?}"), file_sum(algorithm, b"some data"));
            assert_eq!(block.len(), algorithm.digest_len());
        }
    }

    #[test]
    fn the_seed_goes_where_the_algorithm_wants_it() {
        let block = |algorithm, fix| {
            format!(
                "{:?}",
                StrongSum::new(algorithm, 0x0403_0201, fix).block_sum(b"abc")
            )
        };
        assert_eq!(
            block(Algorithm::Md5, true),
            file_sum(Algorithm::Md5, b"\x01\x02\x03\x04abc")
        );
        assert_eq!(
            block(Algorithm::Md5, false),
            file_sum(Algorithm::Md5, b"abc\x01\x02\x03\x04")
        );
        assert_eq!(
            block(Algorithm::Md4, true),
            file_sum(Algorithm::Md4, b"abc\x01\x02\x03\x04")
        );
        assert_eq!(
            block(Algorithm::Sha1, false),
            file_sum(Algorithm::Sha1, b"\x01\x02\x03\x04abc")
        );
        let negative = StrongSum::new(Algorithm::Xxh64, -1, true).block_sum(b"abc");
        assert_eq!(*negative, xxh64(b"abc", u64::MAX).to_le_bytes());
        let mut implied = FileSum::implied_md4(0);
        implied.update(b"abc");
        assert_eq!(
            format!("{:?}", implied.finish()),
            file_sum(Algorithm::Md4, b"\0\0\0\0abc")
        );
    }

    #[test]
    fn a_spoiled_sum_is_never_the_right_one() {
        for sum in [
            FileSum::new(Algorithm::Md5).finish(),
            FileSum::new(Algorithm::None).finish(),
        ] {
            assert_ne!(sum, sum.spoiled());
            assert_eq!(sum.len(), sum.spoiled().len());
        }
    }
}
