//! Which names the rules leave out, directory by directory.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use filter::{MergeFile, Scope};
use tree::{Policy, Root};

use super::{Scanner, rel};
use crate::Error;
use crate::event::{Class, Role};
use crate::flist::parent;

/// Rules in force for the content of a directory, and the device it is on if the scan stays there.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(super) scope: Option<Scope>,
    pub(super) device: Option<u64>,
}

impl Scanner<'_> {
    pub(super) fn inside_root(&self, base: u16) -> Result<Inside, Error> {
        if self.rules.is_empty() && self.options.module_rules.is_empty() {
            return Ok(Inside {
                scope: None,
                device: None,
            });
        }
        let shown = self.bases[usize::from(base)]
            .shown
            .real()
            .as_os_str()
            .as_bytes();
        let scope = Scope::new(Arc::clone(&self.rules), filter::Side::Sender, shown);
        Ok(Inside {
            scope: Some(scope),
            device: None,
        })
    }

    /// The rules in force for a relative name, whose parents were not scanned.
    pub(super) fn inside_parents(
        &self,
        base: u16,
        path: &[u8],
        inside: Inside,
    ) -> Result<Inside, Error> {
        let Some(mut scope) = inside.scope else {
            return Ok(inside);
        };
        scope = self.enter(&scope, b".", base)?;
        for (at, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            scope = self.enter(&scope, &path[..at], base)?;
        }
        Ok(Inside {
            scope: Some(scope),
            ..inside
        })
    }

    pub(super) fn enter(&self, scope: &Scope, dir: &[u8], base: u16) -> Result<Scope, Error> {
        let root = &self.bases[usize::from(base)].root;
        let bound = self.options.confine_root.as_deref();
        let entered = scope.enter(dir, &mut |file: MergeFile<'_>| {
            read_merge_file(root, bound, file)
        })?;
        for warning in entered.warnings() {
            self.report
                .say(Class::Warning, Role::Sender, warning.to_string());
        }
        Ok(entered)
    }

    pub(super) fn is_hidden(&self, base: u16, inside: &Inside, path: &[u8], is_dir: bool) -> bool {
        let Some(scope) = &inside.scope else {
            return false;
        };
        let verdict = scope.check(path, is_dir);
        if self.options.report.filters {
            self.report.filtered(Role::Sender, path, is_dir, verdict);
        }
        verdict.is_excluded()
            || self.options.hides(
                &self.bases[usize::from(base)].shown,
                path,
                is_dir,
                filter::Side::Sender,
            )
    }
}

/// Reads a merge file of the tree. One that cannot be read does not count, as in rsync, and neither does one that is not
/// within `bound`.
pub(crate) fn read_merge_file(
    root: &Root,
    bound: Option<&Path>,
    file: MergeFile<'_>,
) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let opened = match file {
        MergeFile::InTree(path) => {
            let is_within = |bound| {
                let dir = root.beneath(rel(parent(path)), Policy::default());
                dir.is_ok_and(|dir| dir.is_within(bound))
            };
            let file = root.open_regular(rel(path)).map(|(file, _)| file).ok();
            file.filter(|_| bound.is_none_or(is_within))
        }
        MergeFile::Named(path) | MergeFile::Above(path) => {
            let path = Path::new(OsStr::from_bytes(path));
            let dir = path
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let dir = Root::open(dir)
                .ok()
                .filter(|dir| bound.is_none_or(|bound| dir.is_within(bound)));
            let name = Path::new(path.file_name().unwrap_or_default());
            dir.and_then(|dir| dir.open_regular(name).map(|(file, _)| file).ok())
        }
    };
    let Some(opened) = opened else {
        return Ok(None);
    };
    let mut text = Vec::new();
    opened.take(MERGE_FILE_MAX).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// More rules than this are no rules.
const MERGE_FILE_MAX: u64 = 16 << 20;
