//! The server's end of a session: what `rsync --server` does for a client on standard input and output.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use transfer::{Class, Error, Event, Events, Link, Options, Server, Speaker};
use wire::{ArgumentReader, ClientInfo, Cursor, Severity};

use crate::exit::Exit;
use crate::given::{Given, Stderr as Messages};
use crate::output::{Now, notice_line};
use crate::run::{Lines, Run};
use crate::stop::Stop;
use crate::{engine, parse, wildcards};

impl Run<'_> {
    /// Serves the client: as the receiver if there is a destination, otherwise as the sender.
    pub(crate) fn serve(
        &self,
        options: Options,
        sources: &[Vec<u8>],
        destination: Option<&[u8]>,
    ) -> Exit {
        let start = Instant::now();
        self.heed_interrupts();
        let tells_client = self.meant.said.stderr == Some(Messages::Client);
        let server = match self.agree(&options) {
            Ok(server) if tells_client => server,
            Ok(server) => server.with_stderr(),
            Err(error) => {
                return self.close(Mutex::new(self.printer()), Err(error), start, None);
            }
        };
        let voice = Voice {
            run: self,
            lines: Mutex::new(self.server_printer(server.speaker())),
            speaker: server.speaker(),
            tells_client,
            end: OnceLock::new(),
        };
        let result = self.assume_user().and_then(|()| match destination {
            Some(path) => server.receive(options, &engine::path(path), &voice),
            None => {
                let sources: Vec<OsString> =
                    sources.iter().cloned().map(OsString::from_vec).collect();
                server.send(options, &sources, &voice)
            }
        });
        match result {
            // The client has been told.
            Err(error) if voice.tells_client => Exit::of(error.exit_code()),
            result => match voice.end.into_inner() {
                Some(exit) => {
                    let lines = voice.lines.into_inner();
                    let mut lines = lines.unwrap_or_else(PoisonError::into_inner);
                    lines.last_line(None, Now::read());
                    exit
                }
                None => self.close(voice.lines, result, start, None),
            },
        }
    }

    fn agree(&self, options: &Options) -> Result<Server, Error> {
        let input =
            rustix::io::dup(rustix::stdio::stdin()).map_err(|errno| Error::Socket(errno.into()))?;
        let output = rustix::io::dup(rustix::stdio::stdout())
            .map_err(|errno| Error::Socket(errno.into()))?;
        let link = Link::over_pipes(input, output, self.cancel.clone())?;
        let info = ClientInfo::parse(self.meant.said.rsh.as_deref().unwrap_or_default());
        Server::over_shell(link, options, &info, !self.we_receive())
    }

    fn server_printer(&self, speaker: Speaker) -> Lines {
        self.printer_to(Box::new(Said::new(speaker)))
    }
}

/// The rest of a server's arguments, where the client sends them before the session (wire-session.md 2.5).
///
/// # Errors
/// Options that are none, and wildcards that match too much.
pub(crate) fn secluded(given: Given) -> Result<Given, Stop> {
    if !given.server || given.secluded_args != Some(true) {
        return Ok(given);
    }
    let mut reader = ArgumentReader::shell_secluded();
    // Not through a buffer: what follows the block belongs to the session.
    let input = rustix::io::dup(rustix::stdio::stdin());
    let mut stdin = File::from(input.map_err(|errno| Stop::option(errno.to_string()))?);
    let mut byte = [0];
    loop {
        match stdin.read(&mut byte) {
            Ok(1) => {}
            _ => return Err(Stop::option("the client's arguments have no end")),
        }
        match reader.read(&mut Cursor::new(&byte)) {
            Ok(Some(words)) => return expanded(parse::more(given, &words)?),
            Ok(None) => {}
            Err(error) => return Err(Stop::option(error.to_string())),
        }
    }
}

/// No shell has expanded the words after `.`. There is only one destination: the first match.
fn expanded(given: Given) -> Result<Given, Stop> {
    let Some((dot, words)) = given.operands.split_first().filter(|(dot, _)| *dot == b".") else {
        return Ok(given);
    };
    let most = if given.sender { usize::MAX } else { 1 };
    let mut operands = vec![dot.clone()];
    for word in words {
        operands.extend(wildcards::expand(word)?.into_iter().take(most));
    }
    Ok(Given { operands, ..given })
}

/// What the engine reports, as far as the client does not see it by itself.
struct Voice<'a> {
    run: &'a Run<'a>,
    lines: Mutex<Lines>,
    speaker: Speaker,
    /// Errors too go to the client, not to our own standard error.
    tells_client: bool,
    /// The run has ended, and our standard error says why.
    end: OnceLock<Exit>,
}

impl Events for Voice<'_> {
    fn event(&self, event: Event<'_>) {
        match &event {
            Event::Message(notice) if self.tells_client => {
                let line = [&notice_line(notice)[..], b"\n"].concat();
                return self.speaker.say(severity(notice.class), &line);
            }
            Event::Failed(error) if self.tells_client => {
                for line in self.run.last_words(error) {
                    self.speaker.say(Severity::Error, (line + "\n").as_bytes());
                }
                return;
            }
            _ => {}
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Itemized(item) => lines.log_item(item, Now::read()),
            // Before the client hears of it, which ends its remote shell, and with that all we could still say.
            Event::Failed(error) => {
                self.end
                    .get_or_init(|| self.run.close_early(&mut lines, error, None));
            }
            event => lines.event(event, Now::read()),
        }
    }
}

pub(crate) fn severity(class: Class) -> Severity {
    match class {
        Class::Info => Severity::Info,
        Class::Warning => Severity::Warning,
        Class::Error => Severity::Error,
        Class::Transfer => Severity::ErrorXfer,
    }
}

/// Standard output of a server: its lines are messages in the protocol.
pub(crate) struct Said {
    speaker: Speaker,
    line: Vec<u8>,
}

impl Said {
    pub(crate) fn new(speaker: Speaker) -> Self {
        let line = Vec::new();
        Self { speaker, line }
    }
}

impl Write for Said {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // A line comes in one piece, and a name in it may have line ends of its own.
        self.line.extend_from_slice(text);
        if self.line.ends_with(b"\n") {
            self.speaker.say(Severity::Info, &self.line);
            self.line.clear();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
