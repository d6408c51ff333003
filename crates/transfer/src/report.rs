//! What the roles of one run say, and what of it decides the exit code.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use filter::{List, Verdict};
use wire::IoErrors;

use crate::event::{Class, Event, Events, Notice, Outcome, Role, Stats};
use crate::module::Module;

/// Passes events on, and keeps the tally of what went wrong.
pub(crate) struct Reporter<'e> {
    events: &'e dyn Events,
    is_partial: AtomicBool,
    io_errors: AtomicU8,
}

impl<'e> Reporter<'e> {
    pub(crate) fn new(events: &'e dyn Events) -> Self {
        Self {
            events,
            is_partial: AtomicBool::new(false),
            io_errors: AtomicU8::new(0),
        }
    }

    pub(crate) fn event(&self, event: Event<'_>) {
        if let Event::Message(Notice {
            class: Class::Transfer,
            ..
        })
        | Event::Peer {
            severity: wire::Severity::ErrorXfer,
            ..
        } = event
        {
            self.is_partial.store(true, Ordering::Relaxed);
        }
        self.events.event(event);
    }

    /// Something was not transferred: `TEXT: CAUSE`.
    pub(crate) fn failed(&self, role: Role, text: impl AsRef<[u8]>, cause: &io::Error) {
        let text = text.as_ref();
        self.event(Event::Message(Notice {
            class: Class::Transfer,
            role,
            text,
            cause: Some(cause),
        }));
    }

    /// Words without a cause.
    pub(crate) fn say(&self, class: Class, role: Role, text: impl AsRef<[u8]>) {
        self.event(Event::Message(Notice {
            class,
            role,
            text: text.as_ref(),
            cause: None,
        }));
    }

    /// A rule has decided about a name, if it was one.
    pub(crate) fn filtered(&self, role: Role, path: &[u8], is_dir: bool, verdict: Verdict<'_>) {
        let (Verdict::Included(found) | Verdict::Excluded(found)) = verdict else {
            return;
        };
        let mut rule = found.rule.shown();
        match found.list {
            List::Global => {}
            List::Cvs => rule.extend_from_slice(b" [global CVS]"),
            List::PerDirectory(name) => {
                rule.extend([b" [per-dir ", name, b"]"].concat());
            }
        }
        self.event(Event::Filtered {
            role,
            path,
            is_dir,
            is_excluded: verdict.is_excluded(),
            rule: &rule,
        });
    }

    pub(crate) fn io_error(&self, errors: IoErrors) {
        self.io_errors.fetch_or(errors.bits(), Ordering::Relaxed);
    }

    pub(crate) fn io_errors(&self) -> IoErrors {
        IoErrors::from_bits_truncate(self.io_errors.load(Ordering::Relaxed))
    }

    pub(crate) fn is_partial(&self) -> bool {
        self.is_partial.load(Ordering::Relaxed)
    }

    /// How a run went that came to its end.
    pub(crate) fn outcome(&self, stats: Stats, deletions_skipped: u64) -> Outcome {
        Outcome {
            stats,
            io_errors: self.io_errors(),
            is_partial: self.is_partial(),
            deletions_skipped,
            peer_exit: None,
        }
    }
}

/// The absolute form of a directory that the user named, by name alone: links in it stay as they are.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let path = match path.is_absolute() {
        true => path.to_owned(),
        false => std::env::current_dir().unwrap_or_default().join(path),
    };
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
}

/// A directory as messages show the names in it: whole (behaviour.md 3.3), or a module's as its clients know them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    real: PathBuf,
    /// Its path in a daemon's module, and how messages end that speak of it.
    module: Option<(PathBuf, Vec<u8>)>,
}

impl Shown {
    pub(crate) fn whole(real: PathBuf) -> Self {
        Self { real, module: None }
    }

    pub(crate) fn in_module(real: PathBuf, inside: PathBuf, module: &Module) -> Self {
        Self {
            real,
            module: Some((inside, place_words(module))),
        }
    }

    /// A path as a daemon's client has given it, in quotes.
    pub(crate) fn as_given(path: &Path, module: &Module) -> Vec<u8> {
        let path = path.as_os_str().as_bytes();
        [b"\"", path, b"\"", &place_words(module)[..]].concat()
    }

    /// Its true path.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    /// Its path in a daemon's module; the module itself is empty, as is anything elsewhere.
    pub(crate) fn inside(&self) -> &[u8] {
        match &self.module {
            None => b"",
            Some((inside, _)) => inside.as_os_str().as_bytes(),
        }
    }

    /// A name in it, in quotes.
    pub(crate) fn quoted(&self, path: &[u8]) -> Vec<u8> {
        let Some((inside, words)) = &self.module else {
            let whole = match path {
                b"" => self.real.clone(),
                path => self.real.join(OsStr::from_bytes(path)),
            };
            return [b"\"", whole.as_os_str().as_bytes(), b"\""].concat();
        };
        // In the module's own directory names stand as they are, unless that is also the process' own root.
        let inside = inside.as_os_str().as_bytes();
        let dir = match inside {
            b"" if self.real != Path::new("/") => b"".to_vec(),
            inside => [b"/", inside].concat(),
        };
        let whole = match path {
            b"" | b"." => dir,
            path => crate::flist::join(&dir, path),
        };
        [b"\"", &whole[..], b"\"", words].concat()
    }
}

fn place_words(module: &Module) -> Vec<u8> {
    [b" (in ", &module.name[..], b")"].concat()
}

/// A name in messages, in quotes.
pub(crate) fn quoted(dir: &Shown, path: &[u8]) -> Vec<u8> {
    dir.quoted(path)
}

/// `BEFORE "NAME" AFTER`, for messages.
pub(crate) fn sentence(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
