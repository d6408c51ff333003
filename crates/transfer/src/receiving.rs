//! The receiving side of a session: generator and receiver on two threads, from the first list to the goodbye
//! (wire-session.md 8).

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use wire::{Ndx, NdxReader, TokenDecoder};

use crate::asked::Asked;
use crate::attributes::LongValues;
use crate::destination::{Arriving, Destination};
use crate::event::{Class, Event, Outcome, Role, Stats};
use crate::finish::Finisher;
use crate::flist::receiving::ListReader;
use crate::flist::{Entry, List};
use crate::generator::{Fate, Generator};
use crate::ids::IdMap;
use crate::incoming::Incoming;
use crate::options::{DeleteWhen, Options, Recording};
use crate::outgoing::Outgoing;
use crate::receiver::{Note, Receiver};
use crate::recording::Record;
use crate::replay::Wants;
use crate::report::Reporter;
use crate::requested::Requested;
use crate::requester::{Arrived, Requester};
use crate::session::Session;
use crate::site::Site;
use crate::stream::Stream;
use crate::threads::start_thread;
use crate::{Cancel, Error};

/// What the receiving side of a session works with.
pub(crate) struct Receiving<'a> {
    pub(crate) session: &'a Session,
    pub(crate) options: &'a Options,
    pub(crate) rules: Arc<filter::Rules>,
    pub(crate) report: &'a Reporter<'a>,
    /// None if only a listing was asked for.
    pub(crate) destination: Option<&'a Path>,
    pub(crate) requested: Requested,
    pub(crate) is_client: bool,
    /// The sender is this same process: the options are its own, too.
    pub(crate) is_local: bool,
}

impl Receiving<'_> {
    /// Receives over both directions of a stream. The peer hears what ends it before its end.
    pub(crate) fn over(self, stream: Stream) -> Result<Outcome, Error> {
        let Self {
            session,
            options,
            report,
            is_client,
            ..
        } = self;
        let (mut hearing, speaking) = stream.split()?;
        if is_client {
            hearing.record(Record::begin(options, session, true)?)?;
        }
        let outgoing = Outgoing::new(speaking, session.protocol);
        let received = self.run(hearing, &outgoing);
        outgoing.with(|stream| {
            let ended = received.and_then(|outcome| {
                // What a server was still telling the client's user goes now.
                if !is_client {
                    stream.flush()?;
                }
                Ok(outcome)
            });
            ended.map_err(|error| session.part(stream, error, report))
        })
    }

    /// Receives lists from `hearing` and files after them; `outgoing` leads back to the sender.
    pub(crate) fn run(self, hearing: Stream, outgoing: &Outgoing) -> Result<Outcome, Error> {
        let Self {
            session,
            options,
            report,
            ..
        } = self;
        let (notes, heard) = crossbeam_channel::unbounded();
        let (wants, said) = match options.batch {
            Some(Recording::Read(_)) => {
                let (wants, said) = crossbeam_channel::unbounded();
                (Some(wants), Some(said))
            }
            _ => (None, None),
        };
        let asked = &Asked::default();
        let refusals = notes.clone();
        let stop = hearing.link().stop();
        let mut incoming = Incoming::new(hearing, session, report, options.ignore_errors)
            .on_refusal(move |number| {
                if asked.take(number) {
                    let _ = refusals.send(Note::Fate(number, Fate::Failed));
                }
            });
        let ids = IdMap::new(options, report)?;
        let mut lists = ListReader::new(session, options, report, ids, self.requested);
        // In a local copy that is asked of the sending half (behaviour.md 7.16).
        lists.munges &= !self.is_local;
        let first = first_list(&mut lists, &mut incoming, session.is_incremental(), report)?;
        if first.entries.is_empty() && self.is_client {
            return nothing_came(session, &mut incoming.stream, outgoing, report);
        }
        let mut reader = NdxReader::new(session.protocol);
        let opening = Opening::from_first(first, &mut incoming, &mut reader, &mut lists, session)?;
        let destination = match self.destination.filter(|_| !options.list_only) {
            Some(path) => Destination::resolve(path, opening.arriving(), options, report)?,
            None => Destination::none(),
        };
        let values = LongValues::none();
        let protocol = session.protocol;
        let site = Site::open(destination, options, &self.rules, values, protocol, report)?;
        let mut receiver = Receiver {
            incoming,
            session,
            options,
            report,
            destination: &site.destination,
            site: &site,
            finisher: Finisher::new(&site)?,
            asked,
            notes,
            noted: 0,
            wants: said.map(Wants::new),
            reader,
            lists,
            open: VecDeque::new(),
            all_listed: opening.all_listed,
            is_client: self.is_client,
            stats: Stats::default(),
            items: session.item_format(options),
            tokens: TokenDecoder::new(session.compression, session.protocol),
            phase: 0,
            redone: HashSet::new(),
            total_done: 0,
        };
        opening.give(&mut receiver, session);
        let requester = Requester::new(
            options,
            session,
            options.report.own_items.then_some(report),
            outgoing,
            asked,
            heard,
            wants,
        );
        let mut generator = Generator::new(&site, self.rules, requester);
        let generate = || generate(&mut generator, options, session, report, self.is_client);
        let stats = at_once(receiver, generate, outgoing, &stop)?;
        let sent = match self.is_client {
            true => stats.sent,
            false => outgoing.sent(),
        };
        let stats = Stats {
            deleted: generator.deleter.counts,
            sent,
            ..stats
        };
        Ok(report.outcome(stats, generator.deleter.skipped))
    }
}

/// Takes the first list, and tells those who listen.
fn first_list(
    lists: &mut ListReader<'_>,
    incoming: &mut Incoming<'_>,
    is_incremental: bool,
    report: &Reporter<'_>,
) -> Result<List, Error> {
    report.event(Event::ListStarted {
        incremental: is_incremental,
        sending: false,
    });
    let first = lists.first(incoming)?;
    report.io_error(first.io_errors);
    report.event(Event::ListFinished {
        entries: lists.entries,
    });
    Ok(first)
}

/// What the sender lists by itself. After a first list of one entry it goes on at once, so that we know whether that is all.
struct Opening {
    first: List,
    /// The directory that the first list is the content of.
    root: Option<Entry>,
    second: Option<(List, Entry)>,
    all_listed: bool,
}

impl Opening {
    fn from_first(
        first: List,
        incoming: &mut Incoming<'_>,
        reader: &mut NdxReader,
        lists: &mut ListReader<'_>,
        session: &Session,
    ) -> Result<Self, Error> {
        let (second, all_listed) = match session.is_incremental() && first.entries.len() <= 1 {
            true => second_list(incoming, reader, lists)?,
            false => (None, !session.is_incremental()),
        };
        Ok(Self {
            root: lists.dir_of(&first).cloned(),
            first,
            second,
            all_listed,
        })
    }

    fn arriving(&self) -> Arriving {
        let second = self.second.as_ref();
        Arriving {
            entries: self.first.entries.len() + second.map_or(0, |(list, _)| list.entries.len()),
            first_is_dir: self.first.entries.first().is_some_and(Entry::is_dir),
        }
    }

    fn give(self, receiver: &mut Receiver<'_>, session: &Session) {
        receiver.add_list(self.first, self.root);
        if let Some((list, dir)) = self.second {
            receiver.add_list(list, Some(dir));
        }
        if session.is_incremental() && self.all_listed {
            receiver.tell(Note::AllListed);
        }
    }
}

/// Runs the receiver beside the generator, and shows the sender that we live. If the generator fails, `stop` ends the receiver.
fn at_once(
    receiver: Receiver<'_>,
    generate: impl FnOnce() -> Result<(), Error>,
    outgoing: &Outgoing,
    stop: &Cancel,
) -> Result<Stats, Error> {
    std::thread::scope(|scope| {
        let (working, end) = crossbeam_channel::bounded::<()>(0);
        let keep_alive = move || outgoing.keep_alive(&end);
        start_thread(scope, Role::ReceivingSide, keep_alive)?;
        let receiver = start_thread(scope, Role::ReceivingSide, move || receiver.run())?;
        let generated = generate();
        if generated.is_err() {
            stop.cancel();
        }
        let stats = receiver.join().unwrap_or_default();
        drop(working);
        generated.map(|()| stats)
    })
}

/// A server that has nothing to send leaves at once (8.5). It is told what we make of that all the same, and whether it
/// still hears it shows.
fn nothing_came(
    session: &Session,
    hearing: &mut Stream,
    outgoing: &Outgoing,
    report: &Reporter<'_>,
) -> Result<Outcome, Error> {
    let outcome = report.outcome(Stats::default(), 0);
    let code = outcome.exit_code();
    // Over a socket the farewell reads to the end.
    if code == 0 || !hearing.link().is_tcp() {
        let _ = hearing.read_to_end();
    }
    let stats = Stats {
        sent: outgoing.sent(),
        received: hearing.link().received(),
        ..Stats::default()
    };
    if code > 0 {
        let error = Error::fatal(code, Role::ReceivingSide, "", None);
        outgoing.with(|stream| {
            if let Some(cause) = stream.say_farewell(session.protocol, &error) {
                report.event(Event::Unheard(&cause));
            }
            Ok(())
        })?;
    }
    Ok(Outcome { stats, ..outcome })
}

fn second_list(
    incoming: &mut Incoming<'_>,
    reader: &mut NdxReader,
    lists: &mut ListReader<'_>,
) -> Result<(Option<(List, Entry)>, bool), Error> {
    match incoming.read(|cursor| reader.read(cursor))? {
        Ndx::FlistEof => Ok((None, true)),
        Ndx::Dir(number) => Ok((Some(lists.content_of(incoming, number)?), false)),
        other => Err(Error::fatal(
            2,
            Role::ReceivingSide,
            format!("unexpected {other:?}"),
            None,
        )),
    }
}

/// The generator's part, to the goodbye.
fn generate(
    generator: &mut Generator<'_, Requester<'_>>,
    options: &Options,
    session: &Session,
    report: &Reporter<'_>,
    is_client: bool,
) -> Result<(), Error> {
    let protocol = session.protocol;
    let is_late = matches!(options.delete, Some(DeleteWhen::After | DeleteWhen::Delay));
    process_lists(generator, options, session, report)?;
    generator.peer.done()?;
    while !generator.peer.has_passed(1)? {
        // What did not verify is asked for once more.
        match generator.is_busy() {
            true => generator.settle(true)?,
            false => generator.peer.wait()?,
        }
    }
    generator.settle(false)?;
    generator.peer.done()?;
    if protocol.last_phase() > 1 && !options.delay_updates {
        generator.peer.done()?;
    }
    if protocol.late_delete_round() && !is_late {
        tell_deletions(generator, options)?;
        if !options.delay_updates {
            generator.peer.done()?;
        }
    }
    generator.peer.await_phase(2)?;
    generator.settle(false)?;
    if protocol.last_phase() > 1 {
        if options.delay_updates {
            generator.peer.done()?;
            if protocol.late_delete_round() && !is_late {
                generator.peer.done()?;
            }
        }
        generator.peer.await_phase(3)?;
        generator.settle(false)?;
    }
    generator.delete_late()?;
    if protocol.late_delete_round() {
        if is_late {
            tell_deletions(generator, options)?;
            generator.peer.done()?;
        }
        generator.peer.await_phase(protocol.last_phase() + 2)?;
    }
    generator.peer.check_answers()?;
    generator.finish_directories();
    if generator.deleter.skipped > 0 && !is_client {
        let number = generator.deleter.skipped;
        let text = format!("Deletions stopped due to --max-delete limit ({number} skipped)");
        report.say(Class::Warning, Role::Generator, text);
    }
    generator.peer.done()?;
    generator.peer.flush()
}

/// Deals with lists as they come. Those that are finished are released, but for the last one.
fn process_lists(
    generator: &mut Generator<'_, Requester<'_>>,
    options: &Options,
    session: &Session,
    report: &Reporter<'_>,
) -> Result<(), Error> {
    let mut waiting: VecDeque<Arrived> = VecDeque::new();
    loop {
        let mut loaded: usize = waiting.iter().map(|(list, _)| list.entries.len()).sum();
        loop {
            let wants_more = waiting.is_empty()
                || options.hard_links && !generator.peer.is_replay() && loaded < LOOK_AHEAD;
            let arrived = generator.peer.lists(wants_more);
            for (list, dir) in arrived.inspect_err(|_| generator.make_announced())? {
                generator.expect(&list);
                if options.hard_links && loaded < LOOK_AHEAD {
                    report.io_error(list.io_errors);
                }
                loaded += list.entries.len();
                waiting.push_back((list, dir));
            }
            if !wants_more || generator.peer.has_all_lists() {
                break;
            }
        }
        let Some((list, dir)) = waiting.pop_front() else {
            break;
        };
        // What has come after it in the meantime says nothing of the directories before.
        report.io_error(list.io_errors);
        generator.list(&list, dir.as_ref())?;
        // Links to files are reported after what else was asked for meanwhile.
        if session.is_incremental() && (!options.hard_links || waiting.is_empty()) {
            generator.settle(false)?;
            release(generator)?;
        }
    }
    if let Some(error) = generator.peer.take_bad_list() {
        generator.peer.flush()?;
        generator.make_announced();
        return Err(error);
    }
    if session.is_incremental() {
        // The last list is finished when everything in it is, repetitions included.
        while generator.is_busy() {
            generator.settle(true)?;
            release(generator)?;
        }
    }
    Ok(())
}

fn release(generator: &mut Generator<'_, Requester<'_>>) -> Result<(), Error> {
    while generator.release() {
        generator.peer.done()?;
    }
    Ok(())
}

fn tell_deletions(
    generator: &mut Generator<'_, Requester<'_>>,
    options: &Options,
) -> Result<(), Error> {
    match options.delete.is_some() || options.force {
        true => {
            let counts = generator.deleter.counts;
            generator.peer.deletions(counts)
        }
        false => Ok(()),
    }
}

/// Entries to know before names of one file are looked at: one of them may be at the destination.
const LOOK_AHEAD: usize = 500;
