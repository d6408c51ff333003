//! Each event of the engine as the lines that rsync has for it, and whether they are wanted.

use std::io::Write;
use std::path::Path;

use transfer::{Class, Event, FileProgress, Itemized, Notice, Skip, Tally};
use wire::{ItemFlags, Severity};

use super::format::{Format, Subject, is_dir, with_slash};
use super::words::{self, notice_line};
use super::{Now, Printer, listing};

impl<O: Write, E: Write> Printer<O, E> {
    /// One event of the engine.
    pub(crate) fn event(&mut self, event: &Event<'_>, now: Now) {
        match event {
            Event::ListStarted {
                incremental,
                sending,
            } => self.list_started(*incremental, *sending, now),
            Event::ListProgress { entries } => self.list_progress(*entries),
            Event::ListFinished { entries } => {
                self.list_finished(*entries, now);
                // A server hears of no items to say it before.
                if self.settings.is_server {
                    self.delta_told(now);
                }
            }
            Event::Listed(entry) => {
                let line = listing::line(entry, &self.settings.columns);
                self.info(&line, now);
            }
            Event::CreatedDestination { path, directories } => {
                self.created_destination(path, *directories, now);
            }
            Event::Itemized(item) => self.itemized(item, now),
            Event::Deleted { path, is_dir } => self.deleted(path, *is_dir, now),
            Event::Skipped { path, is_dir, why } => {
                if let Some(line) = self.skipped(path, *is_dir, *why) {
                    self.info(&line, now);
                }
            }
            Event::UnsafeLink {
                path,
                target,
                is_copied,
            } => self.unsafe_link(path, target, *is_copied, now),
            Event::Filtered {
                role,
                path,
                is_dir,
                is_excluded,
                rule,
            } => {
                if self.settings.debug.level("FILTER") > 0 {
                    let line = words::filtered(*role, path, *is_dir, *is_excluded, rule);
                    self.info(&line, now);
                }
            }
            Event::LeftAlone { path, differs } => self.left_alone(path, *differs, now),
            Event::BackedUp { path, kept_as } => {
                if self.level("BACKUP") > 0 {
                    let kept_as = kept_as.as_os_str().as_encoded_bytes();
                    self.info(&[b"backed up ", *path, b" to ", kept_as].concat(), now);
                }
            }
            Event::RemovedSource { path } => {
                if self.level("REMOVE") > 0 {
                    self.info(&[b"sender removed ", *path].concat(), now);
                }
            }
            Event::AllSent { tally, literal } => self.all_sent(tally, *literal, now),
            Event::Progress(progress) => self.progressed(progress, now),
            Event::Message(notice) => self.message(notice, now),
            // The run's result says it.
            Event::Failed(_) => {}
            Event::Unheard(cause) => {
                let role = if self.settings.is_receiving {
                    "Receiver"
                } else {
                    "sender"
                };
                self.after_all = crate::run::told(cause, role);
            }
            Event::Gone(error) => {
                for line in crate::run::parting_words(error, "Receiver") {
                    self.error(line.as_bytes(), now);
                }
            }
            Event::Peer { severity, text } => {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                match severity {
                    Severity::Info => self.info(text, now),
                    Severity::Error | Severity::ErrorXfer | Severity::Warning => {
                        self.error(text, now);
                    }
                }
            }
        }
    }

    /// An item in a server's log: transfers in its own format, if there is one; what else has changed in the same, if that
    /// shows attributes, or by its name if the client wants to hear of names.
    pub(crate) fn log_item(&mut self, item: &Itemized<'_>, now: Now) {
        if !is_significant(item) || self.settings.is_dry_run {
            return;
        }
        let is_transfer = item.flags.contains(ItemFlags::TRANSFER);
        let format = self.settings.log_format.as_ref();
        let receives = self.settings.is_receiving;
        let facts = &self.settings.facts;
        let shows_all = format.is_some_and(|format| format.has_any(b"i"));
        let line = match format.filter(|_| is_transfer || shows_all) {
            Some(format) => format.render(Subject::Item(item), facts, now.timestamp),
            None if receives && !is_transfer && is_told_by_name(item) && self.level("NAME") > 0 => {
                Format::parse(b"%n%L").render(Subject::Item(item), facts, now.timestamp)
            }
            None => return,
        };
        self.log(&line, now);
    }

    fn list_started(&mut self, incremental: bool, sending: bool, now: Now) {
        self.log(
            if sending {
                b"building file list"
            } else {
                b"receiving file list"
            },
            now,
        );
        if self.level("FLIST") == 0 || self.settings.is_server {
            return;
        }
        self.is_list_open = !incremental && self.settings.lists_dirs;
        if self.settings.quiet {
            return;
        }
        let verb = match (sending, incremental) {
            (true, true) => "sending incremental",
            (true, false) => "building",
            (false, _) if incremental => "receiving incremental",
            (false, _) => "receiving",
        };
        if incremental {
            self.say(format!("{verb} file list").as_bytes());
        } else if self.is_list_open {
            self.write(format!("{verb} file list ... ").as_bytes());
            // Who receives a list learns of its length at its end.
            if sending && self.level("FLIST") > 1 {
                self.write(b"\n 0 files...\r");
            }
            self.is_mid_line = true;
            self.flush();
        }
    }

    fn list_progress(&mut self, entries: u64) {
        if self.is_list_open && self.level("FLIST") > 1 && !self.settings.quiet {
            self.write(format!(" {entries} files...\r").as_bytes());
            self.flush();
        }
    }

    fn list_finished(&mut self, entries: u64, now: Now) {
        if !std::mem::take(&mut self.is_list_open) {
            return;
        }
        let line = match (self.level("FLIST"), entries) {
            (..2, _) => "done".to_owned(),
            (_, 1) => "1 file to consider".to_owned(),
            (..) => format!("{entries} files to consider"),
        };
        // It ends the line of the start.
        self.is_mid_line = false;
        self.info(line.as_bytes(), now);
    }

    /// What `-vv` says before the first item.
    pub(super) fn delta_told(&mut self, now: Now) {
        if self.is_delta_told
            || !self.settings.is_receiving
            || self.settings.debug.level("FLIST") == 0
        {
            return;
        }
        self.is_delta_told = true;
        let line: &[u8] = if self.settings.whole_files {
            b"delta-transmission disabled for local transfer or --whole-file"
        } else {
            b"delta-transmission enabled"
        };
        self.info(line, now);
    }

    fn itemized(&mut self, item: &Itemized<'_>, now: Now) {
        self.delta_told(now);
        let shows_attributes = self.has_any(b"i");
        let names_all = self.level("NAME") > 1;
        let is_noted = is_significant(item) && (shows_attributes || is_told_by_name(item));
        if is_noted {
            let facts = &self.settings.facts;
            let line = self
                .settings
                .log_format
                .as_ref()
                .map(|format| format.render(Subject::Item(item), facts, now.timestamp));
            self.log(&line.unwrap_or_default(), now);
        }
        let wants_line = is_noted || (shows_attributes && (self.settings.all_items || names_all));
        if let Some(format) = self.settings.format.as_ref().filter(|_| wants_line) {
            let line = format.render(Subject::Item(item), &self.settings.facts, now.timestamp);
            self.say(&line);
        } else if !shows_attributes && self.settings.is_receiving && !is_dir(item.entry.mode) {
            self.left_alone(item.entry.path, !item.unchanged, now);
        }
    }

    /// What `-vv` says of entries that need no content.
    fn left_alone(&mut self, path: &[u8], differs: bool, now: Now) {
        if self.level("NAME") > 1 {
            let tail: &[u8] = if differs { b"" } else { b" is uptodate" };
            self.info(&[&with_slash(path, false)[..], tail].concat(), now);
        }
    }

    fn deleted(&mut self, path: &[u8], is_dir: bool, now: Now) {
        let subject = Subject::Deleted { path, is_dir };
        let plain = [b"deleting ", &with_slash(path, is_dir)[..]].concat();
        let render = |format: &Format| match format.has_any(b"io") {
            true => format.render(subject, &self.settings.facts, now.timestamp),
            false => plain.clone(),
        };
        let logged = self.settings.log_format.as_ref().map(render);
        let shown = self.settings.format.as_ref().map(render);
        self.log(&logged.unwrap_or_default(), now);
        // The engine has told the client already, as far as the protocol has words for it.
        if self.settings.is_server && self.settings.protocol > 30 {
            return;
        }
        match shown {
            Some(line) => self.say(&line),
            None if self.level("DEL") > 0 => self.say(&plain),
            None => {}
        }
    }

    fn skipped(&mut self, path: &[u8], is_dir: bool, why: Skip<'_>) -> Option<Vec<u8>> {
        let skip = self.level("SKIP");
        let name = with_slash(path, false);
        let quoted = |before: &[u8]| [before, b" \"", &name, b"\""].concat();
        let after = |words: &[u8]| [&name[..], words].concat();
        let (is_wanted, line) = match why {
            Skip::NotExisting if is_dir => (skip > 0, quoted(b"not creating new directory")),
            Skip::NotExisting => (skip > 0, quoted(b"not creating new file")),
            Skip::Exists(Some(difference)) if skip > 1 => {
                (true, after(format!(" exists ({difference})").as_bytes()))
            }
            Skip::Exists(_) => (skip > 0, after(b" exists")),
            Skip::Newer => (skip > 0, after(b" is newer")),
            Skip::TooLarge => (skip > 0, after(b" is over max-size")),
            Skip::TooSmall => (skip > 0, after(b" is under min-size")),
            Skip::NonRegular => (
                self.level("NONREG") > 0,
                quoted(b"skipping non-regular file"),
            ),
            Skip::UnsafeLink(target) => {
                let line = [
                    &quoted(b"ignoring unsafe symlink")[..],
                    b" -> \"",
                    target,
                    b"\"",
                ]
                .concat();
                (self.level("NAME") > 0, line)
            }
            Skip::Directory => (true, [b"skipping directory ", &name[..]].concat()),
            Skip::MountPoint => (
                self.level("MOUNT") > 0,
                [b"[sender] skipping mount-point dir ", &name[..]].concat(),
            ),
            Skip::UndeletableMountPoint => (
                self.level("MOUNT") > 0,
                [b"cannot delete mount point: ", &name[..]].concat(),
            ),
            Skip::NotEmpty => (
                true,
                [b"cannot delete non-empty directory: ", &name[..]].concat(),
            ),
        };
        is_wanted.then_some(line)
    }

    fn created_destination(&mut self, path: &Path, directories: Option<u32>, now: Now) {
        if self.level("NAME") == 0 && !self.settings.itemizes {
            return;
        }
        let path = path.display();
        let line = match directories {
            None => format!("created directory {path}"),
            Some(1) => format!("created 1 directory for {path}"),
            Some(number) => format!("created {number} directories for {path}"),
        };
        self.info(line.as_bytes(), now);
    }

    fn unsafe_link(&mut self, path: &[u8], target: &[u8], is_copied: bool, now: Now) {
        if self.level("SYMSAFE") == 0 {
            return;
        }
        let verb: &[u8] = if is_copied {
            b"copying"
        } else {
            b"not backing up"
        };
        let words = [
            verb,
            b" unsafe symlink \"",
            path,
            b"\" -> \"",
            target,
            b"\"",
        ];
        self.info(&words.concat(), now);
    }

    /// The line of `--debug=deltasum` at a sender's end.
    fn all_sent(&mut self, tally: &Tally, literal: u64, now: Now) {
        self.delta_told(now);
        if self.settings.debug.level("DELTASUM") == 0 {
            return;
        }
        let Tally {
            matches,
            hash_hits,
            false_alarms,
        } = tally;
        let line = format!(
            "total: matches={matches}  hash_hits={hash_hits}  false_alarms={false_alarms} data={literal}"
        );
        self.info(line.as_bytes(), now);
    }

    fn progressed(&mut self, progress: &FileProgress<'_>, now: Now) {
        let line = self
            .progress
            .as_mut()
            .and_then(|line| line.update(progress, now.instant));
        if let Some(line) = line {
            self.is_mid_line = !line.ends_with(b"\n");
            self.write(&line);
            self.flush();
        }
    }

    fn message(&mut self, notice: &Notice<'_>, now: Now) {
        let line = notice_line(notice);
        match notice.class {
            Class::Info => self.info(&line, now),
            Class::Warning | Class::Error | Class::Transfer => {
                self.error_of(notice.role, &line, now);
            }
        }
    }
}

/// Whether anything about the item has changed.
fn is_significant(item: &Itemized<'_>) -> bool {
    let markers =
        ItemFlags::LOCAL_CHANGE | ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS;
    !item.unchanged && (!(item.flags - markers).is_empty() || item.link.is_some())
}

/// Whether a change is told where `%i` does not show which: one of attributes alone only of directories.
fn is_told_by_name(item: &Itemized<'_>) -> bool {
    item.flags
        .intersects(ItemFlags::TRANSFER | ItemFlags::IS_NEW | ItemFlags::LOCAL_CHANGE)
        || item.link.is_some()
        || is_dir(item.entry.mode)
}
