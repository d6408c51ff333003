//! One file: its content is put together from tokens and blocks of a basis, and put in place (behaviour.md 7,
//! wire-files.md 12).

use std::fs::File;
use std::io::{self, Read};

use delta::FileSum;
use tree::{Meta, TempFile};
use wire::{BasisType, Checksum, Item, SumHead, Token, check_blocks};

use super::Receiver;
use super::assembly::{Assembly, Place, Received, Verdict};
use crate::Error;
use crate::event::{Class, Role};
use crate::flist::{Entry, List, basename, join, parent};
use crate::generator::Fate;
use crate::options::Append;
use crate::partial::open_partial;
use crate::report::sentence;
use crate::scan::rel;
use crate::sums;
use crate::write::{Ahead, Output, preallocate};

/// An answer that brings a file's content.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub(super) list: &'a List,
    pub(super) number: u32,
    pub(super) entry: &'a Entry,
    /// Where the file belongs.
    pub(super) place: &'a [u8],
    pub(super) item: &'a Item,
    /// What had been understood of the stream before it, in bytes.
    pub(super) start: u64,
    /// How its basis is divided into blocks.
    pub(super) head: SumHead,
}

impl Receiver<'_> {
    /// Receives a file's content, and puts it in place.
    pub(super) fn receive_file(&mut self, answer: &Answer<'_>) -> Result<Fate, Error> {
        let Answer {
            number,
            entry,
            place,
            ..
        } = *answer;
        let existing = match self.destination.root() {
            Some(root) => root.lstat(rel(place)).unwrap_or_default(),
            None => None,
        };
        let (basis, model) = self.basis(answer)?.unzip();
        let model = model.flatten();
        let append = self
            .options
            .append
            .filter(|_| !self.redone.contains(&number));
        let received = match self.options.inplace || append.is_some() {
            true => self.in_place(
                answer,
                (existing.as_ref(), model.as_ref()),
                basis.as_ref(),
                append,
            )?,
            false => self.anew(answer, (existing.as_ref(), model.as_ref()), basis.as_ref())?,
        };
        self.stats.literal += received.literal;
        self.stats.matched += received.matched;
        let fate = match received.verdict {
            Verdict::Done if self.options.delay_updates => Fate::Parked,
            Verdict::Done => Fate::Done,
            Verdict::Lost => Fate::Failed,
            Verdict::Wrong => self.mismatch(number, entry),
        };
        if received.verdict == Verdict::Done {
            self.finisher.drop_partial(place);
            self.total_done = self.total_done.saturating_add(entry.size);
            self.progress(answer, entry.size, true);
        }
        Ok(fate)
    }

    /// Takes the content of a file to no end but to come to what follows it.
    pub(super) fn discard(
        &mut self,
        answer: &Answer<'_>,
        basis: Option<&File>,
    ) -> Result<(), Error> {
        self.lose(answer, basis).map(drop)
    }

    /// The file that blocks refer to, and what is known of it.
    pub(super) fn basis(&self, answer: &Answer<'_>) -> Result<Option<(File, Option<Meta>)>, Error> {
        let Some(root) = self.destination.root() else {
            return Ok(None);
        };
        let Answer {
            entry, place, item, ..
        } = *answer;
        let fuzzy_name = || -> Result<&[u8], Error> {
            let name = basename(item.xname.as_deref().unwrap_or_default());
            if self.options.fuzzy == 0 || matches!(name, b"" | b"." | b"..") {
                let text = sentence(&[
                    b"rsync: refusing malicious fuzzy operation for ",
                    entry.path(),
                ]);
                return Err(Error::fatal(2, Role::Receiver, text, None));
            }
            Ok(name)
        };
        let alternate = |index: u8| match usize::from(index) < self.site.alternates.len() {
            true => Ok(self.site.alternates.get(index.into())),
            false => {
                let text = format!("invalid basis_dir index: {index}.");
                Err(Error::fatal(2, Role::Receiver, text, None))
            }
        };
        let opened = match item.basis {
            BasisType::Destination => root.open_regular(rel(place)).ok(),
            BasisType::PartialDir => open_partial(self.options, root, place),
            BasisType::Backup => {
                return Ok(self
                    .site
                    .backups
                    .as_ref()
                    .and_then(|backups| backups.reopen(self.destination, place))
                    .map(|file| (file, None)));
            }
            BasisType::AlternateDir(index) => {
                alternate(index)?.and_then(|root| root.open_regular(rel(entry.path())).ok())
            }
            BasisType::Fuzzy => root
                .open_regular(rel(&join(parent(place), fuzzy_name()?)))
                .ok(),
            BasisType::FuzzyAlternateDir(index) => {
                let name = fuzzy_name()?;
                alternate(index)?
                    .and_then(|root| root.open_regular(rel(&join(parent(place), name))).ok())
            }
        };
        Ok(opened.map(|(file, meta)| (file, Some(meta))))
    }

    /// Makes the file under a temporary name, which it gives up when it is whole.
    fn anew(
        &mut self,
        answer: &Answer<'_>,
        (existing, model): (Option<&Meta>, Option<&Meta>),
        basis: Option<&File>,
    ) -> Result<Received, Error> {
        let Answer {
            number,
            entry,
            place,
            ..
        } = *answer;
        let is_in_the_way = existing.is_some_and(Meta::is_dir);
        if is_in_the_way {
            let shown = self.destination.quoted(place);
            let text = sentence(&[b"recv_files: ", &shown, b" is a directory"]);
            self.report.say(Class::Transfer, Role::Receiver, text);
        }
        let temp = match is_in_the_way {
            true => None,
            false => self.finisher.temp_file(place),
        };
        let Some(mut temp) = temp else {
            return self.lose(answer, basis);
        };
        let ahead = match self.options.preallocate {
            true => self.reserve(temp.file(), answer),
            false => Ahead::Nothing,
        };
        let output = Output::new(temp.file(), self.options.sparse, ahead);
        let sum = self.session.transfer_sum();
        let (received, failure) = match self.content(answer, basis, Place::New(output), sum) {
            Ok(content) => content,
            Err(error) => {
                self.finisher.keep_partial(temp, entry, place);
                return Err(error);
            }
        };
        match failure {
            Some(cause) => {
                self.finisher.keep_partial(temp, entry, place);
                Err(self.unwritable(place, cause))
            }
            None if received.verdict == Verdict::Wrong => {
                self.keep_wrong(temp, entry, place);
                Ok(received)
            }
            None => {
                let done = self
                    .finisher
                    .commit(temp, number, entry, place, (existing, model))?;
                Ok(Received {
                    verdict: if done { Verdict::Done } else { Verdict::Lost },
                    ..received
                })
            }
        }
    }

    /// Allocates a new file's space in advance.
    fn reserve(&self, file: &File, answer: &Answer<'_>) -> Ahead {
        if let Err(cause) = preallocate(file, answer.entry.size) {
            let shown = self.destination.quoted(answer.place);
            let cause = cause.to_string();
            let text = sentence(&[b"do_fallocate ", &shown, b": ", cause.as_bytes()]);
            self.report.say(Class::Warning, Role::Receiver, text);
        }
        Ahead::Reserved
    }

    /// Writes into the file that is there.
    fn in_place(
        &mut self,
        answer: &Answer<'_>,
        (existing, model): (Option<&Meta>, Option<&Meta>),
        basis: Option<&File>,
        append: Option<Append>,
    ) -> Result<Received, Error> {
        let place = answer.place;
        let root = self.destination.root();
        let mut file = match root.map(|root| root.open_in_place(rel(place), true)) {
            Some(Ok((file, _))) => file,
            failed => {
                if let Some(Err(error)) = failed {
                    let text = sentence(&[b"open ", &self.destination.quoted(place), b" failed"]);
                    self.report.failed(Role::Receiver, text, error.cause());
                }
                return self.lose(answer, basis);
            }
        };
        let mut sum = self.session.transfer_sum();
        let (kept, head) = match append {
            // What is appended refers to no block.
            Some(_) => (answer.head.described_length(), SumHead::default()),
            None => (0, answer.head),
        };
        if append == Some(Append::Verified)
            && let Some(basis) = basis
        {
            sum_prefix(&mut sum, basis, kept);
        }
        let mut output = Output::new(&mut file, self.options.sparse, Ahead::OldData);
        output
            .skip(kept)
            .map_err(|cause| self.unwritable(place, cause))?;
        let answer = Answer { head, ..*answer };
        let (received, failure) = self.content(&answer, basis, Place::Existing(output), sum)?;
        if let Some(cause) = failure {
            return Err(self.unwritable(place, cause));
        }
        if received.verdict != Verdict::Wrong {
            self.finisher
                .finish_in_place(answer.entry, place, (existing, model));
        }
        Ok(received)
    }

    /// Takes the content of a file that has no place.
    fn lose(&mut self, answer: &Answer<'_>, basis: Option<&File>) -> Result<Received, Error> {
        let sum = self.session.transfer_sum();
        let (received, _) = self.content(answer, basis, Place::Nowhere, sum)?;
        Ok(Received {
            verdict: Verdict::Lost,
            ..received
        })
    }

    /// Takes one file's tokens. What cannot be written is the second part of the result.
    fn content(
        &mut self,
        answer: &Answer<'_>,
        basis: Option<&File>,
        place: Place<'_>,
        sum: FileSum,
    ) -> Result<(Received, Option<io::Error>), Error> {
        let blocks = sums::blocks_of(&answer.head, self.session)
            .map_err(|error| Error::fatal(2, Role::Receiver, error.to_string(), None))?;
        let has_place = !matches!(place, Place::Nowhere);
        // What is not wanted from a file may come without what it was made from.
        let is_needed = self.wants.is_none() || has_place;
        if has_place && !self.options.report.after_transfer {
            self.itemize(answer.entry, answer.item, 0, None);
        }
        let mut assembly = Assembly::new(basis, blocks, place, sum);
        self.progress(answer, 0, false);
        loop {
            let tokens = &mut self.tokens;
            let step = self.incoming.read_pieces(|cursor| {
                Ok(match tokens.decode(cursor)? {
                    Token::Literal(data) => {
                        assembly.literal(data);
                        Step::Literal
                    }
                    Token::Blocks { first, count } => Step::Blocks(first, count),
                    Token::End => Step::End,
                })
            })?;
            match step {
                Step::Literal => {}
                Step::Blocks(first, run) => {
                    check_blocks(first, run, answer.head.count)?;
                    if basis.is_none() && is_needed {
                        return Err(self.no_basis(answer.entry));
                    }
                    for block in first..first + run {
                        if self.tokens.wants_matched_data() {
                            self.tokens.see_matched(&assembly.block(block))?;
                        }
                        assembly.copy(block);
                    }
                }
                Step::End => break,
            }
            if self.options.report.progress {
                self.progress(answer, assembly.written(), false);
            }
        }
        let length = self.session.checksum.digest_length();
        let theirs = self
            .incoming
            .read(|cursor| cursor.take(length).map(<[u8]>::to_vec))?;
        if has_place && self.options.report.after_transfer {
            let bytes = self.incoming.stream.understood() - answer.start;
            self.itemize(answer.entry, answer.item, bytes, Some(&theirs));
        }
        let is_checked = self.session.checksum != Checksum::None;
        Ok(assembly.finish(&theirs, is_checked))
    }

    fn no_basis(&self, entry: &Entry) -> Error {
        let place = self.destination.place(entry.path());
        let text = sentence(&[
            b"got a block match with no basis file for ",
            &self.destination.quoted(place),
            b" [receiver]",
        ]);
        Error::fatal(2, Role::Receiver, text, None)
    }

    fn unwritable(&self, place: &[u8], cause: io::Error) -> Error {
        let text = sentence(&[b"write failed on ", &self.destination.quoted(place)]);
        Error::fatal(11, Role::Receiver, text, Some(cause))
    }

    /// A file that did not verify is of use only to the next try.
    fn keep_wrong(&self, temp: TempFile, entry: &Entry, place: &[u8]) {
        if self.options.partial {
            self.finisher.keep_partial(temp, entry, place);
        }
    }

    /// The first time, a file that did not verify is asked for again (2.11).
    fn mismatch(&mut self, number: u32, entry: &Entry) -> Fate {
        let is_first = self.redone.insert(number);
        let kept: &[u8] = match (
            &self.options.partial_dir,
            self.options.partial || self.options.inplace,
        ) {
            (Some(_), _) => b"put into partial-dir",
            (None, true) => b"retained",
            (None, false) => b"discarded",
        };
        let again: &[u8] = if is_first { b" (will try again)" } else { b"" };
        let start: &[u8] = if is_first { b"WARNING: " } else { b"ERROR: " };
        let text = sentence(&[
            start,
            entry.path(),
            b" failed verification -- update ",
            kept,
            again,
            b".",
        ]);
        if !is_first {
            self.report.say(Class::Transfer, Role::Receiver, text);
            return Fate::Failed;
        }
        if self.options.report.names {
            self.report.say(Class::Warning, Role::Receiver, text);
        }
        Fate::Redo
    }
}

/// One decoded token; literal data has been dealt with.
enum Step {
    Literal,
    Blocks(u32, u32),
    End,
}

/// Sums what a file that is appended to has already.
fn sum_prefix(sum: &mut FileSum, basis: &File, length: u64) {
    let mut buffer = vec![0; PREFIX_READ];
    let mut basis = basis.take(length);
    while let Ok(count @ 1..) = basis.read(&mut buffer) {
        sum.update(&buffer[..count]);
    }
}

/// What is summed at a time, in bytes.
const PREFIX_READ: usize = 256 << 10;
