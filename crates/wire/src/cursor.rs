//! The one way bytes become values: a cursor over a borrowed slice.
//!
//! Decoders read from a [`Cursor`] and use `?` on [`Stop`]. "The slice ends too early" is an answer,
//! not a failure: the caller keeps the bytes, waits for more and decodes the same value again from its
//! start, so a decoder must not change its own state before its last read has succeeded.

use crate::Malformed;

/// Why a decoder stopped before it had a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The bytes so far are a proper prefix of a value; try again with more of them.
    Incomplete,
    /// No continuation of these bytes can be a value.
    Malformed(Malformed),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A position in a borrowed slice of received bytes.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been consumed.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes that have not been consumed.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Consumes one byte.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] at the end of the slice.
    pub fn byte(&mut self) -> Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::Incomplete)?;
        self.at += 1;
        Ok(byte)
    }

    /// Consumes `count` bytes. The count must have been bounded by the caller.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let taken = self.rest().get(..count).ok_or(Stop::Incomplete)?;
        self.at += count;
        Ok(taken)
    }

    /// Consumes exactly `N` bytes as an array.
    ///
    /// # Errors
    /// [`Stop::Incomplete`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (array, _) = self
            .rest()
            .split_first_chunk::<N>()
            .ok_or(Stop::Incomplete)?;
        self.at += N;
        Ok(*array)
    }
}

/// Turns a decoder's answer into the caller's question "is there a value yet?".
///
/// # Errors
/// The [`Malformed`] of [`Stop::Malformed`].
pub fn if_complete<T>(answer: Result<T, Stop>) -> Result<Option<T>, Malformed> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(malformed)) => Err(malformed),
    }
}
