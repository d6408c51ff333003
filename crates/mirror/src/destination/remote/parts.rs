//! A batch brought over: whole or in parts, and once more where it is not told what failed.

use std::thread::ScopedJoinHandle;

use transfer::{Applied, Batch, Error, Progress, PushOptions, Pushed};

use super::super::Broken;
use super::RemoteReplica;
use super::division::Division;
use super::peer::Line;

impl RemoteReplica {
    /// Brings a batch over, of which a session may have `pushed` something already. `began`: the replica may have done
    /// something before.
    pub(super) fn bring_over(
        &mut self,
        batch: &Batch,
        pushed: Option<Pushed>,
        began: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        let broken = |pushed: Pushed, error| Broken {
            error,
            began: pushed.began || began,
            touched: pushed.touched,
        };
        let mut pushed = match pushed {
            Some(pushed) => pushed,
            None => self
                .push_as_permitted(batch, &PushOptions::default(), progress)
                .map_err(|error| Broken {
                    began,
                    ..Broken::from(error)
                })?,
        };
        let mut applied = match std::mem::replace(&mut pushed.result, Err(Error::Cancelled)) {
            Ok(applied) => applied,
            Err(error) => {
                return Err(broken(pushed, error));
            }
        };
        self.take_refusals(&mut applied, batch);
        if !applied.is_clean() {
            // Something failed, and the errors are made for people. Asked to acknowledge what it holds, every stock
            // receiver names the rest by its silence.
            let options = PushOptions {
                acknowledge: true,
                ..PushOptions::default()
            };
            let mut again = self
                .push_as_permitted(batch, &options, progress)
                .map_err(|error| Broken {
                    began: true,
                    touched: std::mem::take(&mut pushed.touched),
                    ..Broken::from(error)
                })?;
            again.touched.extend(pushed.touched);
            match std::mem::replace(&mut again.result, Err(Error::Cancelled)) {
                Ok(acknowledged) => applied = joined(applied, acknowledged),
                Err(error) => return Err(broken(again, error)),
            }
        }
        self.take_refusals(&mut applied, batch);
        Ok(applied)
    }

    /// The same in parts, most of them side by side.
    pub(super) fn bring_over_divided(
        &mut self,
        division: &Division,
        began: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Applied, Broken> {
        let Division { first, rest } = division;
        let mut all = vec![(first, self.bring_over(first, None, began, progress)?)];
        let mut broken: Option<Broken> = None;
        for (part, pushed) in rest.iter().zip(self.side_by_side(rest, progress)) {
            // One that did not come about (there may be no more slots) is tried again alone.
            let pushed = pushed
                .ok()
                .filter(|pushed| pushed.result.is_ok() || pushed.began);
            if let Some(broken) = &mut broken {
                broken
                    .touched
                    .extend(pushed.into_iter().flat_map(|pushed| pushed.touched));
                continue;
            }
            match self.bring_over(part, pushed, true, progress) {
                Ok(applied) => all.push((part, applied)),
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(broken) => Err(broken),
            None => Ok(united(all)),
        }
    }

    /// A session for each batch, all at the same time.
    fn side_by_side(
        &mut self,
        batches: &[Batch],
        progress: &mut dyn FnMut(Progress),
    ) -> Vec<Result<Pushed, Error>> {
        let mut options = self.permitted(&PushOptions::default());
        options.bandwidth = options
            .bandwidth
            .map(|all| (all / batches.len() as u64).max(1));
        let lines: Vec<Result<Line, Error>> = batches
            .iter()
            .enumerate()
            // The slots that are missing may be those of the first ones.
            .map(|(at, batch)| self.open(batch, &options, at == 0))
            .collect();
        let source = &*self.source;
        let (told, heard) = crossbeam_channel::unbounded();
        let pushed: Vec<_> = std::thread::scope(|scope| {
            let sessions: Vec<_> = lines
                .into_iter()
                .zip(batches)
                .map(|(line, batch)| {
                    let (told, options) = (told.clone(), &options);
                    let push = move || {
                        // The listener stays until all have ended.
                        let mut tell = |progress| told.send(progress).unwrap_or_default();
                        line?.push(source, batch, options, &mut tell)
                    };
                    std::thread::Builder::new()
                        .name("session".to_owned())
                        .spawn_scoped(scope, push)
                        .map_err(Error::Socket)
                })
                .collect();
            drop(told);
            heard.iter().for_each(progress);
            let ended = |session: ScopedJoinHandle<'_, _>| {
                let ended = session.join();
                ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            sessions
                .into_iter()
                .map(|session| session.and_then(ended))
                .collect()
        });
        for pushed in &pushed {
            self.note_end(pushed);
        }
        pushed
    }
}

/// What became of all parts of a batch.
fn united(parts: Vec<(&Batch, Applied)>) -> Applied {
    let has_failed = parts
        .iter()
        .any(|(_, applied)| applied.acknowledged.is_some());
    let mut united = Applied::default();
    for (batch, applied) in parts {
        if has_failed {
            // Where nothing failed, nothing had to be acknowledged.
            let stored = applied.acknowledged.unwrap_or_else(|| {
                let paths = batch.items.iter().map(|item| &item.path);
                let stored = paths.filter(|path| !applied.failed.contains(*path));
                stored.cloned().collect()
            });
            united.acknowledged.get_or_insert_default().extend(stored);
        }
        united.removed.extend(applied.removed);
        united.refused.extend(applied.refused);
        united.extra.extend(applied.extra);
        united.amended.extend(applied.amended);
        united.changed.extend(applied.changed);
        united.failed.extend(applied.failed);
        united.errors.extend(applied.errors);
        united.notes.extend(applied.notes);
        united.bytes += applied.bytes;
        united.files += applied.files;
    }
    united
}

/// A first session's result with what the second one, which repeats it, knows better.
fn joined(first: Applied, second: Applied) -> Applied {
    Applied {
        removed: first.removed.into_iter().chain(second.removed).collect(),
        refused: first.refused.into_iter().chain(second.refused).collect(),
        extra: first.extra.into_iter().chain(second.extra).collect(),
        amended: first.amended.into_iter().chain(second.amended).collect(),
        changed: first.changed.into_iter().chain(second.changed).collect(),
        failed: first.failed.into_iter().chain(second.failed).collect(),
        acknowledged: second.acknowledged,
        errors: second.errors,
        notes: second.notes,
        bytes: first.bytes + second.bytes,
        files: first.files + second.files,
    }
}
