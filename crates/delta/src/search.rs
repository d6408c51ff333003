//! Finding the blocks of a basis in another version of the file (wire-files 12).

use std::io;

use crate::rolling::RollingSum;
use crate::signature::Signature;
use crate::strong::{Digest, StrongSum};
use crate::{ReadAt, read_full};

/// Bytes read at a time.
const READ: usize = 256 << 10;
/// Blocks compared at one offset before it counts as unmatched.
const MAX_CANDIDATES: usize = 1024;
/// Bytes rolled over between two looks at what was found.
const STRIDE: usize = 8;

/// Takes the parts of a file, in order.
pub trait Sink {
    /// Why a part could not be taken.
    type Error;

    /// Bytes that are not in the basis, or were not found there; never none.
    ///
    /// # Errors
    /// The sink's own; they end the search.
    fn literal(&mut self, data: &[u8]) -> Result<(), Self::Error>;

    /// A block of the basis, by its number. Its content is given for sums and compression.
    ///
    /// # Errors
    /// The sink's own; they end the search.
    fn matched(&mut self, block: u32, data: &[u8]) -> Result<(), Self::Error>;
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Bytes found in the basis.
    pub matched: u64,
    /// Bytes that were not.
    pub literal: u64,
    /// How it was done.
    pub tally: Tally,
    /// The file could not be read, or became shorter. What is missing went out as zeros, and the whole-file sum must
    /// be spoiled so that the receiver does not take it for the truth.
    pub damage: Option<io::Error>,
}

/// What a search, or several, met with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Blocks found.
    pub matches: u64,
    /// Places whose weak sum is that of a block.
    pub hash_hits: u64,
    /// Such places where no block was.
    pub false_alarms: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.matches += other.matches;
        self.hash_hits += other.hash_hits;
        self.false_alarms += other.false_alarms;
    }
}

/// Looks for the blocks of `index` in the `len` bytes of `source`, which is read once, from start to end.
///
/// With `in_place`, the receiver writes over its basis while it reads it: blocks that it will have overwritten by then
/// are not used. With nothing in the index, everything is literal.
///
/// # Errors
/// Those of the sink. Trouble with the source is part of the outcome.
pub fn search<S: Sink>(
    source: &mut impl ReadAt,
    len: u64,
    index: &Index<'_>,
    strong: &StrongSum,
    in_place: bool,
    sink: &mut S,
) -> Result<Outcome, S::Error> {
    let blocks = index.signature.blocks();
    let block_len = blocks.block_len() as usize;
    let mut window = Window::new(source, len, block_len);
    let mut search = Search {
        index,
        strong,
        in_place,
        want: 0,
        kept: Vec::new(),
        sink,
        outcome: Outcome::default(),
    };
    if in_place {
        search.kept = vec![false; index.signature.weak().len()];
    }

    let mut sum = None;
    while !index.is_empty() && window.has(block_len) {
        if window.buffered().len() < block_len {
            search.literal(&mut window)?;
            window.refill();
        }
        let data = window.buffered();
        let rolling = sum.get_or_insert_with(|| RollingSum::new(&data[..block_len]));
        if let Some(block) = search.find(rolling.value(), window.offset(), &data[..block_len]) {
            search.literal(&mut window)?;
            search.matched(&mut window, block, block_len)?;
            sum = None;
            continue;
        }
        // Roll on while the buffer lasts; the strong sum is the next round's.
        let (steps, more) = index.roll(rolling, data, block_len);
        window.advance(steps);
        if !more {
            // The last byte of the buffer is in the window: the next one has to be read before the sum can move on.
            if !window.has(block_len + 1) {
                window.advance(1);
                break;
            }
            search.literal(&mut window)?;
            window.refill();
            let data = window.buffered();
            rolling.roll(data[0], data[block_len]);
            window.advance(1);
        }
    }
    search.tail(&mut window)?;
    search.rest(&mut window)?;
    search.outcome.damage = window.damage;
    Ok(search.outcome)
}

/// A signature made ready for searching.
#[derive(Debug)]
pub struct Index<'a> {
    signature: &'a Signature,
    /// One bit for each hash of a weak sum: a cheap "certainly not here", which is the answer at nearly every offset.
    tags: Vec<u64>,
    tag_shift: u32,
    /// For each hash the last block with it, and for each block the one before it with the same hash; 0 is none.
    heads: Vec<u32>,
    head_shift: u32,
    previous: Vec<u32>,
}

impl<'a> Index<'a> {
    /// Sorts the sums of the whole blocks by their hash.
    pub fn new(signature: &'a Signature) -> Self {
        let blocks = signature.blocks();
        let all = signature.weak();
        // A short last block can only match at the very end, where it is looked for by itself.
        let is_short = blocks.remainder() != 0 && all.len() == blocks.count() as usize;
        let whole = &all[..all.len() - usize::from(is_short && !all.is_empty())];

        let head_bits = (whole.len() * 2).next_power_of_two().ilog2().clamp(4, 31);
        let tag_bits = (whole.len() * 64).next_power_of_two().ilog2().clamp(10, 24);
        let mut index = Index {
            signature,
            tags: vec![0; 1 << (tag_bits - 6)],
            tag_shift: 32 - tag_bits,
            heads: vec![0; 1 << head_bits],
            head_shift: 32 - head_bits,
            previous: vec![0; whole.len()],
        };
        for (block, &weak) in (1..).zip(whole) {
            let tag = hash(weak) >> index.tag_shift;
            index.tags[(tag / 64) as usize] |= 1 << (tag % 64);
            let head = &mut index.heads[(hash(weak) >> index.head_shift) as usize];
            index.previous[block as usize - 1] = *head;
            *head = block;
        }
        index
    }

    fn is_empty(&self) -> bool {
        self.signature.weak().is_empty()
    }

    /// The lowest bit is set if there may be a block with this weak sum.
    #[inline]
    fn tag(&self, weak: u32) -> u64 {
        let tag = hash(weak) >> self.tag_shift;
        self.tags[(tag / 64) as usize] >> (tag % 64)
    }

    /// The blocks that may have this weak sum, highest number first.
    fn candidates(&self, weak: u32) -> impl Iterator<Item = usize> {
        let first = if self.tag(weak) & 1 == 1 {
            self.heads[(hash(weak) >> self.head_shift) as usize]
        } else {
            0
        };
        let link = |block: u32| (block != 0).then_some(block);
        std::iter::successors(link(first), move |&block| {
            link(self.previous[block as usize - 1])
        })
        // Counting blocks with another sum too bounds the work whatever sums a peer makes up.
        .take(MAX_CANDIDATES)
        .map(|block| block as usize - 1)
        .filter(move |&block| self.signature.weak()[block] == weak)
    }

    /// Moves `sum`, of the first `block_len` bytes of `data`, on by at least one byte until a block has that sum.
    /// Returns how far that was, and false if the data came to its end first.
    fn roll(&self, sum: &mut RollingSum, data: &[u8], block_len: usize) -> (usize, bool) {
        let leaving = &data[..data.len() - block_len];
        let entering = &data[block_len..];
        let mut rolling = *sum;
        let mut steps = 0;
        let mut found = false;
        while !found && steps < leaving.len() {
            // Several bytes to each branch: this loop is where a search spends its time.
            for (leaving, entering) in leaving[steps..]
                .as_chunks::<STRIDE>()
                .0
                .iter()
                .zip(entering[steps..].as_chunks().0)
            {
                let mut ahead = rolling;
                let mut tags = 0;
                for (&leaving, &entering) in leaving.iter().zip::<&[u8; STRIDE]>(entering) {
                    ahead.roll(leaving, entering);
                    tags |= self.tag(ahead.value());
                }
                if tags & 1 == 1 {
                    break;
                }
                rolling = ahead;
                steps += STRIDE;
            }
            for (&leaving, &entering) in
                leaving[steps..].iter().zip(&entering[steps..]).take(STRIDE)
            {
                rolling.roll(leaving, entering);
                steps += 1;
                found = self.candidates(rolling.value()).next().is_some();
                if found {
                    break;
                }
            }
        }
        *sum = rolling;
        (steps, found)
    }
}

/// Spreads a weak sum over 32 bits, the upper ones best.
#[inline]
fn hash(weak: u32) -> u32 {
    weak.wrapping_mul(0x9e37_79b1)
}

struct Search<'a, S> {
    index: &'a Index<'a>,
    strong: &'a StrongSum,
    in_place: bool,
    /// The block after the last one found.
    want: usize,
    /// In place: blocks found at their own offset, which stay what they are.
    kept: Vec<bool>,
    sink: &'a mut S,
    outcome: Outcome,
}

impl<S: Sink> Search<'_, S> {
    /// The block that is here, if one is.
    fn find(&mut self, weak: u32, offset: u64, data: &[u8]) -> Option<usize> {
        let mut digest = None;
        // In place, a block where it already is costs the receiver nothing; otherwise a run of blocks is best.
        let here = if self.in_place {
            self.block_at(offset, data.len())
        } else {
            None
        };
        let first = here.into_iter().chain(Some(self.want));
        let mut candidates = first
            .filter(|&block| self.has_weak(block, weak, data.len()))
            .chain(self.index.candidates(weak));
        let found = candidates.find(|&block| {
            self.may_use(block, offset) && self.has_strong(block, data, &mut digest)
        });
        drop(candidates);
        let tally = &mut self.outcome.tally;
        tally.hash_hits += u64::from(digest.is_some());
        tally.false_alarms += u64::from(digest.is_some() && found.is_none());
        found
    }

    fn block_at(&self, offset: u64, len: usize) -> Option<usize> {
        offset
            .is_multiple_of(len as u64)
            .then(|| usize::try_from(offset / len as u64).ok())
            .flatten()
    }

    fn has_weak(&self, block: usize, weak: u32, len: usize) -> bool {
        let signature = self.index.signature;
        let is_len = |block: usize| signature.blocks().range(block as u32).1 as usize == len;
        signature.weak().get(block).is_some_and(|&sum| sum == weak) && is_len(block)
    }

    /// In place, what lies before the end of the output is overwritten, unless it was kept.
    fn may_use(&self, block: usize, offset: u64) -> bool {
        !self.in_place
            || self.kept[block]
            || self.index.signature.blocks().range(block as u32).0 >= offset
    }

    fn has_strong(&self, block: usize, data: &[u8], digest: &mut Option<Digest>) -> bool {
        let sum = self.index.signature.strong(block);
        digest
            .get_or_insert_with(|| self.strong.block_sum(data))
            .starts_with(sum)
    }

    /// Emits what lies between the last match and here.
    fn literal<R: ReadAt>(&mut self, window: &mut Window<'_, R>) -> Result<(), S::Error> {
        let data = window.take_pending();
        if !data.is_empty() {
            self.outcome.literal += data.len() as u64;
            self.sink.literal(data)?;
        }
        Ok(())
    }

    fn matched<R: ReadAt>(
        &mut self,
        window: &mut Window<'_, R>,
        block: usize,
        len: usize,
    ) -> Result<(), S::Error> {
        if self.in_place && self.index.signature.blocks().range(block as u32).0 == window.offset() {
            self.kept[block] = true;
        }
        self.want = block + 1;
        self.outcome.matched += len as u64;
        self.outcome.tally.matches += 1;
        self.sink.matched(block as u32, &window.buffered()[..len])?;
        window.advance(len);
        window.take_pending();
        Ok(())
    }

    /// A short last block can only be at the end of the file.
    fn tail<R: ReadAt>(&mut self, window: &mut Window<'_, R>) -> Result<(), S::Error> {
        let blocks = *self.index.signature.blocks();
        let len = blocks.remainder() as usize;
        let is_known =
            self.index.signature.weak().len() == blocks.count() as usize && blocks.count() > 0;
        if len == 0 || !is_known || !window.has(len) {
            return Ok(());
        }
        while !window.is_at_end_but(len) {
            let steps = window.buffered().len().min(window.left_but(len));
            window.advance(steps);
            self.literal(window)?;
            window.refill();
        }
        if window.buffered().len() < len {
            self.literal(window)?;
            window.refill();
        }
        let block = blocks.count() as usize - 1;
        let data = &window.buffered()[..len];
        let is_here = self.has_weak(block, RollingSum::new(data).value(), len)
            && self.may_use(block, window.offset())
            && self.has_strong(block, data, &mut None);
        self.outcome.tally.hash_hits += u64::from(is_here);
        if is_here {
            self.literal(window)?;
            self.matched(window, block, len)?;
        }
        Ok(())
    }

    /// Everything that is left is literal.
    fn rest<R: ReadAt>(&mut self, window: &mut Window<'_, R>) -> Result<(), S::Error> {
        loop {
            window.advance(window.buffered().len());
            self.literal(window)?;
            if !window.has(1) {
                return Ok(());
            }
            window.refill();
        }
    }
}

/// The part of the source that is in memory.
struct Window<'a, R> {
    source: &'a mut R,
    len: u64,
    /// Bytes of the source from `start` on.
    buffer: Vec<u8>,
    start: u64,
    /// How much of the buffer is filled.
    filled: usize,
    /// The buffer up to here has been emitted.
    emitted: usize,
    /// The buffer up to here has been searched.
    at: usize,
    damage: Option<io::Error>,
}

impl<'a, R: ReadAt> Window<'a, R> {
    fn new(source: &'a mut R, len: u64, block_len: usize) -> Self {
        // Small files need no large buffer.
        let room = usize::try_from(len).map_or(READ + block_len, |len| len.min(READ + block_len));
        Window {
            source,
            len,
            buffer: vec![0; room],
            start: 0,
            filled: 0,
            emitted: 0,
            at: 0,
            damage: None,
        }
    }

    fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// Does the file have so many bytes from here on?
    fn has(&self, count: usize) -> bool {
        self.len - self.offset() >= count as u64
    }

    fn is_at_end_but(&self, count: usize) -> bool {
        self.len - self.offset() == count as u64
    }

    /// How many bytes are left without the last `count`, as far as that is a number here.
    fn left_but(&self, count: usize) -> usize {
        usize::try_from((self.len - self.offset()).saturating_sub(count as u64))
            .unwrap_or(usize::MAX)
    }

    /// What is in memory from here on.
    fn buffered(&self) -> &[u8] {
        &self.buffer[self.at..self.filled]
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
    }

    /// What was passed since the last call.
    fn take_pending(&mut self) -> &[u8] {
        let pending = &self.buffer[self.emitted..self.at];
        self.emitted = self.at;
        pending
    }

    /// Reads on, keeping what is in memory from here on. Everything before must have been emitted.
    fn refill(&mut self) {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.start += self.at as u64;
        self.filled -= self.at;
        (self.at, self.emitted) = (0, 0);

        let from = self.start + self.filled as u64;
        let room = self.buffer.len() - self.filled;
        let count = usize::try_from(self.len - from).map_or(room, |left| left.min(room));
        let target = &mut self.buffer[self.filled..self.filled + count];
        let read = if self.damage.is_some() {
            Ok(0)
        } else {
            read_full(self.source, from, target)
        };
        let good = match read {
            Ok(read) => read,
            Err(error) => {
                self.damage = Some(error);
                0
            }
        };
        if good < count {
            // The receiver was told a length: it gets that many bytes, and a sum that does not match.
            target[good..].fill(0);
            self.damage
                .get_or_insert_with(|| io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += count;
    }
}
