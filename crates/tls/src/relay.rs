//! Bytes from a TLS connection to a plain socket, and back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::Connection;
use thiserror::Error;

/// A TLS connection over `net`, whose content travels over `plain`.
#[derive(Debug)]
pub struct Relay {
    tls: Connection,
    net: TcpStream,
    plain: UnixStream,
    /// What has come and was not handed on yet.
    heard: Vec<u8>,
    /// The other end of `net` says no more.
    net_ended: bool,
    /// The other end of `plain` says no more.
    plain_ended: bool,
    /// The other end of `plain` has been told so, or is gone.
    is_told: bool,
}

/// Why a relay has ended before its time.
#[derive(Debug, Error)]
pub enum Failed {
    /// The other end breaks the rules of TLS, or is not believed.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// It was gone before both knew each other.
    #[error("the other end has gone during the handshake")]
    Gone,
    /// There was no answer within the time for that.
    #[error("no answer during the handshake")]
    Silent,
    /// It does not take what it was to hear last.
    #[error("the other end does not take what is left")]
    Stuck,
    /// The connection is broken.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// What one side may be ahead of the other, in bytes.
const AHEAD: usize = 64 << 10;
/// How long the other end may refuse to take what is left when all has been said.
const STUCK: Duration = Duration::from_secs(10);
/// How long the other end has to read our last words: closing over unread input would take them back.
const PARTING: Duration = Duration::from_secs(2);

impl Relay {
    /// Joins a connection that has not begun to its two sockets.
    ///
    /// # Errors
    /// The system's.
    pub fn new(mut tls: Connection, net: TcpStream, plain: UnixStream) -> io::Result<Self> {
        net.set_nonblocking(true)?;
        plain.set_nonblocking(true)?;
        // Not every socket is TCP's; on those this fails and nothing is lost.
        let _ = net.set_nodelay(true);
        // What is read of `plain` is bounded here.
        tls.set_buffer_limit(None);
        Ok(Self {
            tls,
            net,
            plain,
            heard: Vec::new(),
            net_ended: false,
            plain_ended: false,
            is_told: false,
        })
    }

    /// Lets both ends get to know each other, within `patience`.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn shake_hands(&mut self, patience: Option<Duration>) -> Result<(), Failed> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        while self.tls.is_handshaking() || self.tls.wants_write() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Failed::Silent);
            }
            let mut flags = PollFlags::IN;
            if self.tls.wants_write() {
                flags |= PollFlags::OUT;
            }
            let mut polled = [PollFd::new(&self.net, flags)];
            wait(&mut polled, left)?;
            self.speak()?;
            self.hear()?;
        }
        Ok(())
    }

    /// Carries bytes until the other end of the plain socket has said all, and the other end of the connection has heard it.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn run(mut self) -> Result<(), Failed> {
        while !self.plain_ended || self.tls.wants_write() {
            let Some((net, plain)) = self.wait()? else {
                return Err(Failed::Stuck);
            };
            if net {
                self.hear()?;
            }
            if plain {
                self.take()?;
            }
            self.speak()?;
            self.hand_on()?;
        }
        self.part();
        Ok(())
    }

    /// Waits until something can be done. Returns whether the connection and the plain socket have something to say; `None` if
    /// nobody takes what is left.
    fn wait(&self) -> io::Result<Option<(bool, bool)>> {
        let is_writing = self.tls.wants_write();
        let when = |flags: PollFlags, is_wanted: bool| match is_wanted {
            true => flags,
            false => PollFlags::empty(),
        };
        let hears = !self.net_ended && self.heard.is_empty();
        let takes = !self.plain_ended && !is_writing && !self.tls.is_handshaking();
        let of_net = when(PollFlags::IN, hears) | when(PollFlags::OUT, is_writing);
        let of_plain = when(PollFlags::IN, takes) | when(PollFlags::OUT, !self.heard.is_empty());
        let mut polled = Vec::with_capacity(2);
        // An end that is gone is always ready to say so: it is asked only when that can be heeded.
        if !self.plain_ended || !self.heard.is_empty() {
            polled.push(PollFd::new(&self.plain, of_plain));
        }
        let net_at = polled.len();
        if !of_net.is_empty() {
            polled.push(PollFd::new(&self.net, of_net));
        }
        if !wait(&mut polled, self.plain_ended.then_some(STUCK))? {
            return Ok(None);
        }
        let ended = PollFlags::HUP | PollFlags::ERR;
        let of = |at: usize| polled.get(at).map_or(PollFlags::empty(), PollFd::revents);
        let net = hears && of(net_at).intersects(PollFlags::IN | ended);
        let plain = net_at > 0 && !self.plain_ended;
        let plain = plain && of(0).intersects(PollFlags::IN | ended);
        Ok(Some((net, plain)))
    }

    /// Reads and decrypts what has come.
    fn hear(&mut self) -> Result<(), Failed> {
        while !self.net_ended && self.heard.len() < AHEAD {
            match self.tls.read_tls(&mut self.net) {
                Ok(0) => self.net_ended = true,
                Ok(_) => {}
                Err(cause) if is_passing(&cause) => break,
                Err(cause) => return Err(cause.into()),
            }
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // Why, for the other end, if it still listens.
                    let _ = self.speak();
                    return Err(error.into());
                }
            };
            let start = self.heard.len();
            self.heard
                .resize(start + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut self.heard[start..])?;
            self.net_ended |= state.peer_has_closed();
        }
        if self.net_ended && self.tls.is_handshaking() {
            return Err(Failed::Gone);
        }
        Ok(())
    }

    /// Takes what is to be said.
    fn take(&mut self) -> io::Result<()> {
        let mut words = [0; AHEAD];
        match self.plain.read(&mut words) {
            Ok(0) => self.end(),
            Ok(count) => self.tls.writer().write_all(&words[..count])?,
            Err(cause) if is_passing(&cause) => {}
            // Gone with what it has not read: nothing more will come.
            Err(cause) if is_gone(&cause) => self.end(),
            Err(cause) => return Err(cause),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.plain_ended = true;
        self.tls.send_close_notify();
    }

    /// Writes what is encrypted, as much as goes now.
    fn speak(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.net) {
                Ok(_) => {}
                Err(cause) if is_passing(&cause) => break,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// Hands on what is decrypted, as much as goes now, and in the end that it was all.
    fn hand_on(&mut self) -> io::Result<()> {
        while !self.heard.is_empty() && !self.is_told {
            match self.plain.write(&self.heard) {
                Ok(count) => drop(self.heard.drain(..count)),
                Err(cause) if is_passing(&cause) => return Ok(()),
                Err(cause) if is_gone(&cause) => self.is_told = true,
                Err(cause) => return Err(cause),
            }
        }
        // Nobody is there to hear it any more.
        self.heard.clear();
        if self.net_ended && !self.is_told {
            self.is_told = true;
            // Whoever has gone already knows.
            let _ = self.plain.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Lets the other end read what was said last.
    fn part(mut self) {
        let deadline = Instant::now() + PARTING;
        if self.net.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut unread = [0; 4096];
        while !self.net_ended {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::new(&self.net, PollFlags::IN)];
            if left.is_zero() || wait(&mut polled, Some(left)).is_err() {
                return;
            }
            match self.net.read(&mut unread) {
                Ok(0) => return,
                Ok(_) => {}
                Err(cause) if is_passing(&cause) => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether something has happened within `patience`; a signal is something.
fn wait(polled: &mut [PollFd<'_>], patience: Option<Duration>) -> io::Result<bool> {
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(polled, patience.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

fn is_passing(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn is_gone(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::{Client, Server};

    /// A server for `localhost` and a client that believes it.
    fn ends() -> (Server, Client) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let certificate = own.cert.pem();
        let key = own.signing_key.serialize_pem();
        let server = Server::new(certificate.as_bytes(), key.as_bytes()).expect("a server");
        (
            server,
            Client::new(certificate.as_bytes()).expect("a client"),
        )
    }

    fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        let near = TcpStream::connect(address).expect("it listens");
        (near, listener.accept().expect("it has come").0)
    }

    /// A relay in a thread, and the plain end of it.
    fn relay(
        tls: Connection,
        net: TcpStream,
    ) -> (UnixStream, thread::JoinHandle<Result<(), Failed>>) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let relay = Relay::new(tls, net, theirs).expect("a relay");
        (ours, thread::spawn(|| relay.run()))
    }

    #[test]
    fn much_is_carried_both_ways_at_once() {
        let (server, client) = ends();
        let (near, far) = sockets();
        let (mut server, serving) = relay(server.connection().expect("fresh"), far);
        let tls = client.connection("localhost").expect("a name");
        let (mut client, asking) = relay(tls, near);
        let words: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut saying = client.try_clone().expect("a copy");
        let said = words.clone();
        let teller = thread::spawn(move || {
            saying.write_all(&said).expect("said");
            saying.shutdown(Shutdown::Write)
        });
        let echo = thread::spawn(move || {
            let mut heard = Vec::new();
            // What comes is sent back while more comes.
            let mut part = vec![0; 100_000];
            loop {
                match server.read(&mut part).expect("heard") {
                    0 => return heard,
                    count => {
                        heard.extend_from_slice(&part[..count]);
                        // The client stops listening when it has said all.
                        let _ = server.write_all(&part[..count.min(10)]);
                    }
                }
            }
        });
        let mut back = [0; 10];
        client.read_exact(&mut back).expect("an echo");
        assert_eq!(back, words[..10]);
        drop(client);
        teller.join().expect("no panic").expect("shut");
        assert!(echo.join().expect("no panic") == words);
        asking.join().expect("no panic").expect("a good end");
        // The server may have spoken to nobody.
        let _ = serving.join().expect("no panic");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let (server, _) = ends();
        let (_, client) = ends();
        let (near, far) = sockets();
        let (_server, serving) = relay(server.connection().expect("fresh"), far);
        let tls = client.connection("localhost").expect("a name");
        let (_plain, theirs) = UnixStream::pair().expect("a pair");
        let mut asking = Relay::new(tls, near, theirs).expect("a relay");
        let failed = asking.shake_hands(None).expect_err("another certificate");
        assert!(
            matches!(failed, Failed::Tls(rustls::Error::InvalidCertificate(_))),
            "{failed}"
        );
        // The reason has been told.
        let failed = serving.join().expect("no panic").expect_err("turned down");
        assert!(
            matches!(failed, Failed::Tls(rustls::Error::AlertReceived(_))),
            "{failed}"
        );
    }

    #[test]
    fn another_host_is_not_believed() {
        let (server, client) = ends();
        let (near, far) = sockets();
        let (_server, _) = relay(server.connection().expect("fresh"), far);
        let (_plain, theirs) = UnixStream::pair().expect("a pair");
        let tls = client.connection("127.0.0.1").expect("an address");
        let mut asking = Relay::new(tls, near, theirs).expect("a relay");
        let failed = asking.shake_hands(None).expect_err("another name");
        assert!(
            failed.to_string().contains("not valid for name"),
            "{failed}"
        );
    }

    #[test]
    fn an_end_without_a_word_is_an_end() {
        let (server, _) = ends();
        let (near, far) = sockets();
        let (mut plain, serving) = relay(server.connection().expect("fresh"), far);
        drop(near);
        let failed = serving.join().expect("no panic").expect_err("gone");
        assert!(
            matches!(failed, Failed::Gone | Failed::Broken(_)),
            "{failed}"
        );
        assert_eq!(plain.read(&mut [0]).expect("an end"), 0);
    }

    #[test]
    fn whoever_says_nothing_is_left() {
        let (server, _) = ends();
        let (_near, far) = sockets();
        let (_plain, theirs) = UnixStream::pair().expect("a pair");
        let tls = server.connection().expect("fresh");
        let mut relay = Relay::new(tls, far, theirs).expect("a relay");
        let failed = relay.shake_hands(Some(Duration::from_millis(10)));
        assert!(matches!(failed, Err(Failed::Silent)));
    }

    #[test]
    fn files_that_hold_no_certificate() {
        assert!(Server::new(b"", b"").is_err());
        assert!(
            Client::new(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").is_err()
        );
    }
}
