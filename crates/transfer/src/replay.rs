//! A session whose sender is on file (`--read-batch`; wire-session.md 10.3).
//!
//! The receiving side is that of any session, but nobody answers its generator: what is on file is matched with what it
//! wants as it comes along.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use wire::{BatchHead, BatchOptions, Checksum, Compression};

use crate::Error;
use crate::charset::Charset;
use crate::event::{Class, Events, Outcome, Role};
use crate::link::Link;
use crate::options::{Append, Compress, Options, Recording};
use crate::outgoing::Outgoing;
use crate::receiving::Receiving;
use crate::report::Reporter;
use crate::requested::Requested;
use crate::session::Session;
use crate::stream::Stream;

/// Brings to `destination` what the batch of the options holds.
///
/// # Errors
/// What ends the run before its end; a file that is no batch (code 12, or 2 for one of a later version).
pub fn read_batch(
    mut options: Options,
    destination: &Path,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    options.check_supported()?;
    let Some(Recording::Read(file)) = &options.batch else {
        return Err(Error::Usage("there is no batch to read".to_owned()));
    };
    let report = Reporter::new(events);
    let mut stream = Stream::new(link(file, &options)?, None);
    let head = stream.read(BatchHead::decode)?;
    match_options(&mut options, &head, &report)?;
    options.settle_defaults(head.protocol);
    let session = session(&head, &options)?;
    if session.is_incremental() && !options.recurses_by_directory(true) {
        let text = "Incompatible options specified for inc-recursive batch file.";
        return Err(Error::fatal(1, Role::Receiver, text, None));
    }
    // Nobody has a use for the sums of what is there.
    options.whole_file = Some(true);
    let rules = Arc::new(std::mem::take(&mut options.rules));
    let (hearing, speaking) = stream.split()?;
    let outgoing = Outgoing::new(speaking, session.protocol);
    let receiving = Receiving {
        session: &session,
        options: &options,
        rules,
        report: &report,
        destination: Some(destination),
        requested: Requested::default(),
        is_client: true,
        is_local: false,
    };
    receiving.run(hearing, &outgoing)
}

/// What the generator says where nobody answers it.
#[derive(Debug)]
pub(crate) enum Want {
    /// It asks for the content of a file.
    File(u32),
    /// It has taken so many notes of the receiver's, and waits for more.
    Idle(u64),
}

/// What the generator wants, for the receiver to match with what is on file.
pub(crate) struct Wants {
    said: Receiver<Want>,
    open: BTreeSet<u32>,
    /// The notes after which the generator was idle the last time.
    idle_after: Option<u64>,
}

impl Wants {
    pub(crate) fn new(said: Receiver<Want>) -> Self {
        Self {
            said,
            open: BTreeSet::new(),
            idle_after: None,
        }
    }

    /// Whether a file is wanted, by a generator that was given so many notes. It goes through all it has first: what it
    /// makes stands although the batch may turn out not to fit, and that must not depend on who is faster.
    pub(crate) fn take(&mut self, number: u32, noted: u64) -> bool {
        while self.hear(noted) {}
        self.open.remove(&number)
    }

    /// What is wanted and has not come: all of it, or what `before` a number should have come by now.
    pub(crate) fn absent(&mut self, before: Option<u32>, noted: u64) -> BTreeSet<u32> {
        while self.hear(noted) {}
        let later = before.map(|number| self.open.split_off(&number));
        std::mem::replace(&mut self.open, later.unwrap_or_default())
    }

    /// A file is still expected.
    pub(crate) fn expect(&mut self, number: u32) {
        self.open.insert(number);
    }

    /// Hears one word. False if the generator has nothing to add before it gets another note.
    fn hear(&mut self, noted: u64) -> bool {
        if self.idle_after == Some(noted) {
            return false;
        }
        match self.said.recv() {
            Ok(Want::File(number)) => {
                self.open.insert(number);
                true
            }
            Ok(Want::Idle(taken)) => {
                self.idle_after = Some(taken);
                taken < noted
            }
            Err(_) => false,
        }
    }
}

/// The file as a link. What is said to it is lost.
fn link(file: &File, options: &Options) -> Result<Link, Error> {
    let reader = file.try_clone().map_err(Error::Socket)?;
    let nowhere = File::options().write(true).open("/dev/null");
    let writer = nowhere.map_err(Error::Socket)?;
    Link::over_pipes(
        OwnedFd::from(reader),
        OwnedFd::from(writer),
        options.cancel.clone(),
    )
}

/// What was agreed when the batch was written. Its algorithms are those of a session that negotiates none.
fn session(head: &BatchHead, options: &Options) -> Result<Session, Error> {
    let default = Checksum::default_for(head.protocol);
    let compress = options.compress.as_ref();
    Ok(Session {
        protocol: head.protocol,
        flags: head.flags,
        checksum: options.checksum_choice.transfer.unwrap_or(default),
        file_checksum: options.checksum_choice.file.unwrap_or(default),
        compression: compress.map_or(Compression::None, |compress| {
            compress.choice.unwrap_or(Compression::DEFAULT)
        }),
        level: None,
        negotiated: (false, false),
        threads: 1,
        seed: head.seed,
        charset: Charset::of(options, Role::ReceivingSide)?,
        converts_targets: head.flags.contains(wire::CompatFlags::SYMLINK_ICONV),
    })
}

/// Makes the options those that the batch was written with, and tells of each that is changed.
fn match_options(
    options: &mut Options,
    head: &BatchHead,
    report: &Reporter<'_>,
) -> Result<(), Error> {
    let known = BatchOptions::known_to(head.protocol);
    if known.contains(BatchOptions::ICONV)
        && head.options.contains(BatchOptions::ICONV) != options.iconv.is_some()
    {
        let verb = match options.iconv {
            Some(_) => "Do not",
            None => "Please",
        };
        let text = format!("{verb} specify the --iconv option to use this batch file.");
        return Err(Error::fatal(1, Role::Receiver, text, None));
    }
    let given = options.of_batch();
    for &(option, name) in OPTIONS {
        let is_asked = head.options.contains(option);
        if !known.contains(option) || given.contains(option) == is_asked {
            continue;
        }
        set(options, option, is_asked);
        if options.report.changes {
            let verb = if is_asked { "Setting" } else { "Clearing" };
            let text = format!("{verb} the {name} option to match the batchfile.");
            report.say(Class::Info, Role::Receiver, text);
        }
    }
    Ok(())
}

/// By the order in which rsync tells of them.
const OPTIONS: &[(BatchOptions, &str)] = &[
    (BatchOptions::RECURSIVE, "--recurse (-r)"),
    (BatchOptions::OWNER, "--owner (-o)"),
    (BatchOptions::GROUP, "--group (-g)"),
    (BatchOptions::LINKS, "--links (-l)"),
    (BatchOptions::DEVICES, "--devices (-D)"),
    (BatchOptions::HARD_LINKS, "--hard-links (-H)"),
    (BatchOptions::CHECKSUM, "--checksum (-c)"),
    (BatchOptions::DIRS, "--dirs (-d)"),
    (BatchOptions::COMPRESS, "--compress (-z)"),
    (BatchOptions::ACLS, "--acls (-A)"),
    (BatchOptions::XATTRS, "--xattrs (-X)"),
    (BatchOptions::INPLACE, "--inplace"),
    (BatchOptions::APPEND, "--append"),
    (BatchOptions::APPEND_VERIFY, "--append-verify"),
];

fn set(options: &mut Options, option: BatchOptions, to: bool) {
    match option {
        BatchOptions::RECURSIVE => options.recursive = to,
        BatchOptions::OWNER => options.owner = to,
        BatchOptions::GROUP => options.group = to,
        BatchOptions::LINKS => options.links = to,
        BatchOptions::DEVICES => options.devices = to,
        BatchOptions::HARD_LINKS => options.hard_links = to,
        BatchOptions::CHECKSUM => options.checksum = to,
        BatchOptions::DIRS => options.dirs = to,
        BatchOptions::COMPRESS => {
            options.compress = to.then_some(Compress {
                choice: None,
                level: None,
                skip: None,
                threads: 0,
            });
        }
        BatchOptions::ACLS => options.acls = to,
        BatchOptions::XATTRS => options.xattrs = u8::from(to),
        BatchOptions::INPLACE => options.inplace = to,
        BatchOptions::APPEND => options.append = to.then_some(Append::Blindly),
        BatchOptions::APPEND_VERIFY if to => options.append = Some(Append::Verified),
        BatchOptions::APPEND_VERIFY if options.append.is_some() => {
            options.append = Some(Append::Blindly);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_is_idle_is_not_waited_for_again() {
        let (say, said) = crossbeam_channel::unbounded();
        let mut wants = Wants::new(said);
        for want in [Want::File(3), Want::Idle(1), Want::File(7), Want::Idle(2)] {
            say.send(want).expect("somebody listens");
        }
        assert!(wants.take(3, 2));
        assert!(!wants.take(4, 2) && !wants.take(5, 2));
        assert!(wants.take(7, 2));
        wants.expect(9);
        wants.expect(11);
        assert_eq!(wants.absent(Some(10), 2), BTreeSet::from([9]));
        assert_eq!(wants.absent(None, 2), BTreeSet::from([11]));
        say.send(Want::File(5)).expect("somebody listens");
        drop(say);
        assert!(wants.take(5, 3) && !wants.take(6, 3));
    }
}
