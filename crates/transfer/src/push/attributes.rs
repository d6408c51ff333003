//! What a batch's entries carry beside their stat: access control lists and extended attributes (wire-files.md 8, 9).
//!
//! They are read when the list is sent. A change after that moves the file's ctime, and with it comes another look.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

use tree::{Kind, Root, Xattrs};
use wire::{Entry, Malformed, XattrItem, XattrNamespaces, XattrsOwed};

use super::list::Target;
use super::options::PushOptions;
use crate::Error;
use crate::attributes::{acl, xattrs_of};
use crate::local::is_mirrored;
use crate::rights::Rights;

/// Reads attributes for a list, and answers for the values that are too long for it.
pub(super) struct Carried<'a> {
    source: &'a Root,
    acls: bool,
    xattrs: bool,
    is_privileged: bool,
    namespaces: XattrNamespaces,
    /// The attributes of entries that have some, as the list numbers them.
    sent: HashMap<&'a Path, XattrItem>,
    owed: XattrsOwed,
    /// What could not be read, in words.
    unreadable: Vec<(&'a Path, String)>,
}

impl<'a> Carried<'a> {
    pub(super) fn new(source: &'a Root, options: &PushOptions) -> Self {
        let is_privileged = Rights::of_this_process().is_privileged();
        Self {
            source,
            acls: options.acls,
            xattrs: options.xattrs,
            is_privileged,
            namespaces: XattrNamespaces {
                fake_super: false,
                internal: false,
                root: is_privileged,
                filtered: false,
            },
            sent: HashMap::new(),
            owed: XattrsOwed::default(),
            unreadable: Vec::new(),
        }
    }

    /// Adds to an entry what its file has.
    pub(super) fn add_to(&mut self, entry: &mut Entry, target: &Target<'a>) {
        let Some(item) = target.item.filter(|_| self.acls || self.xattrs) else {
            return;
        };
        match self.read(entry, target.content, item.meta.kind) {
            Ok(()) => {}
            // The content will be missing too, and that is what is told.
            Err(error) if error.is_overtaken() => {}
            Err(error) => self.unreadable.push((target.path, error.to_string())),
        }
    }

    fn read(&self, entry: &mut Entry, path: &Path, kind: Kind) -> Result<(), tree::Error> {
        // Access control lists are attributes to the kernel: one call tells that there is nothing.
        if self.source.surely_lacks_xattrs(path) {
            return Ok(());
        }
        let attributes = xattrs_of(self.source, path, kind)?;
        let names = attributes.list()?;
        if names.is_empty() {
            return Ok(());
        }
        if self.acls && kind != Kind::Symlink {
            [entry.acl, entry.default_acl] = acl::sent(&attributes, entry.mode, kind == Kind::Dir)?;
        }
        if self.xattrs {
            let mut values = Vec::new();
            for local in names {
                if let Some(name) = self.sent_as(&local)
                    && let Some(value) = attributes.value(&local)?
                {
                    values.push((name.to_vec(), value));
                }
            }
            entry.xattrs = (!values.is_empty()).then(|| XattrItem::of_values(values));
        }
        Ok(())
    }

    /// Remembers under which number the attributes of an entry travelled.
    pub(super) fn note(&mut self, target: &Target<'a>, entry: Entry, number: Option<u32>) {
        if let (Some(mut item), Some(number)) = (entry.xattrs, number) {
            item.number = number;
            self.sent.insert(target.path, item);
        }
    }

    /// Notes the values that the peer asks for.
    pub(super) fn request(&mut self, target: &Target<'_>, values: &[u32]) -> Result<(), Error> {
        match (self.sent.get(target.path), values.first()) {
            (Some(item), _) => Ok(self.owed.request(item, values)?),
            (None, Some(&number)) => Err(Malformed::XattrRequest { number }.into()),
            (None, None) => Ok(()),
        }
    }

    /// The values that the peer has asked for, by number. One that is gone by now is sent empty, and the file looked at
    /// again.
    pub(super) fn due(&mut self, target: &Target<'_>) -> Vec<(u32, Vec<u8>)> {
        let (Some(sent), Some(item)) = (self.sent.get(target.path), target.item) else {
            return Vec::new();
        };
        let due = self.owed.deliver(sent.number);
        let opened = xattrs_of(self.source, target.content, item.meta.kind).ok();
        let value = |number: u32| {
            let attribute = sent.attributes.get((number as usize).checked_sub(1)?)?;
            self.value(opened.as_ref()?, &attribute.name)
        };
        due.into_iter()
            .map(|number| (number, value(number).unwrap_or_default()))
            .collect()
    }

    /// What could not be read, with the reason.
    pub(super) fn unreadable(&mut self) -> Vec<(&'a Path, String)> {
        std::mem::take(&mut self.unreadable)
    }

    fn value(&self, attributes: &Xattrs, name: &[u8]) -> Option<Vec<u8>> {
        let names = attributes.list().ok()?;
        let local = names
            .iter()
            .find(|local| self.sent_as(local) == Some(name))?;
        attributes.value(local).ok()?
    }

    fn sent_as<'n>(&self, local: &'n OsStr) -> Option<&'n [u8]> {
        use std::os::unix::ffi::OsStrExt;
        let is_list = local.as_bytes().starts_with(b"system.");
        (!is_list && is_mirrored(local, self.is_privileged))
            .then(|| self.namespaces.sent_as(local.as_bytes()))
            .flatten()
    }
}
