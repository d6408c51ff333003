//! Files that options name: through whose symbolic links they are reached (behaviour.md 9.1), and where those of a client's
//! choice have to be (9.4).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::engine;
use crate::given::Given;

/// How the files of one command line are opened.
#[derive(Debug)]
pub(crate) struct NamedFiles {
    follows_any_link: bool,
    confine_root: Option<PathBuf>,
}

impl NamedFiles {
    pub(crate) fn of(said: &Given) -> Self {
        Self {
            follows_any_link: said.insecure_links,
            confine_root: said.confine_root.as_deref().map(engine::path),
        }
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<File> {
        self.warned(name, |path| match self.follows_any_link {
            true => File::open(path),
            false => tree::open_trusted_file(path),
        })
    }

    /// The content of a file; `-` is standard input.
    pub(crate) fn read(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        match name {
            b"-" => io::stdin().read_to_end(&mut text)?,
            name => self.open(name)?.read_to_end(&mut text)?,
        };
        Ok(text)
    }

    /// The content of a file that the other side has chosen.
    pub(crate) fn read_for_peer(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let Some(bound) = &self.confine_root else {
            return self.read(name);
        };
        let mut text = Vec::new();
        let mut file = tree::open_confined_file(&engine::path(name), bound)?;
        file.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Opens or makes a file to be appended to.
    pub(crate) fn append(&self, name: &[u8], permissions: u32) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        self.warned(name, |path| match self.follows_any_link {
            true => File::options()
                .append(true)
                .create(true)
                .mode(permissions)
                .open(path),
            false => tree::append_trusted_file(path, permissions),
        })
    }

    /// Makes or empties a file.
    pub(crate) fn create(&self, name: &[u8], permissions: u32) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        self.warned(name, |path| match self.follows_any_link {
            true => File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(permissions)
                .open(path),
            false => tree::create_trusted_file(path, permissions),
        })
    }

    /// Tells of a link that was not followed, which the cause alone would leave unclear.
    fn warned(
        &self,
        name: &[u8],
        open: impl FnOnce(&Path) -> io::Result<File>,
    ) -> io::Result<File> {
        let opened = open(&engine::path(name));
        let is_refused = opened.as_ref().err().is_some_and(is_loop);
        if is_refused && !self.follows_any_link {
            // There is nobody left to tell of an error on standard error.
            let _ = writeln!(io::stderr(), "{UNTRUSTED}");
        }
        opened
    }
}

/// Whether a link was not followed.
pub(crate) fn is_loop(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// What to do about a link of somebody else.
pub(crate) const UNTRUSTED: &str = "refusing to follow a symlink owned by an untrusted user; use --insecure-links locally or \
    \"insecure links = yes\" in a daemon module ONLY if every path component is trusted";
