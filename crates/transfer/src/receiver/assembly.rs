//! A file's content in the making: what a sender's tokens amount to (wire-files.md 12).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use delta::{Blocks, FileSum, Patch, PatchError, ReadAt, Target};

use crate::write::Output;

/// A file's content in the making. What cannot be read or written is remembered: the answer is taken to its end all
/// the same.
pub(super) struct Assembly<'f> {
    patch: Patch<Basis<'f>, Place<'f>>,
    blocks: Blocks,
    basis: Option<&'f File>,
    literal: u64,
    matched: u64,
    /// Nothing can be written any more.
    failure: Option<io::Error>,
    /// The basis is not what the sender was told.
    is_wrong: bool,
}

impl<'f> Assembly<'f> {
    pub(super) fn new(
        basis: Option<&'f File>,
        blocks: Blocks,
        place: Place<'f>,
        sum: FileSum,
    ) -> Self {
        let in_place = matches!(place, Place::Existing(_));
        Self {
            patch: Patch::new(Basis(basis), blocks, in_place, place, sum),
            blocks,
            basis,
            literal: 0,
            matched: 0,
            failure: None,
            is_wrong: false,
        }
    }

    pub(super) fn literal(&mut self, data: &[u8]) {
        self.literal += data.len() as u64;
        if self.failure.is_none() {
            let written = self.patch.literal(data);
            self.note(written);
        }
    }

    pub(super) fn copy(&mut self, block: u32) {
        self.matched += u64::from(self.blocks.range(block).1);
        let copied = self.patch.copy(block);
        self.note(copied);
    }

    /// A block's data, zeros if it cannot be read.
    pub(super) fn block(&mut self, block: u32) -> Vec<u8> {
        let (offset, length) = self.blocks.range(block);
        let mut data = vec![0; length as usize];
        let read = self
            .basis
            .map(|basis| basis.read_exact_at(&mut data, offset));
        self.is_wrong |= !matches!(read, Some(Ok(())));
        data
    }

    /// What came of it, given the sum of what the sender has, and why it cannot be written.
    pub(super) fn finish(
        mut self,
        theirs: &[u8],
        is_checked: bool,
    ) -> (Received, Option<io::Error>) {
        let settled = self.patch.settle();
        self.note(settled);
        let (target, ours) = self.patch.finish();
        if let Place::New(output) | Place::Existing(output) = target
            && self.failure.is_none()
        {
            self.failure = output.finish().err();
        }
        let is_wrong = self.is_wrong || is_checked && *ours != *theirs;
        let received = Received {
            literal: self.literal,
            matched: self.matched,
            verdict: if is_wrong {
                Verdict::Wrong
            } else {
                Verdict::Done
            },
        };
        (received, self.failure)
    }

    /// Bytes of the file so far.
    pub(super) fn written(&self) -> u64 {
        self.patch.written()
    }

    fn note(&mut self, done: Result<(), PatchError>) {
        match done {
            Ok(()) | Err(PatchError::NoSuchBlock { .. }) => {}
            // The basis has changed meanwhile: the sum will tell.
            Err(PatchError::Basis(_)) => self.is_wrong = true,
            Err(PatchError::Target(cause)) => _ = self.failure.get_or_insert(cause),
        }
    }
}

/// Where a file's content goes.
pub(super) enum Place<'f> {
    /// Nowhere: the data is taken and dropped.
    Nowhere,
    New(Output<'f>),
    /// The file that is its own basis.
    Existing(Output<'f>),
}

impl Target for Place<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::New(output) | Self::Existing(output) => output.write(data),
        }
    }

    fn keep(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::New(output) | Self::Existing(output) => output.keep(data),
        }
    }
}

/// What came of one answer.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) literal: u64,
    pub(super) matched: u64,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what the sender has, and in place.
    #[default]
    Done,
    /// It could not be put in place.
    Lost,
    /// It is not what the sender has.
    Wrong,
}

/// The file that blocks refer to, if there is one.
struct Basis<'f>(Option<&'f File>);

impl ReadAt for Basis<'_> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {
            Some(file) => FileExt::read_at(file, buffer, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
