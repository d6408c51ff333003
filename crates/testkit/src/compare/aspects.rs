//! What must agree in two trees.

use std::fmt;
use std::path::Path;

/// What must agree. Existence, type, content and link targets always must.
pub struct Aspects {
    pub(super) mode: bool,
    pub(super) owner: bool,
    pub(super) times: Times,
    pub(super) directory_times: bool,
    pub(super) link_times: bool,
    pub(super) hard_links: bool,
    pub(super) xattrs: bool,
    pub(super) munged_links: bool,
    pub(super) ignored: Box<dyn Fn(&Path) -> bool>,
}

/// How closely modification times must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Not at all.
    Ignored,
    /// To the second, which is all that protocol 30 carries.
    Seconds,
    /// To the nanosecond.
    Nanoseconds,
}

impl Aspects {
    /// Everything but extended attributes, times to the nanosecond.
    pub fn exact() -> Self {
        Self {
            mode: true,
            owner: true,
            times: Times::Nanoseconds,
            directory_times: true,
            link_times: true,
            hard_links: true,
            xattrs: false,
            munged_links: false,
            ignored: Box::new(|_| false),
        }
    }

    /// Only existence, type, content and link targets.
    pub fn content() -> Self {
        Self {
            mode: false,
            owner: false,
            hard_links: false,
            ..Self::exact().without_times()
        }
    }

    /// Modes need not agree.
    #[must_use]
    pub fn without_mode(self) -> Self {
        Self {
            mode: false,
            ..self
        }
    }

    /// Users and groups need not agree.
    #[must_use]
    pub fn without_owner(self) -> Self {
        Self {
            owner: false,
            ..self
        }
    }

    /// No time need agree.
    #[must_use]
    pub fn without_times(self) -> Self {
        Self {
            times: Times::Ignored,
            ..self
        }
    }

    /// Times need agree only so far.
    #[must_use]
    pub fn times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// The times of directories need not agree.
    #[must_use]
    pub fn without_directory_times(self) -> Self {
        Self {
            directory_times: false,
            ..self
        }
    }

    /// The times of symbolic links need not agree.
    #[must_use]
    pub fn without_link_times(self) -> Self {
        Self {
            link_times: false,
            ..self
        }
    }

    /// Names that are one file on the left may be several on the right, and the reverse.
    #[must_use]
    pub fn without_hard_links(self) -> Self {
        Self {
            hard_links: false,
            ..self
        }
    }

    /// Extended attributes, POSIX ACLs among them, must agree as well.
    #[must_use]
    pub fn with_xattrs(self) -> Self {
        Self {
            xattrs: true,
            ..self
        }
    }

    /// Links on the right must be munged, as a stock daemon with `munge symlinks` stores them.
    #[must_use]
    pub fn with_munged_links(self) -> Self {
        Self {
            munged_links: true,
            ..self
        }
    }

    /// Leaves out, on both sides, what `ignored` holds for, and all below it. Paths are relative.
    #[must_use]
    pub fn ignoring(self, ignored: impl Fn(&Path) -> bool + 'static) -> Self {
        Self {
            ignored: Box::new(ignored),
            ..self
        }
    }
}

impl fmt::Debug for Aspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aspects")
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .field("times", &self.times)
            .field("directory_times", &self.directory_times)
            .field("link_times", &self.link_times)
            .field("hard_links", &self.hard_links)
            .field("xattrs", &self.xattrs)
            .field("munged_links", &self.munged_links)
            .finish_non_exhaustive()
    }
}
