//! A batch pushed to a daemon: our sender against any receiver from protocol 30 on.
//!
//! The list holds exactly the batch: versions to hold, with their parents; missing names as entries of mode 0;
//! directories without content, unless they are listed whole. Incremental recursion is not offered, so that the
//! peer knows the complete list before it decides anything.

mod attributes;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tree::{Identity, Kind, Meta, Root};
use wire::{
    ClientInfo, CompatFlags, DeleteStatistics, Entry, EntryEncoder, EntryFormat, HardLink,
    IoErrors, ItemFormat, Message, NdxWriter, Rdev, SortOrder, SumHead, put_arguments, put_rule,
    put_rules_end,
};

use self::attributes::Carried;
use crate::batch::{Applied, Batch, Item, Progress};
use crate::connection::Connection;
use crate::owners::OwnerNames;
use crate::sender::{Catalogue, Opened, Sender, Sent};
use crate::session::Session;
use crate::stream::Stream;
use crate::{Error, sums};

/// What a push does beyond its batch.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Filter rules for the receiving side: names they match are never removed there.
    pub rules: Vec<Vec<u8>>,
    /// Remove what the batch says is gone or too much. Without it, that part of the batch is left out.
    pub deletes: bool,
    /// Change nothing; what would be removed is reported.
    pub dry_run: bool,
    /// Have the peer acknowledge each entry that it holds (directories apart). It takes longer.
    pub acknowledge: bool,
    /// Send numbers without names.
    pub numeric_ids: bool,
    /// Send access control lists, and have the peer's made the same (`--acls`).
    pub acls: bool,
    /// Send extended attributes, and have the peer's made the same (`--xattrs`).
    pub xattrs: bool,
    /// Have the peer make holes of runs of zeros (`--sparse`): what the source has of them does not travel.
    pub sparse: bool,
    /// Have the peer tell of every entry that it changes, if only in its metadata ([`Applied::amended`]).
    pub itemize: bool,
    /// A directory below the destination that keeps what is overwritten or removed.
    pub backup_dir: Option<String>,
    /// What the peer is not asked for, because it refuses that.
    pub without: Without,
}

bitflags::bitflags! {
    /// What is part of every push unless the peer refuses it, and is then done without.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Without: u16 {
        /// Symbolic links.
        const LINKS = 1;
        /// That files have several names: each becomes a file.
        const HARD_LINKS = 1 << 1;
        /// Users.
        const OWNER = 1 << 2;
        /// Groups.
        const GROUP = 1 << 3;
        /// Devices, sockets and FIFOs.
        const DEVICES = 1 << 4;
        /// Modification times.
        const TIMES = 1 << 5;
        /// Permissions.
        const PERMISSIONS = 1 << 6;
        /// Comparison of contents: what would be compared is sent.
        const CHECKSUM = 1 << 7;
        /// Acknowledgements: with them asked for, nothing counts as acknowledged.
        const ACKNOWLEDGEMENT = 1 << 8;
        /// Directories without what is in them, and with that deletions.
        const DIRS = 1 << 9;
        /// Times to the nanosecond.
        const NANOSECONDS = 1 << 10;
    }
}

/// How a push ended.
#[derive(Debug)]
pub struct Pushed {
    /// What was achieved, or why nothing of it is certain.
    pub result: Result<Applied, Error>,
    /// Files whose content the peer asked for: unless all went well, it may hold any version of them.
    pub touched: HashSet<PathBuf>,
    /// How many removals the peer reported, whether they were asked for by name or not.
    pub removals: u64,
    /// Whether the session came about at all: before that, the peer has changed nothing.
    pub began: bool,
}

impl PushOptions {
    /// The server's arguments for a push to the directory `location`, in the order in which rsync sends them
    /// (wire-session.md 2). `nanoseconds`: it compares times to the nanosecond.
    #[must_use]
    pub fn arguments(&self, batch: &Batch, nanoseconds: bool, location: &[u8]) -> Vec<Vec<u8>> {
        let mut letters = b"-".to_vec();
        letters.extend(self.dry_run.then_some(b'n'));
        letters.extend(self.backup_dir.as_ref().map(|_| b'b'));
        let asked = [
            (b'l', Without::LINKS),
            (b'd', Without::DIRS),
            (b'H', Without::HARD_LINKS),
            (b'o', Without::OWNER),
            (b'g', Without::GROUP),
            (b'D', Without::DEVICES),
            (b't', Without::TIMES),
            (b'p', Without::PERMISSIONS),
        ];
        let asked = asked.iter().filter(|(_, what)| !self.lacks(*what));
        letters.extend(asked.map(|(letter, _)| letter));
        // Some of a list's directories have no content, so that it says the same.
        letters.extend(self.lacks(Without::DIRS).then_some(b'r'));
        letters.extend(self.acls.then_some(b'A'));
        letters.extend(self.xattrs.then_some(b'X'));
        if batch.exact {
            letters.push(if self.lacks(Without::CHECKSUM) {
                b'I'
            } else {
                b'c'
            });
        }
        letters.extend(self.sparse.then_some(b'S'));
        letters.push(b'e');
        letters.extend_from_slice(&own_abilities().to_argument());
        let mut words = vec![b"--server".to_vec(), letters];
        if self.itemize {
            words.push(b"--log-format=%i".to_vec());
        }
        if self.deletes {
            words.push(b"--no-r".to_vec());
            words.push(b"--delete".to_vec());
            if !batch.gone.is_empty() {
                words.push(b"--delete-missing-args".to_vec());
            }
        }
        if nanoseconds && !self.lacks(Without::NANOSECONDS) {
            words.push(b"-@-1".to_vec());
        }
        if self.numeric_ids {
            words.push(b"--numeric-ids".to_vec());
        }
        if let Some(directory) = &self.backup_dir {
            words.push(b"--backup-dir".to_vec());
            words.push(directory.clone().into_bytes());
        }
        if self.acknowledge && !self.lacks(Without::ACKNOWLEDGEMENT) {
            words.push(b"--remove-source-files".to_vec());
        }
        words.push(b".".to_vec());
        // The slash makes the last component a directory to enter; what follows is not taken for options.
        let mut location = location.to_vec();
        if !location.ends_with(b"/") {
            location.push(b'/');
        }
        words.push(location);
        words
    }

    fn lacks(&self, what: Without) -> bool {
        self.without.contains(what)
    }
}

/// What we tell a server that we can do.
fn own_abilities() -> ClientInfo {
    ClientInfo::own(false, false)
}

impl Connection {
    /// Brings `batch` over, reading contents below `source`. A connection serves one push.
    pub fn push(
        mut self,
        source: &Root,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Pushed {
        let mut pushed = Pushed {
            result: Err(Error::Cancelled),
            touched: HashSet::new(),
            removals: 0,
            began: false,
        };
        pushed.result = self.try_push(source, batch, options, progress, &mut pushed);
        pushed.removals = self.stream.heard().removals;
        pushed
    }

    fn try_push(
        &mut self,
        source: &Root,
        batch: &Batch,
        options: &PushOptions,
        progress: &mut dyn FnMut(Progress),
        pushed: &mut Pushed,
    ) -> Result<Applied, Error> {
        let client = own_abilities();
        if !self.is_told {
            let words = options.arguments(batch, self.compares_nanoseconds(), &self.location);
            put_arguments(self.stream.out(), self.protocol, &words)
                .map_err(|error| Error::NoCommon(error.to_string()))?;
            self.stream.flush()?;
        }
        let session = Session::agree(&mut self.stream, self.protocol, &client)?;
        pushed.began = true;
        if options.deletes {
            for rule in &options.rules {
                put_rule(self.stream.out(), rule)
                    .map_err(|error| Error::NoCommon(error.to_string()))?;
            }
            put_rules_end(self.stream.out());
        }
        let format = entry_format(&session, batch, options);
        let (mut list, unsendable) = List::of(batch, options);
        let mut carried = Carried::new(source, options);
        list.send(&mut self.stream, &session, &format, source, &mut carried)?;
        let unreadable = carried.unreadable();
        let gone = list
            .targets
            .iter()
            .filter(|target| target.item.is_none())
            .map(|target| target.path.to_owned());
        self.stream
            .heard()
            .listen_for(gone, u32::try_from(list.targets.len()).unwrap_or(u32::MAX));
        let items = ItemFormat {
            protocol: session.protocol,
            xattrs: options.xattrs,
            dry_run: options.dry_run,
            xattr_optimization: !session.flags.contains(CompatFlags::AVOID_XATTR_OPTIM),
        };
        let batched = Batched {
            source,
            targets: &list.targets,
            carried,
            progress,
            touched: &mut pushed.touched,
            applied: Applied::default(),
        };
        let mut sender = Sender::new(&mut self.stream, &session, items, batched);
        let served = sender.serve(false, None);
        let mut applied = sender.catalogue.applied;
        served?;
        applied.doubt_other_names(batch);
        self.conclude(&list, options, &mut applied);
        applied.errors.extend(
            unsendable
                .iter()
                .map(|path| format!("{}: the name is too long", path.display())),
        );
        applied.failed.extend(unsendable);
        for (path, reason) in unreadable {
            applied.errors.push(reason);
            applied.failed.insert(path.to_owned());
        }
        Ok(applied)
    }

    /// Gathers what the peer said.
    fn conclude(&mut self, list: &List<'_>, options: &PushOptions, applied: &mut Applied) {
        let heard = self.stream.heard();
        applied.removed = std::mem::take(&mut heard.removed);
        applied.extra = std::mem::take(&mut heard.extra);
        applied.errors = std::mem::take(&mut heard.errors);
        applied.notes = std::mem::take(&mut heard.notes);
        if heard.is_partial && applied.errors.is_empty() {
            applied
                .errors
                .push("the peer could not do everything, and did not say why".to_owned());
        }
        if options.acknowledge {
            let stored = heard
                .stored
                .iter()
                .filter_map(|index| list.targets.get(*index as usize));
            applied.acknowledged = Some(stored.map(|target| target.path.to_owned()).collect());
        }
    }
}

/// What one number of the list stands for.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    /// The path below the roots.
    path: &'a Path,
    /// Its version; a name to be removed has none.
    item: Option<&'a Item>,
    /// Where its content is read.
    content: &'a Path,
}

impl Target<'_> {
    fn is_dir(&self) -> bool {
        self.item.is_some_and(|item| item.meta.kind == Kind::Dir)
    }
}

/// A batch as the sender's catalogue.
struct Batched<'a> {
    source: &'a Root,
    targets: &'a [Target<'a>],
    carried: Carried<'a>,
    progress: &'a mut dyn FnMut(Progress),
    /// Files whose content was asked for.
    touched: &'a mut HashSet<PathBuf>,
    applied: Applied,
}

impl Catalogue for Batched<'_> {
    fn is_file(&self, number: u32) -> Result<bool, Error> {
        let target = self.targets.get(number as usize).ok_or_else(|| {
            Error::Forbidden(format!(
                "the peer asks for entry {number} of {}",
                self.targets.len()
            ))
        })?;
        Ok(target.item.is_some_and(|item| item.meta.kind == Kind::File))
    }

    fn appends(&self) -> Option<bool> {
        None
    }

    fn open(&mut self, number: u32, _: &wire::Item, _: &SumHead) -> Result<Opened, IoErrors> {
        let Some(target) = self.targets.get(number as usize) else {
            return Err(IoErrors::GENERAL);
        };
        self.touched.insert(target.path.to_owned());
        match self.source.open_regular(target.content) {
            Ok((file, meta)) => Ok(Opened {
                file,
                meta,
                in_place: false,
            }),
            Err(error) => {
                self.applied.changed.insert(target.path.to_owned());
                let is_another = || {
                    let now = self.source.lstat(target.content);
                    now.is_ok_and(|now| now.is_none_or(|now| now.kind != Kind::File))
                };
                Err(if error.vanished() || is_another() {
                    IoErrors::VANISHED
                } else {
                    IoErrors::GENERAL
                })
            }
        }
    }

    fn request_values(&mut self, number: u32, values: &[u32]) -> Result<(), Error> {
        match self.targets.get(number as usize) {
            Some(target) => self.carried.request(target, values),
            None => Ok(()),
        }
    }

    fn due_values(&mut self, number: u32) -> Vec<(u32, Vec<u8>)> {
        let target = self.targets.get(number as usize);
        target.map_or_else(Vec::new, |target| self.carried.due(target))
    }

    fn noted(&mut self, number: u32, item: &wire::Item) {
        if let Some(target) = self.targets.get(number as usize)
            && !item.flags.is_empty()
        {
            self.applied.amended.insert(target.path.to_owned());
        }
    }

    fn all_sent(&mut self) {}

    fn piece(&self) -> Option<usize> {
        None
    }

    fn progress(&mut self, bytes: u64) {
        (self.progress)(Progress::Bytes(bytes));
    }

    fn sent(&mut self, number: u32, _: &wire::Item, sent: Sent) -> Result<(), Error> {
        let Some(Target {
            path,
            item: Some(wanted),
            content,
        }) = self.targets.get(number as usize)
        else {
            return Ok(());
        };
        let after = self.source.lstat(content)?;
        let is_same = sent.opened.unchanged_since(&wanted.meta)
            && after.is_some_and(|after| after.unchanged_since(&sent.opened));
        if sent.damage.is_some() || !is_same {
            self.applied.changed.insert(path.to_path_buf());
        }
        self.applied.bytes += sent.literal;
        self.applied.files += 1;
        self.applied.amended.insert(path.to_path_buf());
        (self.progress)(Progress::File);
        Ok(())
    }

    fn hear(&mut self, _: Message) -> Result<(), Error> {
        Ok(())
    }

    fn deleted(&mut self, _: DeleteStatistics) {}

    fn send_list(&mut self, _: &mut Stream, _: &mut NdxWriter, _: bool) -> Result<bool, Error> {
        Ok(false)
    }

    fn release(&mut self) -> bool {
        false
    }
}

/// The list of a push, first as it is sent and then as it is numbered.
struct List<'a> {
    targets: Vec<Target<'a>>,
    whole: &'a HashSet<PathBuf>,
    /// Names that are to become links although the source has only one of them.
    linked: HashSet<&'a Path>,
    deletes: bool,
}

impl<'a> List<'a> {
    /// The list of a batch, and what is left out because every receiver would refuse the whole list for it.
    fn of(batch: &'a Batch, options: &PushOptions) -> (Self, Vec<PathBuf>) {
        let items = batch.items.iter().map(|item| Target {
            path: &item.path,
            item: Some(item),
            content: batch.linked.get(&item.path).unwrap_or(&item.path),
        });
        let gone: &[PathBuf] = if options.deletes { &batch.gone } else { &[] };
        let gone = gone.iter().map(|path| Target {
            path,
            item: None,
            content: path,
        });
        let (targets, unsendable): (Vec<_>, Vec<_>) = items
            .chain(gone)
            .partition(|target| wire_name(target.path).len() < wire::MAX_PATH);
        let linked = batch
            .linked
            .iter()
            .flat_map(|(old, new)| [old.as_path(), new])
            .collect();
        let list = Self {
            targets,
            whole: &batch.whole,
            linked,
            deletes: options.deletes,
        };
        (
            list,
            unsendable
                .into_iter()
                .map(|target| target.path.to_owned())
                .collect(),
        )
    }

    /// Sends the list, and sorts it as both sides number it.
    fn send(
        &mut self,
        stream: &mut Stream,
        session: &Session,
        format: &EntryFormat,
        source: &Root,
        carried: &mut Carried<'a>,
    ) -> Result<(), Error> {
        let mut encoder = EntryEncoder::new(format.clone());
        let mut names = OwnerNames::of_system();
        for target in &self.targets {
            let mut entry = self.entry(target, format);
            if let Some(item) = target.item {
                names.note(item.meta.uid, item.meta.gid)?;
                if format.checksum_length > 0 && item.meta.kind == Kind::File {
                    entry.checksum = sums::of_file(source, target.content, session, stream)?;
                }
            }
            carried.add_to(&mut entry, target);
            for acl in [&mut entry.acl, &mut entry.default_acl]
                .into_iter()
                .flatten()
            {
                names.note_in(acl, false)?;
            }
            let number = encoder.encode(&entry, stream.out());
            carried.note(target, entry, number);
            stream.flush_if_large()?;
        }
        encoder.end(IoErrors::empty(), stream.out());
        let (ids, users, groups) = format.id_lists();
        if users {
            let zero = names.users().find(|(id, _)| *id == 0).map(|(_, name)| name);
            ids.encode(names.users(), zero, stream.out());
        }
        if groups {
            let zero = names
                .groups()
                .find(|(id, _)| *id == 0)
                .map(|(_, name)| name);
            ids.encode(names.groups(), zero, stream.out());
        }
        stream.flush()?;
        let order = SortOrder::of(session.protocol);
        self.targets.sort_by(|left, right| {
            order.compare(
                wire_name(left.path),
                left.is_dir(),
                wire_name(right.path),
                right.is_dir(),
            )
        });
        Ok(())
    }

    /// Which file this is a name of, if that has several. A renamed file has its former name, of the same inode.
    fn link_group(&self, path: &Path, meta: &Meta) -> Option<Identity> {
        meta.link_group()
            .or_else(|| self.linked.contains(path).then(|| meta.identity()))
    }

    fn entry(&self, target: &Target<'_>, format: &EntryFormat) -> Entry {
        let name = wire_name(target.path).to_vec();
        let Some(Item {
            meta, target: link, ..
        }) = target.item
        else {
            // Nothing but its name: the receiver removes it.
            return Entry {
                name,
                ..Entry::default()
            };
        };
        let is_dir = meta.kind == Kind::Dir;
        let is_whole = is_dir && self.deletes && self.whole.contains(target.path);
        Entry {
            name,
            mode: meta.full_mode(),
            size: wire_size(meta),
            mtime: meta.mtime.sec,
            mtime_nsec: meta.mtime.nsec,
            uid: meta.uid,
            gid: meta.gid,
            rdev: Rdev {
                major: meta.rdev.0,
                minor: meta.rdev.1,
            },
            target: link.clone().unwrap_or_default(),
            hard_link: self
                .link_group(target.path, meta)
                .filter(|_| format.hard_links)
                .map(|group| HardLink::Inode {
                    device: group.dev,
                    inode: group.ino,
                }),
            no_content: is_dir && !is_whole,
            // Without content, this flag would make the root a mere parent, whose attributes nobody sets.
            top_dir: is_whole && target.path.as_os_str().is_empty(),
            ..Entry::default()
        }
    }
}

fn entry_format(session: &Session, batch: &Batch, options: &PushOptions) -> EntryFormat {
    EntryFormat {
        varint_flags: session.flags.contains(CompatFlags::VARINT_FLIST_FLAGS),
        safe_list_end: session.flags.contains(CompatFlags::SAFE_FLIST)
            || session.protocol.has_safe_list_end(),
        id0_names: session.flags.contains(CompatFlags::ID0_NAMES),
        owner: !options.lacks(Without::OWNER),
        group: !options.lacks(Without::GROUP),
        numeric_ids: options.numeric_ids,
        links: !options.lacks(Without::LINKS),
        devices: !options.lacks(Without::DEVICES),
        specials: !options.lacks(Without::DEVICES),
        hard_links: !options.lacks(Without::HARD_LINKS),
        checksum_length: if batch.exact && !options.lacks(Without::CHECKSUM) {
            session.checksum.digest_length()
        } else {
            0
        },
        acls: options.acls,
        xattrs: options.xattrs,
        missing_args: !batch.gone.is_empty(),
        ..EntryFormat::minimal(session.protocol)
    }
}

/// The name on the wire: the root is `.`.
fn wire_name(path: &Path) -> &[u8] {
    match path.as_os_str().as_bytes() {
        b"" => b".",
        name => name,
    }
}

fn wire_size(meta: &Meta) -> i64 {
    match meta.kind {
        Kind::File | Kind::Dir | Kind::Symlink => i64::try_from(meta.size).unwrap_or(i64::MAX),
        Kind::Fifo | Kind::Socket | Kind::Char | Kind::Block => 0,
    }
}
