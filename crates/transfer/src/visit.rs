//! At a daemon's door: greetings, the module that is asked for, its message of the day, the password (wire-session.md 7).

use std::time::{Duration, Instant};

use wire::{
    AuthReply, DaemonLine, Digest, EARLY_INPUT_MAX, Greeting, ModuleRequest, Protocol,
    REPLY_LINE_MAX,
};

use crate::connection::Connection;
use crate::heard::one_line;
use crate::link::{Cancel, Link};
use crate::stream::Stream;
use crate::{DaemonAddress, Error};

/// Terms on which we talk to a peer.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How long the peer may neither send nor take anything of substance.
    pub patience: Option<Duration>,
    /// The newest protocol to speak.
    pub newest: Protocol,
    /// A request to stop.
    pub cancel: Cancel,
}

/// What is wanted of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The module; an empty name asks for the list of modules.
    pub module: Vec<u8>,
    /// For the module's `early exec`, at most [`EARLY_INPUT_MAX`] bytes; nothing is sent if it is empty.
    pub early_input: Vec<u8>,
}

/// The user's part in a visit.
pub trait Visitor {
    /// The daemon says something: a line of its message of the day or of the list of modules.
    fn hear(&self, line: &[u8]);

    /// The password of the user, for which the daemon asks; `None` if there is none.
    fn password(&self) -> Option<Vec<u8>>;
}

/// A daemon that has greeted us and knows what we want.
#[derive(Debug)]
pub struct Visit {
    stream: Stream,
    module: Vec<u8>,
    agreed: Protocol,
    /// The digests that the daemon lists for authentication.
    digests: Option<Vec<u8>>,
}

impl Visit {
    /// Exchanges greetings, and says in the same breath what is wanted: the daemon reads it after its own greeting.
    ///
    /// # Errors
    /// [`Error::Greeting`], [`Error::Usage`] for a request that cannot be sent, and those of a broken connection.
    pub fn begin(link: Link, terms: &Terms, request: &Request) -> Result<Self, Error> {
        let mut stream = Stream::new(link, terms.patience);
        stream
            .out()
            .extend_from_slice(&Greeting::own(terms.newest).to_line());
        ask(request, stream.out())?;
        let line = match stream.read(|cursor| cursor.line(REPLY_LINE_MAX)) {
            // Whether our own greeting still found a reader is a matter of chance.
            Err(Error::Closed { .. } | Error::Socket(_) | Error::Read { .. }) => {
                return Err(Error::Greeting(
                    "rsync: did not see server greeting".to_owned(),
                ));
            }
            line => line?,
        };
        let greeting = Greeting::parse(&line)
            .map_err(|error| Error::Greeting(one_line(error.to_string().as_bytes())))?;
        let agreed = terms
            .newest
            .agree(greeting.version)
            .map_err(|error| Error::Greeting(error.to_string()))?;
        Ok(Self {
            stream,
            module: request.module.clone(),
            agreed,
            digests: greeting.digests,
        })
    }

    /// The protocol both ends speak.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.agreed
    }

    /// Enters the module as `user`. The next thing the daemon expects is the session's arguments.
    ///
    /// # Errors
    /// [`Error::Refused`] with the daemon's own words, [`Error::PasswordNeeded`], and those of a broken connection.
    pub fn enter(mut self, user: &[u8], visitor: &dyn Visitor) -> Result<Connection, Error> {
        match self.listen(user, visitor)? {
            Answer::Open => Ok(Connection {
                stream: self.stream,
                protocol: self.agreed,
                location: self.module,
                is_told: false,
                compares_nanoseconds: self.digests.is_some() && self.agreed.has_nanoseconds(),
                opened: Instant::now(),
            }),
            Answer::Farewell => Err(Error::Refused("the daemon ended the session".to_owned())),
        }
    }

    /// Hears the list of modules.
    ///
    /// # Errors
    /// As [`Visit::enter`].
    pub fn list(mut self, visitor: &dyn Visitor) -> Result<(), Error> {
        match self.listen(b"", visitor)? {
            Answer::Farewell => Ok(()),
            Answer::Open => Err(Error::Forbidden(
                "the daemon opened a module that nobody asked for".to_owned(),
            )),
        }
    }

    fn listen(&mut self, user: &[u8], visitor: &dyn Visitor) -> Result<Answer, Error> {
        // A list of modules has an end; a daemon that talks for ever has none.
        for _ in 0..LINES_MAX {
            let line = match self.stream.read(|cursor| cursor.line(REPLY_LINE_MAX)) {
                Err(Error::Closed { .. }) => {
                    return Err(Error::Greeting(
                        "rsync: didn't get server startup line".to_owned(),
                    ));
                }
                line => line?,
            };
            match DaemonLine::parse(&line) {
                DaemonLine::Ok => return Ok(Answer::Open),
                DaemonLine::Exit => return Ok(Answer::Farewell),
                DaemonLine::Error(text) => return Err(Error::Refused(one_line(text))),
                DaemonLine::Text(text) => visitor.hear(text),
                DaemonLine::AuthRequired(challenge) => self.answer(challenge, user, visitor)?,
            }
        }
        Err(Error::Greeting(
            "the daemon's message of the day has no end".to_owned(),
        ))
    }

    fn answer(
        &mut self,
        challenge: &[u8],
        user: &[u8],
        visitor: &dyn Visitor,
    ) -> Result<(), Error> {
        let digests = self.digests.as_deref();
        let digest = Digest::choose(digests, self.agreed).ok_or_else(|| {
            let list = one_line(digests.unwrap_or_default());
            Error::NoCommon(Digest::nothing_in_common(list.as_bytes()).to_string())
        })?;
        let password = visitor.password().ok_or_else(|| Error::PasswordNeeded {
            module: String::from_utf8_lossy(&self.module).into_owned(),
        })?;
        let reply = AuthReply {
            user: user.to_vec(),
            response: digest.response(&password, challenge).into_bytes(),
        };
        reply
            .encode(self.stream.out())
            .map_err(|error| Error::Usage(error.to_string()))?;
        self.stream.flush()
    }
}

/// How a daemon ends its talk.
enum Answer {
    Open,
    Farewell,
}

const LINES_MAX: usize = 100_000;

fn ask(request: &Request, out: &mut Vec<u8>) -> Result<(), Error> {
    let unsendable = |error: wire::Unsendable| Error::Usage(error.to_string());
    let early = &request.early_input;
    if early.len() > EARLY_INPUT_MAX {
        return Err(Error::Usage(format!(
            "the early input is > {EARLY_INPUT_MAX} bytes."
        )));
    }
    if !early.is_empty() {
        ModuleRequest::EarlyInput(early.len())
            .encode(out)
            .map_err(unsendable)?;
        out.extend_from_slice(early);
    }
    let module = match &request.module[..] {
        b"" => ModuleRequest::List,
        name => ModuleRequest::Module(name.to_vec()),
    };
    module.encode(out).map_err(unsendable)
}

/// How the mirror visits a daemon: it knows its password beforehand, and wants to hear nothing.
pub(crate) struct Quietly<'a>(pub(crate) Option<&'a [u8]>);

impl Visitor for Quietly<'_> {
    fn hear(&self, _: &[u8]) {}

    fn password(&self) -> Option<Vec<u8>> {
        self.0.map(<[u8]>::to_vec)
    }
}

impl Request {
    /// The module of an address.
    pub(crate) fn of(address: &DaemonAddress) -> Self {
        Self {
            module: address.module.as_bytes().to_vec(),
            early_input: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{BufReader, Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    use super::*;

    #[derive(Default)]
    struct Ears(RefCell<Vec<String>>);

    impl Visitor for Ears {
        fn hear(&self, line: &[u8]) {
            let line = String::from_utf8_lossy(line).into_owned();
            self.0.borrow_mut().push(line);
        }

        fn password(&self) -> Option<Vec<u8>> {
            Some(b"sekrit".to_vec())
        }
    }

    /// A daemon that says `words` at once and hears what comes until the client leaves.
    fn daemon(words: &'static str) -> (Link, JoinHandle<String>) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let heard = thread::spawn(move || {
            (&theirs).write_all(words.as_bytes()).expect("written");
            theirs.shutdown(std::net::Shutdown::Write).expect("half");
            let mut heard = String::new();
            // A client that leaves over a fault resets the connection; what came before counts.
            let _ = BufReader::new(&theirs).read_to_string(&mut heard);
            heard
        });
        let reader = OwnedFd::from(ours.try_clone().expect("a second descriptor"));
        let link = Link::over_pipes(reader, ours.into(), Cancel::default()).expect("a link");
        (link, heard)
    }

    fn terms() -> Terms {
        Terms {
            patience: Some(Duration::from_secs(60)),
            newest: Protocol::LATEST,
            cancel: Cancel::default(),
        }
    }

    fn request(module: &str, early_input: &str) -> Request {
        Request {
            module: module.into(),
            early_input: early_input.into(),
        }
    }

    #[test]
    fn a_list_of_modules() {
        let (link, heard) =
            daemon("@RSYNCD: 31.0 md5\nWelcome\n\nm              \tcomment\n@RSYNCD: EXIT\n");
        let ears = Ears::default();
        let visit = Visit::begin(link, &terms(), &request("", "")).expect("a greeting");
        visit.list(&ears).expect("a list");
        assert_eq!(
            *ears.0.borrow(),
            ["Welcome", "", "m              \tcomment"]
        );
        let heard = heard.join().expect("the daemon");
        assert!(heard.ends_with(" md4\n\n"), "{heard:?}");
    }

    #[test]
    fn early_input_goes_before_the_module() {
        let (link, heard) = daemon("@RSYNCD: 31.0 md5\n@RSYNCD: AUTHREQD abc\n@RSYNCD: OK\n");
        let visit = Visit::begin(link, &terms(), &request("m", "a\nb")).expect("a greeting");
        let connection = visit.enter(b"alice", &Ears::default()).expect("a module");
        assert_eq!(connection.protocol().number(), 31);
        drop(connection);
        let heard = heard.join().expect("the daemon");
        let mut lines = heard.lines().skip(1);
        assert_eq!(lines.next(), Some("#early_input=3"));
        assert_eq!(lines.by_ref().take(2).collect::<Vec<_>>(), ["a", "bm"]);
        assert_eq!(lines.next(), Some("alice x52LbTPZqd6dyfVyXjb4pg"));
    }

    #[test]
    fn what_a_daemon_says_instead_of_yes_is_told() {
        for (words, told) in [
            ("", "rsync: did not see server greeting"),
            ("HTTP\n", "rsync: server sent \"HTTP\" rather than greeting"),
            ("@RSYNCD: 31.0\n", "rsync: didn't get server startup line"),
            (
                "@RSYNCD: 31.0\n@ERROR: Unknown module 'm'\n",
                "@ERROR: Unknown module 'm'",
            ),
        ] {
            let (link, heard) = daemon(words);
            let error = Visit::begin(link, &terms(), &request("m", ""))
                .and_then(|visit| visit.enter(b"", &Ears::default()))
                .expect_err(words);
            assert_eq!((error.to_string(), error.exit_code()), (told.to_owned(), 5));
            heard.join().expect("the daemon");
        }
    }

    #[test]
    fn a_daemon_without_a_digest_that_we_know_is_left_before_anybody_is_asked() {
        struct Nobody;
        impl Visitor for Nobody {
            fn hear(&self, _: &[u8]) {}

            fn password(&self) -> Option<Vec<u8>> {
                panic!("a password is of no use")
            }
        }
        let (link, heard) = daemon("@RSYNCD: 32.0 crc\x1b foo\n@RSYNCD: AUTHREQD abc\n");
        let visit = Visit::begin(link, &terms(), &request("m", "")).expect("a greeting");
        let error = visit.enter(b"u", &Nobody).expect_err("no digest");
        let told = "Failed to negotiate a daemon auth checksum choice.\nServer list: crc  foo\nClient list: sha512 sha256 sha1 md5 md4";
        assert_eq!((error.to_string().as_str(), error.exit_code()), (told, 4));
        heard.join().expect("the daemon");
    }

    #[test]
    fn what_would_be_two_lines_is_not_sent() {
        let (link, heard) = daemon("");
        let error = Visit::begin(link, &terms(), &request("m\n#list", "")).expect_err("two lines");
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
        assert_eq!(heard.join().expect("the daemon"), "");
    }
}
