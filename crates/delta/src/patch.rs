//! Putting the new version of a file together (the receiver's half of wire-files 12).

use std::io;
use std::ops::Range;

use crate::blocks::Blocks;
use crate::strong::{Digest, FileSum};
use crate::{ReadAt, read_full};

/// Where the new version is written, from start to end.
pub trait Target {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// The system's.
    fn write(&mut self, data: &[u8]) -> io::Result<()>;

    /// The next bytes are already there: the file is written in place, and they stay where they were.
    ///
    /// # Errors
    /// The system's.
    fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        self.write(data)
    }
}

impl Target for Vec<u8> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.extend_from_slice(data);
        Ok(())
    }
}

/// Why a file could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The peer refers to a block that does not exist.
    #[error("block {block} of {count} does not exist")]
    NoSuchBlock {
        /// The block's number.
        block: u32,
        /// How many there are.
        count: u32,
    },
    /// The basis could not be read, or is shorter than it was.
    #[error("cannot read the basis: {0}")]
    Basis(#[source] io::Error),
    /// The new version could not be written.
    #[error("cannot write: {0}")]
    Target(#[source] io::Error),
}

/// A file in the making.
#[derive(Debug)]
pub struct Patch<B, T> {
    basis: B,
    blocks: Blocks,
    in_place: bool,
    target: T,
    sum: FileSum,
    written: u64,
    /// Blocks that follow each other and have not been copied: one read and one write for all of them.
    run: Range<u32>,
    buffer: Vec<u8>,
}

impl<B: ReadAt, T: Target> Patch<B, T> {
    /// Starts a file from a basis that is divided into `blocks`. With `in_place`, the target is the basis itself.
    pub fn new(basis: B, blocks: Blocks, in_place: bool, target: T, sum: FileSum) -> Self {
        Patch {
            basis,
            blocks,
            in_place,
            target,
            sum,
            written: 0,
            run: 0..0,
            buffer: Vec::new(),
        }
    }

    /// Appends bytes that are not in the basis.
    ///
    /// # Errors
    /// Any [`PatchError`] of the blocks before it, and [`PatchError::Target`].
    pub fn literal(&mut self, data: &[u8]) -> Result<(), PatchError> {
        self.settle()?;
        self.sum.update(data);
        self.written += data.len() as u64;
        self.target.write(data).map_err(PatchError::Target)
    }

    /// Appends a block of the basis. It is copied together with those that follow it, at the latest by
    /// [`Patch::settle`].
    ///
    /// # Errors
    /// Any [`PatchError`], also of blocks before.
    pub fn copy(&mut self, block: u32) -> Result<(), PatchError> {
        let count = self.blocks.count();
        if block >= count {
            return Err(PatchError::NoSuchBlock { block, count });
        }
        let length = u64::from(self.blocks.block_len()) * self.run.len() as u64;
        if self.run.is_empty() || self.run.end != block || length >= RUN {
            self.settle()?;
            self.run = block..block;
        }
        self.run.end += 1;
        Ok(())
    }

    /// Copies the blocks that wait.
    ///
    /// # Errors
    /// Any [`PatchError`]; they are not tried again.
    pub fn settle(&mut self) -> Result<(), PatchError> {
        let run = std::mem::take(&mut self.run);
        if run.is_empty() {
            return Ok(());
        }
        let (offset, _) = self.blocks.range(run.start);
        let len = self.run_len(&run);
        self.buffer.resize(len, 0);
        let read =
            read_full(&mut self.basis, offset, &mut self.buffer).map_err(PatchError::Basis)?;
        if read < self.buffer.len() {
            return Err(PatchError::Basis(io::ErrorKind::UnexpectedEof.into()));
        }
        self.sum.update(&self.buffer);
        let stays = self.in_place && offset == self.written;
        self.written += len as u64;
        let done = if stays {
            self.target.keep(&self.buffer)
        } else {
            self.target.write(&self.buffer)
        };
        done.map_err(PatchError::Target)
    }

    /// Bytes in blocks that follow each other.
    fn run_len(&self, run: &Range<u32>) -> usize {
        let Some(last) = run.clone().last() else {
            return 0;
        };
        let (end, len) = self.blocks.range(last);
        (end - self.blocks.range(run.start).0) as usize + len as usize
    }

    /// Bytes of the new version so far.
    pub fn written(&self) -> u64 {
        self.written + self.run_len(&self.run) as u64
    }

    /// The target, and the sum of all that it was given: blocks that wait are not part of it.
    pub fn finish(self) -> (T, Digest) {
        (self.target, self.sum.finish())
    }
}

/// Bytes that are copied together, but for a block.
const RUN: u64 = 256 << 10;
