//! One file's content as a token stream (wire-files.md 12 and 13).

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use delta::{FileSum, Index, Signature, Sink, Tally};
use wire::{Item, TokenEncoder};

use super::{Catalogue, Opened, Sender, Sent};
use crate::Error;
use crate::stream::Stream;

/// The longest literal in one plain token. Receivers up to 3.2.7 refuse more (`invalid uncompressed token length`).
const LITERAL_MAX: usize = wire::PLAIN_LITERAL_MAX;

/// How many such literals are read with one system call, with room for their headers between them.
const LITERALS_AT_ONCE: usize = 4;

const READ_SIZE: usize = LITERALS_AT_ONCE * LITERAL_MAX;

impl<C: Catalogue> Sender<'_, C> {
    /// Sends a file as literal data and references to the receiver's `basis`, and the checksum that proves it. Of a file
    /// that is appended to only what comes after the known length is sent; it is summed if that is asked for.
    pub(super) fn content(
        &mut self,
        number: u32,
        item: &Item,
        append: Option<(u64, bool)>,
        opened: Opened,
        basis: &Signature,
    ) -> Result<(), Error> {
        let Opened {
            file,
            meta,
            in_place,
        } = opened;
        let catalogue = &mut self.catalogue;
        let piece = catalogue.piece();
        let mut answer = Answer {
            stream: self.stream,
            tokens: &mut self.tokens,
            sum: self.session.transfer_sum(),
            progress: &mut |bytes| catalogue.progress(bytes),
            piece,
            literal: 0,
            matched: 0,
            tally: Tally::default(),
        };
        let damage = match (append, basis.blocks().count()) {
            (Some((known, verifies)), _) => answer.tail(&file, meta.size, known, verifies)?,
            (None, 0) => answer.whole_file(&file, meta.size)?,
            (None, _) => {
                answer.delta(&file, meta.size, basis, &self.session.block_sum(), in_place)?
            }
        };
        let Answer {
            sum,
            literal,
            matched,
            tally,
            ..
        } = answer;
        self.tokens.end_file(self.stream.out());
        let digest = sum.finish();
        // A wrong sum makes the receiver throw away what we could not read rightly.
        let digest = if damage.is_some() {
            digest.spoiled()
        } else {
            digest
        };
        self.stream.out().extend_from_slice(&digest);
        let blocks = basis.blocks();
        let sum_length = u64::from(blocks.strong_len()) + WEAK_SUM;
        let sent = Sent {
            bytes: self.stream.said() - self.said_before,
            sum_bytes: SUM_HEAD + u64::from(blocks.count()) * sum_length,
            opened: meta,
            literal,
            matched,
            tally,
            digest: digest.to_vec(),
            damage,
        };
        self.stream.flush_if_large()?;
        self.catalogue.sent(number, item, sent)
    }
}

/// A file's answer on its way out.
struct Answer<'a> {
    stream: &'a mut Stream,
    tokens: &'a mut TokenEncoder,
    sum: FileSum,
    progress: &'a mut dyn FnMut(u64),
    /// The most to send at a time, if the rate is limited: what is held back does not count as sent.
    piece: Option<usize>,
    literal: u64,
    matched: u64,
    tally: Tally,
}

impl Answer<'_> {
    /// Sends everything as literal data. A file that became shorter ends there: its sum is that of what was sent.
    fn whole_file(&mut self, mut file: &File, length: u64) -> Result<Option<io::Error>, Error> {
        self.tokens.expect(length, self.stream.out());
        let mut left = length;
        while left > 0 {
            let most = self.piece.unwrap_or(READ_SIZE).min(READ_SIZE);
            let want = usize::try_from(left).unwrap_or(most).min(most);
            let read = match self.tokens {
                TokenEncoder::Plain(_) => self.read_into_frame(&mut file, want),
                _ => self.read_and_encode(&mut file, want),
            };
            match read {
                Ok(0) => break,
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(error) => return Ok(Some(error)),
            }
            self.flush()?;
        }
        Ok(None)
    }

    /// Sends what comes after the receiver's `known` bytes.
    fn tail(
        &mut self,
        mut file: &File,
        length: u64,
        known: u64,
        verifies: bool,
    ) -> Result<Option<io::Error>, Error> {
        let known = known.min(length);
        if verifies {
            let mut data = vec![0; READ_SIZE];
            let mut left = known;
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(READ_SIZE).min(READ_SIZE);
                match uninterrupted(|| file.read(&mut data[..want])) {
                    Ok(0) => break,
                    Ok(count) => {
                        self.sum.update(&data[..count]);
                        left -= count as u64;
                    }
                    Err(error) => return Ok(Some(error)),
                }
            }
        } else if let Err(error) = file.seek(SeekFrom::Start(known)) {
            return Ok(Some(error));
        }
        self.whole_file(file, length - known)
    }

    fn delta(
        &mut self,
        file: &File,
        length: u64,
        basis: &Signature,
        strong: &delta::StrongSum,
        in_place: bool,
    ) -> Result<Option<io::Error>, Error> {
        let mut source = |offset: u64, buffer: &mut [u8]| file.read_at(buffer, offset);
        let outcome = delta::search(
            &mut source,
            length,
            &Index::new(basis),
            strong,
            in_place,
            self,
        )?;
        self.tally = outcome.tally;
        Ok(outcome.damage)
    }

    /// Reads up to `want` bytes straight into the frame they leave in. Returns how many there were.
    fn read_into_frame(&mut self, file: &mut impl Read, want: usize) -> io::Result<usize> {
        let out = self.stream.out();
        let start = out.len();
        out.resize(
            start + want + want.div_ceil(LITERAL_MAX) * LITERAL_HEADER,
            0,
        );
        let literals = out[start..].chunks_mut(LITERAL_HEADER + LITERAL_MAX);
        let mut slices: Vec<_> = literals
            .map(|literal| IoSliceMut::new(&mut literal[LITERAL_HEADER..]))
            .collect();
        let read = uninterrupted(|| file.read_vectored(&mut slices));
        let count = *read.as_ref().unwrap_or(&0);
        out.truncate(start + count + count.div_ceil(LITERAL_MAX) * LITERAL_HEADER);
        for literal in out[start..].chunks_mut(LITERAL_HEADER + LITERAL_MAX) {
            let (header, data) = literal.split_at_mut(LITERAL_HEADER);
            header.copy_from_slice(&(data.len() as u32).to_le_bytes());
            self.sum.update(data);
        }
        self.note_sent(count);
        read
    }

    fn read_and_encode(&mut self, file: &mut impl Read, want: usize) -> io::Result<usize> {
        let mut data = vec![0; want];
        let count = uninterrupted(|| file.read(&mut data))?;
        self.sum.update(&data[..count]);
        self.tokens.literal(&data[..count], self.stream.out());
        self.note_sent(count);
        Ok(count)
    }

    /// Sends what has been said, if that is due. A rate that is kept leaves the link without a wait in which it would see
    /// that the run is to end.
    fn flush(&mut self) -> Result<(), Error> {
        if self.stream.link().cancel().is_cancelled() {
            return Err(Error::Cancelled);
        }
        match self.piece {
            Some(_) => self.stream.flush(),
            None => self.stream.flush_if_large(),
        }
    }

    fn note_sent(&mut self, count: usize) {
        self.literal += count as u64;
        (self.progress)(count as u64);
    }
}

impl Sink for Answer<'_> {
    type Error = Error;

    fn literal(&mut self, data: &[u8]) -> Result<(), Error> {
        self.sum.update(data);
        self.tokens.literal(data, self.stream.out());
        self.note_sent(data.len());
        self.flush()
    }

    fn matched(&mut self, block: u32, data: &[u8]) -> Result<(), Error> {
        self.sum.update(data);
        let before = self.matched / MATCHES_AT_ONCE;
        self.matched += data.len() as u64;
        self.tokens.matched(block, data, self.stream.out());
        // References are short: the receiver copies blocks while we look for the next ones.
        match self.matched / MATCHES_AT_ONCE > before {
            true => self.stream.flush(),
            false => self.stream.flush_if_large(),
        }
    }
}

/// How many bytes of matches the receiver hears of together.
const MATCHES_AT_ONCE: u64 = 1 << 20;

/// What describes the sums of a basis, and the weak one of each block, in bytes.
const SUM_HEAD: u64 = 16;
const WEAK_SUM: u64 = 4;

/// The length in front of a plain literal.
const LITERAL_HEADER: usize = 4;

fn uninterrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
