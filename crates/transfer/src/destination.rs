//! Where entries go: the destination's directory, or the one name in it (behaviour.md 1.11).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tree::{Links, Policy, Root};

use crate::Error;
use crate::event::{Event, Role};
use crate::options::Options;
use crate::report::{Reporter, Shown, quoted, sentence};

/// The destination of a transfer.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Absent in a dry run that would create it.
    root: Option<Root>,
    /// The directory in messages.
    pub(crate) shown: Shown,
    /// The name of the only entry, if the destination names that entry rather than a directory.
    single: Option<Vec<u8>>,
    /// We created it.
    pub(crate) is_new: bool,
}

/// What the list says about the destination.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arriving {
    /// Entries in the list, as far as it matters: none, one, more.
    pub(crate) entries: usize,
    /// The first of them is a directory.
    pub(crate) first_is_dir: bool,
}

impl Destination {
    /// Finds or makes the destination.
    pub(crate) fn resolve(
        path: &Path,
        arriving: Arriving,
        options: &Options,
        report: &Reporter<'_>,
    ) -> Result<Self, Error> {
        let bytes = path.as_os_str().as_bytes();
        let path = if bytes.is_empty() {
            Path::new(".")
        } else {
            path
        };
        Self::refuse_hidden(path, options)?;
        let has_slash = bytes.ends_with(b"/");
        let several = arriving.entries > 1;
        let is_single_dir = arriving.entries == 1 && arriving.first_is_dir;
        let mut existing = options.is_dir(path);
        if options.mkpath && is_missing(&existing) && (several || bytes.contains(&b'/')) {
            Self::make_parents(path, several || is_single_dir, has_slash, options, report)?;
            existing = options.is_dir(path);
        }
        let shown = options.quoted(path);
        match existing {
            Ok(true) => return Self::open(path, options, false),
            Ok(false) if several => {
                let text = "ERROR: destination must be a directory when copying more than 1 file";
                return Err(Error::fatal(3, Role::ReceivingSide, text, None));
            }
            Ok(false) if is_single_dir => {
                let text = "ERROR: cannot overwrite non-directory with a directory";
                return Err(Error::fatal(3, Role::ReceivingSide, text, None));
            }
            // A link that leads out of a module.
            Err(cause) if is_loop(&cause) && options.confines_targets() => {
                return Self::open(path, options, false);
            }
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                let text = sentence(&[b"ERROR: cannot stat destination ", &shown]);
                return Err(Error::fatal(3, Role::ReceivingSide, text, Some(cause)));
            }
            Err(_) if several || has_slash => return Self::create(path, options, report),
            Ok(false) if has_slash => {
                let text = "ERROR: destination path is not a directory";
                return Err(Error::fatal(1, Role::ReceivingSide, text, None));
            }
            _ => {}
        }
        Self::single(path, options)
    }

    /// Nothing is put where a daemon's rules let nobody see anything: neither as a file nor as a directory, nor below one.
    /// rsync looks at the name itself only.
    fn refuse_hidden(path: &Path, options: &Options) -> Result<(), Error> {
        let shown = options.shown(&trimmed(path));
        let side = filter::Side::Receiver;
        if ![false, true]
            .map(|is_dir| options.hides_way(&shown, b".", is_dir, side))
            .contains(&true)
        {
            return Ok(());
        }
        let text = sentence(&[
            b"ERROR: daemon has excluded destination \"",
            path.as_os_str().as_bytes(),
            b"\"",
        ]);
        Err(Error::fatal(3, Role::ReceivingSide, text, None))
    }

    /// A destination that a run has made use of already.
    pub(crate) fn found(path: &Path, options: &Options) -> Result<Self, Error> {
        match options.is_dir(path) {
            Ok(true) => Self::open(path, options, false),
            _ => Self::single(path, options),
        }
    }

    /// No destination: only a list is wanted.
    pub(crate) fn none() -> Self {
        Self {
            root: None,
            shown: Shown::default(),
            single: None,
            is_new: true,
        }
    }

    /// A directory that is there.
    pub(crate) fn open(path: &Path, options: &Options, is_new: bool) -> Result<Self, Error> {
        let links = match (options.insecure_links, options.keep_dirlinks) {
            (true, true) => Links::Anywhere,
            (false, true) => Links::Beneath,
            (_, false) => Links::Refuse,
        };
        let policy = Policy {
            links,
            trusted_path: !options.insecure_links,
            hold_dirs: true,
            without_births: true,
            devices: options.write_devices,
            ..Policy::default()
        };
        // A directory that may not be searched can be opened all the same, and is of no use.
        let opened = options.open_dir(path, policy);
        let searched = opened.and_then(|root| root.lstat(Path::new(".")).map(|_| root));
        let root = searched.map_err(|error| {
            let text = sentence(&[b"change_dir#1 ", &options.quoted(path), b" failed"]);
            Error::fatal(3, Role::ReceivingSide, text, Some(error.into_cause()))
        })?;
        Ok(Self {
            root: Some(root),
            shown: options.shown(path),
            single: None,
            is_new,
        })
    }

    /// The open directory; none in a dry run without one.
    pub(crate) fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// Whether the destination names one entry.
    pub(crate) fn is_single(&self) -> bool {
        self.single.is_some()
    }

    /// Where the entry of this path goes, below the root.
    pub(crate) fn place<'p>(&'p self, path: &'p [u8]) -> &'p [u8] {
        self.single.as_deref().unwrap_or(path)
    }

    /// A place in messages.
    pub(crate) fn quoted(&self, place: &[u8]) -> Vec<u8> {
        quoted(&self.shown, place)
    }

    fn create(path: &Path, options: &Options, report: &Reporter<'_>) -> Result<Self, Error> {
        let trimmed = trimmed(path);
        if !options.dry_run {
            make_directory(&trimmed, options)?;
        }
        report.event(Event::CreatedDestination {
            path: &trimmed,
            directories: None,
        });
        if options.dry_run {
            return Ok(Self {
                root: None,
                shown: options.shown(path),
                single: None,
                is_new: true,
            });
        }
        Self::open(&trimmed, options, true)
    }

    fn single(path: &Path, options: &Options) -> Result<Self, Error> {
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let name = path.file_name().map(|name| name.as_bytes().to_vec());
        match Self::open(dir, options, false) {
            Ok(opened) => Ok(Self {
                single: name,
                ..opened
            }),
            Err(_) if options.dry_run && options.mkpath => Ok(Self {
                root: None,
                shown: options.shown(dir),
                single: name,
                is_new: true,
            }),
            Err(Error::Fatal {
                code, role, cause, ..
            }) => {
                let text = sentence(&[b"change_dir#3 ", &options.quoted(dir), b" failed"]);
                Err(Error::fatal(code, role, text, cause))
            }
            Err(error) => Err(error),
        }
    }

    /// `--mkpath`.
    fn make_parents(
        path: &Path,
        several: bool,
        has_slash: bool,
        options: &Options,
        report: &Reporter<'_>,
    ) -> Result<(), Error> {
        let all = trimmed(path);
        let target = match all.parent() {
            Some(parent) if !several && !has_slash => parent.to_owned(),
            _ => all,
        };
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in target
            .ancestors()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
        {
            if !is_missing(&options.is_dir(ancestor)) {
                break;
            }
            missing.push(ancestor);
        }
        let Ok(count) = u32::try_from(missing.len()) else {
            return Ok(());
        };
        if count == 0 {
            return Ok(());
        }
        if !options.dry_run {
            missing
                .iter()
                .rev()
                .try_for_each(|dir| make_directory(dir, options))?;
        }
        report.event(Event::CreatedDestination {
            path: &target,
            directories: Some(count),
        });
        Ok(())
    }
}

fn is_missing(existing: &io::Result<bool>) -> bool {
    existing
        .as_ref()
        .is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

/// A link that is not followed (`ELOOP`).
pub(crate) fn is_loop(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn make_directory(path: &Path, options: &Options) -> Result<(), Error> {
    options.create_dir(path).map(drop).map_err(|error| {
        let text = sentence(&[b"mkdir ", &options.quoted(path), b" failed"]);
        Error::fatal(11, Role::ReceivingSide, text, Some(error.into_cause()))
    })
}

/// The path without slashes at its end.
fn trimmed(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(1.min(bytes.len()), |at| at + 1);
    PathBuf::from(OsString::from_vec(bytes[..end].to_vec()))
}
