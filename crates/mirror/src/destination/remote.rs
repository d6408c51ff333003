//! A replica with a peer that speaks rsync's protocol: a daemon, or a server behind a remote shell.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use transfer::{
    Applied, Batch, Cancel, Connection, Error, Item, Progress, PushOptions, Renamed, Terms, Without,
};
use tree::Kind;

use self::division::Division;
pub(crate) use self::peer::{Daemon, Peer};
use super::capabilities::Capabilities;
use super::refusals::take_refusals;
use super::{Broken, Destination};
use crate::planner::Abilities;
use crate::settings::ReplicaSettings;
use crate::source::Source;

mod division;
mod parts;
mod peer;
mod session;

/// Below so many bytes, sending renamed files takes less time than a session that spares it.
const WORTH_A_SESSION: u64 = 256 << 10;

/// A replica with a peer.
pub(crate) struct RemoteReplica {
    source: Arc<Source>,
    peer: Peer,
    terms: Terms,
    deletes: bool,
    refuses_deletions: Option<String>,
    trash: Option<String>,
    compress: bool,
    bandwidth: Option<u64>,
    /// As far as its protocol allows, and until it has shown otherwise.
    removes_by_name: bool,
    /// The same of a server that gets its arguments before it tells its version.
    compares_nanoseconds: bool,
    has_learned: bool,
    capabilities: Capabilities,
    ready: Option<Connection>,
    notice: Option<String>,
    has_sent_links: bool,
    itemizes: bool,
    /// How many sessions may run side by side.
    sessions: usize,
    /// When the last session ended.
    last_session: Option<Instant>,
}

impl RemoteReplica {
    pub(crate) fn new(
        source: Arc<Source>,
        peer: Peer,
        settings: &ReplicaSettings,
        cancel: &Cancel,
    ) -> Self {
        Self {
            source,
            peer,
            terms: Terms {
                patience: Some(settings.timeout).filter(|timeout| !timeout.is_zero()),
                newest: settings.protocol,
                cancel: cancel.clone(),
            },
            deletes: settings.deletes,
            refuses_deletions: None,
            trash: settings.trash.clone(),
            compress: settings.compress,
            bandwidth: settings.bandwidth,
            removes_by_name: true,
            compares_nanoseconds: true,
            has_learned: false,
            capabilities: Capabilities::default(),
            ready: None,
            notice: None,
            has_sent_links: false,
            itemizes: false,
            sessions: settings.sessions,
            last_session: None,
        }
    }

    /// Gives renamed files their new names before anything is deleted or sent, in sessions of their own. What does
    /// not come about is sent as data by the session that follows, so their errors mean nothing.
    fn link_renamed(&mut self, batch: &Batch) -> Result<(), Broken> {
        let size = |renamed: &Renamed| renamed.old.meta.size;
        let without = self.capabilities.without();
        if batch.renamed.iter().map(size).sum::<u64>() < WORTH_A_SESSION
            || without.contains(Without::HARD_LINKS)
        {
            return Ok(());
        }
        // A file whose ctime is the old one has not been changed; the others are compared by content.
        let is_certain = |renamed: &&Renamed| {
            batch
                .item(&renamed.new)
                .is_some_and(|item| item.meta.unchanged_since(&renamed.old.meta))
        };
        let (certain, uncertain): (Vec<_>, Vec<_>) = batch.renamed.iter().partition(is_certain);
        let mut began = false;
        for (pairs, exact) in [(certain, false), (uncertain, true)] {
            if pairs.is_empty() {
                continue;
            }
            let broken = |error| Broken {
                began,
                ..Broken::from(error)
            };
            let connection = self.take_connection().map_err(broken)?;
            let linking = batch.linking(pairs, exact);
            let options = PushOptions {
                without: self.without(),
                ..PushOptions::default()
            };
            let pushed = self
                .session(connection, &linking, &options, &mut |_| {})
                .map_err(broken)?;
            began = true;
            if let Err(error) = pushed.result {
                if self.learn_from(&error) {
                    // The session that follows does without, and sends the data.
                    return Ok(());
                }
                return Err(Broken {
                    error,
                    touched: pushed.touched,
                    began: true,
                });
            }
        }
        Ok(())
    }

    /// Tells apart what a repetition would not change from what failed.
    fn take_refusals(&mut self, applied: &mut Applied, batch: &Batch) {
        take_refusals(applied, batch);
        for news in self.capabilities.learn_from_errors(applied) {
            self.tell(news);
        }
    }

    fn note_links(&mut self, batch: &Batch) {
        if !self.has_sent_links
            && batch
                .items
                .iter()
                .any(|item| item.meta.kind == Kind::Symlink)
        {
            self.has_sent_links = true;
            let text = "symlinks are sent as they are; a module with `use chroot = no` may store them in a form of \
                        its own (see `munge symlinks` in rsyncd.conf)";
            self.notice.get_or_insert_with(|| text.to_owned());
        }
    }
}

impl Destination for RemoteReplica {
    fn prepare(&mut self) -> Result<Abilities, Error> {
        if let Peer::Shell(there) = &mut self.peer {
            there.connect(&self.terms)?;
        }
        self.ready = self.take_connection()?;
        let removes = |ready: &Connection| ready.protocol().removes_missing_arguments();
        let compares = |ready: &Connection| ready.compares_nanoseconds();
        let without = self.capabilities.without();
        Ok(Abilities {
            removes_by_name: self.removes_by_name && self.ready.as_ref().is_none_or(removes),
            compares_nanoseconds: self.compares_nanoseconds
                && self.ready.as_ref().is_none_or(compares),
            compares_contents: !without.contains(Without::CHECKSUM),
            keeps_links: !without.contains(Without::LINKS),
            keeps_specials: !without.contains(Without::DEVICES),
        })
    }

    fn apply(
        &mut self,
        batch: &Batch,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        self.link_renamed(batch)?;
        // Files may have been given their new names by then.
        let has_linked = !batch.renamed.is_empty();
        let mut applied = match Division::of(batch, self.sessions) {
            Some(division) => self.bring_over_divided(&division, has_linked, progress)?,
            None => self.bring_over(batch, None, has_linked, progress)?,
        };
        self.note_links(batch);
        if !self.deletes {
            // Nobody will remove them; that has been said once and is no reason to try again.
            applied.removed.extend(batch.gone.iter().cloned());
        }
        Ok(applied)
    }

    fn is_empty(&mut self) -> Result<bool, Error> {
        if !self.deletes {
            return Ok(true);
        }
        // What a deletion of everything would delete, without doing it.
        let root = self.source.root().lstat(std::path::Path::new(""))?;
        let Some(meta) = root else { return Ok(true) };
        let batch = Batch {
            items: vec![Item {
                path: PathBuf::new(),
                meta,
                target: None,
            }],
            whole: HashSet::from([PathBuf::new()]),
            ..Batch::default()
        };
        Ok(self.count_removals(&batch, 1)? == 0)
    }

    fn count_removals(&mut self, batch: &Batch, _: u64) -> Result<u64, Error> {
        let options = PushOptions {
            dry_run: true,
            ..PushOptions::default()
        };
        let pushed = self.push_as_permitted(batch, &options, &mut |_| {})?;
        pushed.result.map(|_| pushed.removals)
    }

    fn deletes(&self) -> bool {
        self.deletes
    }

    fn refuses_deletions(&self) -> Option<&str> {
        self.refuses_deletions.as_deref()
    }

    fn lacks(&self) -> Vec<String> {
        self.capabilities.lacks()
    }

    fn tell_changes(&mut self, tell: bool) {
        self.itemizes = tell;
    }

    fn rest(&mut self) {
        self.ready = None;
    }

    fn outlives_a_session(&self) -> bool {
        true
    }

    fn has_learned(&mut self) -> bool {
        std::mem::take(&mut self.has_learned)
    }

    fn forget_refusals(&mut self) {
        // A daemon reads its configuration when a connection is made.
        self.ready = None;
        self.capabilities = Capabilities::default();
        self.removes_by_name = true;
        self.compares_nanoseconds = true;
        self.deletes |= self.refuses_deletions.take().is_some();
    }

    fn notice(&mut self) -> Option<String> {
        if let Peer::Shell(there) = &mut self.peer
            && let Some(text) = there.notice()
        {
            self.tell(text);
        }
        self.notice.take()
    }
}
