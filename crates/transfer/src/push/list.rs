//! A batch as a file list.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tree::{Identity, Kind, Meta, Root};
use wire::{CompatFlags, Entry, EntryEncoder, EntryFormat, HardLink, IoErrors, Rdev, SortOrder};

use super::attributes::Carried;
use super::options::{PushOptions, Without};
use crate::batch::{Batch, Item};
use crate::owners::OwnerNames;
use crate::session::Session;
use crate::stream::Stream;
use crate::{Error, sums};

/// What one number of the list stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The path below the roots.
    pub(super) path: &'a Path,
    /// Its version; a name to be removed has none.
    pub(super) item: Option<&'a Item>,
    /// Where its content is read.
    pub(super) content: &'a Path,
}

impl Target<'_> {
    fn is_dir(&self) -> bool {
        self.item.is_some_and(|item| item.meta.kind == Kind::Dir)
    }
}

/// The list of a push, first as it is sent and then as it is numbered.
pub(super) struct List<'a> {
    pub(super) targets: Vec<Target<'a>>,
    whole: &'a HashSet<PathBuf>,
    /// Names that are to become links although the source has only one of them.
    linked: HashSet<&'a Path>,
    deletes: bool,
}

impl<'a> List<'a> {
    /// The list of a batch, and what is left out because every receiver would refuse the whole list for it.
    pub(super) fn of(batch: &'a Batch, options: &PushOptions) -> (Self, Vec<PathBuf>) {
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
    pub(super) fn send(
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

pub(super) fn entry_format(session: &Session, batch: &Batch, options: &PushOptions) -> EntryFormat {
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
