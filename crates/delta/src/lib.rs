//! The delta algorithm: what two versions of a file have in common, found without either end having both.
//!
//! 1. The receiver describes its version, the basis: [`Blocks`] divides it, [`Signature`] holds a weak and a strong
//!    sum of every block.
//! 2. The sender looks for those blocks anywhere in its own version: [`search()`] turns it into literal bytes and
//!    references to blocks, given to a [`Sink`].
//! 3. The receiver puts the new version together from both: [`Patch`].
//! 4. A sum over the whole file ([`FileSum`]) tells whether it went well.
//!
//! Files are read through `Read` or by position and are never mapped: others may truncate them at any time. Sums are
//! bit for bit those of rsync. This crate must never learn how any of this is written on a wire, which file it is
//! about, or what happens to a file that turned out wrong.

mod blocks;
mod patch;
mod rolling;
mod search;
mod signature;
mod strong;

pub use blocks::{BadBlocks, Blocks, block_len, strong_len};
pub use patch::{Patch, PatchError, Target};
pub use rolling::{RollingSum, weak_sum};
pub use search::{Index, Outcome, Sink, Tally, search};
pub use signature::Signature;
pub use strong::{Algorithm, Digest, FileSum, StrongSum};

/// Bytes by position: reads at the offset into the buffer and returns how many, 0 only at the end of the file. Any
/// closure of this shape is one.
pub trait ReadAt {
    /// Reads at `offset`.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize>;
}

impl<F: FnMut(u64, &mut [u8]) -> std::io::Result<usize>> ReadAt for F {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self(offset, buffer)
    }
}

/// Reads until the buffer is full or the file ends; returns how many bytes there were.
fn read_full(source: &mut impl ReadAt, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match source.read_at(offset + done as u64, &mut buffer[done..]) {
            Ok(0) => break,
            // A source may claim anything.
            Ok(read) => done = (done + read).min(buffer.len()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
