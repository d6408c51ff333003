//! What a command line watches with: one back end or the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Backend;
use super::marks::{self, Marks};
use super::recursion::{self, Recursion, Unwatched};
use crate::fanotify::Fanotify;
use crate::inotify::Inotify;
use crate::queue::{self, Closer, Queue};

/// What is asked for.
pub(crate) struct Asked {
    pub(crate) backend: Backend,
    /// Events to be told, as inotify bits.
    pub(crate) events: u32,
    pub(crate) recursive: bool,
    /// Whether directories that appear later are watched too. With fanotify they are anyhow.
    pub(crate) follow: bool,
    pub(crate) no_dereference: bool,
    pub(crate) excluded: BTreeSet<Vec<u8>>,
}

pub(crate) enum Watches {
    /// inotify: a watch for each directory.
    Recursion(Recursion),
    /// fanotify: a mark for each filesystem.
    Marks(Marks),
}

impl Watches {
    /// Opens the back end; an error is the text for stderr.
    pub(crate) fn new(asked: Asked) -> Result<(Watches, Queue, Closer), String> {
        let init_error = |error| asked.backend.init_error(error);
        let other_error = |error: std::io::Error| format!("{error}\n");
        if asked.backend == Backend::Inotify {
            let inotify = Arc::new(Inotify::new().map_err(init_error)?);
            let (queue, closer) = queue::start(Some(inotify.clone()), None, queue::FIRST_PAUSE)
                .map_err(other_error)?;
            let asked = recursion::Asked {
                events: asked.events,
                recursive: asked.recursive,
                follow: asked.follow,
                no_dereference: asked.no_dereference,
                excluded: asked.excluded,
            };
            let recursion = Recursion::new(inotify, asked);
            return Ok((Watches::Recursion(recursion), queue, closer));
        }
        let fanotify = Arc::new(Fanotify::new().map_err(init_error)?);
        let (queue, closer) =
            queue::start(Some(fanotify.clone()), None, queue::FIRST_PAUSE).map_err(other_error)?;
        let asked = marks::Asked {
            events: asked.events,
            recursive: asked.recursive,
            filesystem: asked.backend == Backend::Filesystem,
            no_dereference: asked.no_dereference,
            excluded: asked.excluded,
        };
        Ok((Watches::Marks(Marks::new(fanotify, asked)), queue, closer))
    }

    pub(crate) fn add_operand(&mut self, operand: &[u8]) -> Result<(), Unwatched> {
        match self {
            Watches::Recursion(recursion) => recursion.add_operand(operand),
            Watches::Marks(marks) => marks.add_operand(operand),
        }
    }

    /// How many watches or marks there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Watches::Recursion(recursion) => recursion.len(),
            Watches::Marks(marks) => marks.len(),
        }
    }

    /// All watches with their paths, in the order of inotify-tools; marks have no paths before their events.
    pub(crate) fn in_order(&self) -> Vec<(i32, Vec<u8>)> {
        match self {
            Watches::Recursion(recursion) => recursion.in_order(),
            Watches::Marks(_) => Vec::new(),
        }
    }

    pub(crate) fn recursion(&mut self) -> Option<&mut Recursion> {
        match self {
            Watches::Recursion(recursion) => Some(recursion),
            Watches::Marks(_) => None,
        }
    }

    /// Does what has become due; called when nothing else is to be done.
    pub(crate) fn expire(&mut self, now: Instant) {
        match self {
            Watches::Recursion(recursion) => recursion.expire(now),
            Watches::Marks(marks) => marks.rest(),
        }
    }

    /// When [`Watches::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Watches::Recursion(recursion) => recursion.deadline(),
            Watches::Marks(_) => None,
        }
    }
}
