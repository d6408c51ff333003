//! The sums of all blocks of a basis.

use std::io::{self, Read};

use crate::blocks::Blocks;
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

    /// Sums a basis, which is read to the end of its last block.
    ///
    /// # Errors
    /// Those of reading, and `UnexpectedEof` if the basis is shorter than `blocks` says.
    pub fn of(basis: &mut impl Read, blocks: Blocks, strong: &StrongSum) -> io::Result<Self> {
        const READ: usize = 256 << 10;
        let mut signature = Signature::new(blocks);
        let block_len = (blocks.block_len() as usize).max(1);
        let mut buffer = vec![0; READ.div_ceil(block_len) * block_len];
        let mut left = blocks.described_len();
        while left > 0 {
            let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            basis.read_exact(&mut buffer[..len])?;
            for block in buffer[..len].chunks(block_len) {
                signature.push(weak_sum(block), &strong.block_sum(block));
            }
            left -= len as u64;
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
