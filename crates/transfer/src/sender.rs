//! The sender: answers the generator's requests, to the end of the session (wire-files.md 10, wire-session.md 8).

use std::collections::HashSet;
use std::path::Path;

use tree::{Kind, Root};
use wire::{
    CompatFlags, Compression, DeleteStatistics, IoErrors, ItemFlags, ItemFormat, Message, Ndx, NdxReader, NdxWriter, SumHead, TokenEncoder,
};

use crate::batch::{Applied, Item, Progress};
use crate::session::Session;
use crate::stream::Stream;
use crate::{Error, sums};

mod contents;

/// What one number of the list stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The path below the roots.
    pub(crate) path: &'a Path,
    /// Its version; a name to be removed has none.
    pub(crate) item: Option<&'a Item>,
    /// Where its content is read.
    pub(crate) content: &'a Path,
}

impl Target<'_> {
    pub(crate) fn is_dir(&self) -> bool {
        self.item.is_some_and(|item| item.meta.kind == Kind::Dir)
    }
}

/// One session's sender.
pub(crate) struct Sender<'a> {
    stream: &'a mut Stream,
    session: &'a Session,
    source: &'a Root,
    targets: &'a [Target<'a>],
    items: ItemFormat,
    reader: NdxReader,
    writer: NdxWriter,
    progress: &'a mut dyn FnMut(Progress),
    tokens: TokenEncoder,
    io_errors: IoErrors,
    requested: HashSet<u32>,
    pub(crate) applied: Applied,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(
        stream: &'a mut Stream,
        session: &'a Session,
        source: &'a Root,
        targets: &'a [Target<'a>],
        dry_run: bool,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let items = ItemFormat {
            protocol: session.protocol,
            xattrs: false,
            dry_run,
            xattr_optimization: !session.flags.contains(CompatFlags::AVOID_XATTR_OPTIM),
        };
        Self {
            stream,
            session,
            source,
            targets,
            items,
            reader: NdxReader::new(session.protocol),
            writer: NdxWriter::new(session.protocol),
            progress,
            tokens: TokenEncoder::new(Compression::None, None, session.protocol),
            io_errors: IoErrors::empty(),
            requested: HashSet::new(),
            applied: Applied::default(),
        }
    }

    /// Files whose content was asked for.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &Path> {
        self.requested.iter().filter_map(|index| self.targets.get(*index as usize)).map(|target| target.path)
    }

    /// Answers requests until the peer has said goodbye.
    pub(crate) fn serve(&mut self) -> Result<(), Error> {
        let mut phase = 0;
        loop {
            match self.next()? {
                Ndx::File(index) => self.answer(index, phase)?,
                Ndx::Done => {
                    phase += 1;
                    if phase > self.session.protocol.last_phase() {
                        break;
                    }
                    self.done();
                }
                other => return Err(out_of_place(other)),
            }
        }
        if !self.io_errors.is_empty() && self.session.protocol.has_no_send() {
            let message = Message::IoError(self.io_errors);
            self.stream.send_message(&message, self.session.protocol)?;
        }
        self.done();
        self.say_goodbye()
    }

    fn say_goodbye(&mut self) -> Result<(), Error> {
        if self.session.protocol.late_delete_round() {
            self.last_word()?;
            self.done();
        }
        self.last_word()
    }

    /// Awaits a DONE of the goodbye. After a redo, rsync's generator may still report hard links (wire-files.md
    /// 10.8); nobody waits for an answer any more.
    fn last_word(&mut self) -> Result<(), Error> {
        loop {
            match self.next()? {
                Ndx::Done => return Ok(()),
                Ndx::File(_) => {
                    let items = self.items;
                    let item = self.stream.read(|cursor| items.decode(cursor))?;
                    if items.has_data(item.flags) {
                        return Err(Error::Forbidden("the peer asks for data after the end of the run".to_owned()));
                    }
                }
                other => return Err(out_of_place(other)),
            }
        }
    }

    /// The next index that asks for something.
    fn next(&mut self) -> Result<Ndx, Error> {
        loop {
            let reader = &mut self.reader;
            match self.stream.read(|cursor| reader.read(cursor))? {
                Ndx::DelStats => _ = self.stream.read(DeleteStatistics::decode)?,
                ndx => return Ok(ndx),
            }
        }
    }

    fn done(&mut self) {
        self.writer.write(self.stream.out(), Ndx::Done);
    }

    /// Answers one request: an echo, and the file's content if it is asked for.
    fn answer(&mut self, index: u32, phase: u8) -> Result<(), Error> {
        let target = *self
            .targets
            .get(index as usize)
            .ok_or_else(|| Error::Forbidden(format!("the peer asks for entry {index} of {}", self.targets.len())))?;
        let items = self.items;
        let item = self.stream.read(|cursor| items.decode(cursor))?;
        if !item.flags.contains(ItemFlags::TRANSFER) {
            self.echo(index, &item);
            return self.stream.flush_if_large();
        }
        let wanted = target.item.filter(|wanted| wanted.meta.kind == Kind::File);
        let (Some(wanted), 0 | 1) = (wanted, phase) else {
            return Err(Error::Forbidden(format!("the peer asks for the content of {}", target.path.display())));
        };
        if !items.has_data(item.flags) {
            self.echo(index, &item);
            return self.stream.flush_if_large();
        }
        let digest_length = self.session.checksum.digest_length();
        let protocol = self.session.protocol;
        let head = self.stream.read(|cursor| SumHead::decode(cursor, protocol, digest_length))?;
        let basis = sums::read_basis(self.stream, self.session, &head)?;
        self.requested.insert(index);
        match self.source.open_regular(target.content) {
            Ok((file, opened)) => {
                self.echo(index, &item);
                head.encode(self.stream.out());
                self.content(&target, wanted, &file, &opened, &basis)
            }
            Err(error) => {
                self.applied.changed.insert(wanted.path.clone());
                self.io_errors |= if error.vanished() { IoErrors::VANISHED } else { IoErrors::GENERAL };
                self.stream.send_message(&Message::NoSend(index), protocol)
            }
        }
    }

    fn echo(&mut self, index: u32, item: &wire::Item) {
        self.writer.write(self.stream.out(), Ndx::File(index));
        self.items.encode(item, self.stream.out());
    }
}

fn out_of_place(ndx: Ndx) -> Error {
    Error::Forbidden(format!("the peer says {ndx:?} where it has no meaning"))
}
