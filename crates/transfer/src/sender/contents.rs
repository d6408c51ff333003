//! One file's content as a token stream (wire-files.md 12 and 13).

use std::fs::File;
use std::io::{self, Read};

use tree::Meta;
use wire::TokenEncoder;

use super::Sender;
use crate::Error;
use crate::batch::{Item, Progress};
use crate::sums::{Basis, FileSum};

/// What is read, and sent as one literal, at a time: a receiver takes any length.
const READ_SIZE: usize = 128 << 10;

impl Sender<'_> {
    pub(super) fn content(&mut self, wanted: &Item, file: &File, opened: &Meta, _basis: Basis) -> Result<(), Error> {
        if !opened.unchanged_since(&wanted.meta) {
            self.applied.changed.insert(wanted.path.clone());
        }
        let mut sum = FileSum::new(self.session);
        let mut left = opened.size;
        let mut is_whole = true;
        let mut file = file;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(READ_SIZE).min(READ_SIZE);
            match self.literal(&mut file, want, &mut sum) {
                Ok(0) => break,
                Ok(count) => left = left.saturating_sub(count as u64),
                Err(error) => {
                    self.applied.notes.push(format!("{}: {error}", wanted.path.display()));
                    is_whole = false;
                    break;
                }
            }
            self.stream.flush_if_large()?;
        }
        TokenEncoder::new(wire::Compression::None, None, self.session.protocol).end_file(self.stream.out());
        let digest = sum.finish();
        let out = self.stream.out();
        out.extend(digest.iter().map(|byte| if is_whole { *byte } else { !byte }));
        self.stream.flush_if_large()?;
        let after = self.source.lstat(&wanted.path)?;
        if !is_whole || !after.is_some_and(|after| after.unchanged_since(opened)) {
            self.applied.changed.insert(wanted.path.clone());
        }
        self.applied.files += 1;
        (self.progress)(Progress::File);
        Ok(())
    }

    /// Reads up to `want` bytes straight into the frame they leave in. Returns how many there were.
    fn literal(&mut self, file: &mut impl Read, want: usize, sum: &mut FileSum) -> io::Result<usize> {
        let out = self.stream.out();
        let header = out.len();
        out.extend_from_slice(&[0; 4]);
        let start = out.len();
        out.resize(start + want, 0);
        let read = loop {
            match file.read(&mut out[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = *read.as_ref().unwrap_or(&0);
        out.truncate(start + count);
        if count == 0 {
            out.truncate(header);
            return read;
        }
        out[header..start].copy_from_slice(&(count as u32).to_le_bytes());
        sum.update(&out[start..]);
        self.applied.bytes += count as u64;
        (self.progress)(Progress::Bytes(count as u64));
        Ok(count)
    }
}
