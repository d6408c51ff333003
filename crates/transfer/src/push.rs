//! A batch pushed to a daemon: our sender against any receiver from protocol 30 on.
//!
//! The list holds exactly the batch: versions to hold, with their parents; missing names as entries of mode 0;
//! directories without content, unless they are listed whole. Incremental recursion is not offered, so that the
//! peer knows the complete list before it decides anything.

mod attributes;
mod list;
mod options;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;

use tree::{Kind, Root};
use wire::{
    CompatFlags, DeleteStatistics, IoErrors, ItemFormat, Message, NdxWriter, SumHead,
    put_arguments, put_rule, put_rules_end,
};

use self::attributes::Carried;
use self::list::{List, Target, entry_format};
use self::options::own_abilities;
pub use self::options::{PushOptions, Without};
use crate::Error;
use crate::batch::{Applied, Batch, Progress};
use crate::connection::Connection;
use crate::sender::{Catalogue, Opened, Sender, Sent};
use crate::session::Session;
use crate::stream::Stream;
use crate::write::Pace;

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
        let session = Session::agree(&mut self.stream, self.protocol, &client, options.compress)?;
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
            pace: options.bandwidth.map(Pace::new),
            touched: &mut pushed.touched,
            applied: Applied::default(),
        };
        let mut sender = Sender::new(&mut self.stream, &session, items, batched);
        let served = sender.serve(false, None);
        let mut applied = sender.catalogue.applied;
        served?;
        applied.doubt_other_names(batch);
        self.conclude(&list, options, &mut applied);
        for path in unsendable {
            let reason = format!("the name is longer than {} bytes", wire::MAX_PATH - 1);
            applied.failed.insert(path.clone());
            applied.refused.insert(path, reason);
        }
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

/// A batch as the sender's catalogue.
struct Batched<'a> {
    source: &'a Root,
    targets: &'a [Target<'a>],
    carried: Carried<'a>,
    progress: &'a mut dyn FnMut(Progress),
    pace: Option<Pace>,
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
                Err(if error.is_overtaken() || is_another() {
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
        self.pace.as_ref().map(Pace::chunk)
    }

    fn progress(&mut self, bytes: u64) {
        if let Some(pace) = &mut self.pace {
            pace.wait(bytes);
        }
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
