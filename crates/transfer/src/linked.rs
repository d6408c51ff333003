//! A local copy whose content has to be seen or paced on its way: an ordinary session, whose two ends are threads of this
//! process.
//!
//! The kernel copies whole files without us (`copier`). What it cannot do - send differences, append, leave holes, keep
//! to a rate, tell checksums and bytes - the sender and the receiver of a session do anyway.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use wire::Protocol;

use crate::Error;
use crate::charset::Charset;
use crate::event::{Event, Events, Outcome, Role};
use crate::link::Link;
use crate::options::Options;
use crate::outgoing::Outgoing;
use crate::receiving::Receiving;
use crate::report::Reporter;
use crate::requested::Requested;
use crate::sending::Sending;
use crate::session::{Session, exchange_versions};
use crate::stream::Stream;
use crate::threads::start_thread;

/// Whether a local copy with these options needs a session.
pub(crate) fn is_needed(options: &Options) -> bool {
    options.whole_file == Some(false)
        || options.append.is_some()
        || options.sparse
        || options.bandwidth.is_some()
        || options.iconv.is_some()
        // The length of a device is not where it ends.
        || options.copy_devices
        || options.write_devices
        || options.report.after_transfer
        || options.batch.is_some()
        // Old protocols sort and decide differently.
        || options.newest != Protocol::LATEST
}

/// Copies `sources` to `destination`.
pub(crate) fn copy(
    mut options: Options,
    sources: &[OsString],
    destination: &Path,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    let protocol = options.newest;
    options.settle_defaults(protocol);
    // Both ends have the rules without a list; an old protocol restricts them as if there were one.
    options.check_rules(protocol)?;
    options.check_requests(protocol, Role::Sender)?;
    // What is appended to is a basis, if only by its length.
    let needs_basis = options.append.is_some() || options.batch.is_some();
    options.whole_file.get_or_insert(!needs_basis);
    options.spare_destination();
    let rules = Arc::new(std::mem::take(&mut options.rules));
    let (ours, theirs) = Link::pair(&options.cancel)?;
    let (options, receiving_rules) = (&options, Arc::clone(&rules));
    let (sent, received) = std::thread::scope(|scope| {
        let receiving = start_thread(scope, Role::Sender, || {
            receive(theirs, options, receiving_rules, destination, events)
        })?;
        let sent = send(ours, options, rules, sources, destination, events);
        Ok::<_, Error>((sent, receiving.join().unwrap_or(Err(Error::Cancelled))))
    })?;
    match (sent, received) {
        (Ok(sent), Ok(received)) => Ok(Outcome {
            stats: sent.stats,
            io_errors: sent.io_errors | received.io_errors,
            is_partial: sent.is_partial || received.is_partial,
            deletions_skipped: received.deletions_skipped,
            peer_exit: None,
        }),
        (Err(error), _) if !is_end_of_link(&error) => Err(error),
        (_, Err(error)) if protocol.has_error_exit() || is_cancelled(&error) => Err(error),
        // The receiving end cannot say why it leaves: ours sees that it has gone, no more.
        (_, Err(error)) => {
            events.event(Event::Gone(&error));
            Err(Error::Closed {
                received: 0,
                words: Vec::new(),
            })
        }
        (Err(error), Ok(_)) => Err(error),
    }
}

/// An end that finds the other one gone has nothing of its own to say.
fn is_end_of_link(error: &Error) -> bool {
    matches!(
        error,
        Error::Closed { .. } | Error::Socket(_) | Error::Read { .. }
    )
}

fn is_cancelled(error: &Error) -> bool {
    matches!(error, Error::Cancelled)
}

fn send(
    link: Link,
    options: &Options,
    rules: Arc<filter::Rules>,
    sources: &[OsString],
    destination: &Path,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    let mut stream = Stream::new(link, options.timeout);
    let protocol = exchange_versions(&mut stream, options.newest, 0, Role::Sender)?;
    let info = options.client_info(true);
    let session = Session::of_client(&mut stream, protocol, &info, options, true)?;
    let report = Reporter::new(events);
    let sending = Sending {
        session: &session,
        options,
        rules,
        report: &report,
        is_client: true,
        own: Some(destination),
    };
    sending.run(&mut stream, sources)
}

fn receive(
    link: Link,
    options: &Options,
    rules: Arc<filter::Rules>,
    destination: &Path,
    events: &dyn Events,
) -> Result<Outcome, Error> {
    let mut stream = Stream::new(link, options.timeout);
    let info = options.client_info(true);
    let protocol = exchange_versions(&mut stream, options.newest, info.sub(), Role::ReceivingSide)?;
    let mut session = Session::of_server(&mut stream, protocol, &info, options, false)?;
    if let Some(remote) = options.iconv.as_ref().and_then(|both| both.remote.as_ref()) {
        session.charset = Some(Charset::named(remote, Role::ReceivingSide)?);
    }
    // The sender has the names of `--files-from` itself.
    if !stream.multiplexes() {
        stream.start_multiplexing()?;
    }
    let (hearing, speaking) = stream.split()?;
    let outgoing = Outgoing::new(speaking, session.protocol);
    // The list is the sender's to tell about.
    let tell = |event: Event<'_>| match event {
        Event::ListStarted { .. } | Event::ListProgress { .. } | Event::ListFinished { .. } => {}
        event => events.event(event),
    };
    let report = Reporter::new(&tell);
    let receiving = Receiving {
        session: &session,
        options,
        rules,
        report: &report,
        destination: Some(destination),
        requested: Requested::default(),
        is_client: false,
        is_local: true,
    };
    let outcome = receiving.run(hearing, &outgoing)?;
    outgoing.flush()?;
    Ok(outcome)
}
