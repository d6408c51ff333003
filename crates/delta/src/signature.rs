//! The sums of all blocks of a basis.

use std::io;
use std::ops::Range;
use std::thread;

use crate::blocks::Blocks;
use crate::read_full;
use crate::rolling::weak_sum;
use crate::strong::StrongSum;

/// A weak and a strong sum for each block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    blocks: Blocks,
    weak: Vec<u32>,
    /// Cut to the length that is sent, one after the other.
    strong: Vec<u8>,
}

impl Signature {
    /// No sums yet: those that a peer sends are added with [`Signature::push`]. Memory grows with what really comes.
    pub fn new(blocks: Blocks) -> Self {
        Signature {
            blocks,
            ..Signature::default()
        }
    }

    /// Sums a basis, which is read by position to the end of its last block: a large one on several threads, since the
    /// search cannot begin before the last sum is there.
    ///
    /// # Errors
    /// Those of reading, and `UnexpectedEof` if the basis is shorter than `blocks` says.
    pub fn of<R>(read: &R, blocks: Blocks, strong: &StrongSum) -> io::Result<Self>
    where
        R: Fn(u64, &mut [u8]) -> io::Result<usize> + Sync,
    {
        let threads = match blocks.described_len() < PARALLEL {
            true => 1,
            false => thread::available_parallelism().map_or(1, |count| count.get().min(4)) as u32,
        };
        let share = blocks.count().div_ceil(threads).max(1);
        let parts = (0..blocks.count())
            .step_by(share as usize)
            .map(|first| first..blocks.count().min(first.saturating_add(share)));
        let parts = thread::scope(|scope| {
            let start = |part: Range<u32>| {
                let sum = {
                    let part = part.clone();
                    move || Self::of_part(read, blocks, part, strong)
                };
                (part, thread::Builder::new().spawn_scoped(scope, sum).ok())
            };
            let rest: Vec<_> = parts.clone().skip(1).map(start).collect();
            let first = parts.clone().next();
            let first = first.map(|part| Self::of_part(read, blocks, part, strong));
            let lost = |_| Err(io::Error::other("a summing thread failed"));
            let rest = rest.into_iter().map(|(part, thread)| match thread {
                Some(thread) => thread.join().unwrap_or_else(lost),
                // The system has no more threads.
                None => Self::of_part(read, blocks, part, strong),
            });
            first
                .into_iter()
                .chain(rest)
                .collect::<io::Result<Vec<_>>>()
        })?;
        let mut signature = Signature::new(blocks);
        for part in parts {
            signature.weak.extend(part.weak);
            signature.strong.extend(part.strong);
        }
        Ok(signature)
    }

    /// The sums of some blocks.
    fn of_part<R>(
        read: &R,
        blocks: Blocks,
        part: Range<u32>,
        strong: &StrongSum,
    ) -> io::Result<Self>
    where
        R: Fn(u64, &mut [u8]) -> io::Result<usize>,
    {
        let mut signature = Signature::new(blocks);
        let block_len = (blocks.block_len() as usize).max(1);
        let (mut offset, last_len) = match part.is_empty() {
            true => return Ok(signature),
            false => (blocks.range(part.start).0, blocks.range(part.end - 1).1),
        };
        let end = blocks.range(part.end - 1).0 + u64::from(last_len);
        let whole = READ.div_ceil(block_len) * block_len;
        // Most files are small, and need no large buffer.
        let mut buffer = vec![0; usize::try_from(end - offset).map_or(whole, |len| len.min(whole))];
        while offset < end {
            let left = end - offset;
            let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let mut source = |offset: u64, buffer: &mut [u8]| read(offset, buffer);
            if read_full(&mut source, offset, &mut buffer[..len])? < len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for block in buffer[..len].chunks(block_len) {
                signature.push(weak_sum(block), &strong.block_sum(block));
            }
            offset += len as u64;
        }
        Ok(signature)
    }

    /// Adds the sums of the next block; more than the blocks have, and what is too short, is ignored.
    pub fn push(&mut self, weak: u32, strong: &[u8]) {
        let cut = strong.get(..self.blocks.strong_len().into());
        if let Some(strong) = cut.filter(|_| self.weak.len() < self.blocks.count() as usize) {
            self.weak.push(weak);
            self.strong.extend_from_slice(strong);
        }
    }

    /// How the basis is divided.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The sums of every block so far, in order.
    pub fn sums(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.weak
            .iter()
            .enumerate()
            .map(|(index, &weak)| (weak, self.strong(index)))
    }

    pub(crate) fn weak(&self) -> &[u32] {
        &self.weak
    }

    pub(crate) fn strong(&self, index: usize) -> &[u8] {
        let len = usize::from(self.blocks.strong_len());
        &self.strong[index * len..][..len]
    }
}

/// Bytes that are read at a time.
const READ: usize = 256 << 10;

/// A basis from this length on, in bytes, is summed by several threads.
const PARALLEL: u64 = 4 << 20;
