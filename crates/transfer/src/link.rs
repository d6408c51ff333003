//! Bytes over a real connection: one descriptor or two, without blocking for ever and without deadlock.
//!
//! The peer of a sender writes requests while it waits for data. A sender that blocks in `write` while the
//! peer blocks in `write` waits for ever, so a [`Link`] keeps reading while it cannot write
//! (wire-session.md 4.3). Both directions give up at a deadline and when the transfer is cancelled.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Error;

/// How much of the peer's input is held while we cannot write to it. A peer that sends more than this
/// without reading is not waiting for us.
const HELD_INPUT: usize = 4 << 20;

/// What one read asks for.
const READ_SIZE: usize = 256 << 10;

/// How long a wait may last before the cancellation is looked at.
pub(crate) const CANCEL_LATENCY: Duration = Duration::from_millis(200);

/// What a [`one_way`] holds, in bytes, if the system allows it; the kernel doubles it for its own bookkeeping.
const ONE_WAY_BUFFER: usize = 256 << 10;

/// A way from one process to another for the standard streams of a child: the end to read from, and the end to write
/// to. It is a pair of sockets, as rsync's is, for these hold and move larger pieces than a pipe, so that both ends work at once.
///
/// # Errors
/// The system's.
pub fn one_way() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = UnixStream::pair()?;
    // What the system's limit does not allow, it cuts.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&writer, ONE_WAY_BUFFER);
    Ok((reader.into(), writer.into()))
}

/// A request to stop, shared by everything that takes part in a transfer.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks for the stop. It cannot be taken back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the stop has been asked for.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long the other end of a pipe may take to hear that we leave.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// A connection to a peer. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    reader: OwnedFd,
    /// The descriptor to write to, where it is not the one to read from.
    writer: Option<OwnedFd>,
    /// What the other half of a split pair of pipes reads from.
    ears: Option<OwnedFd>,
    is_tcp: bool,
    /// Another [`Link`] reads: while this one cannot write, it waits for nothing else.
    only_writes: bool,
    cancel: Cancel,
    /// Ends the waits of both halves of a link that was split.
    stop: Cancel,
    received: u64,
    sent: u64,
    last_sent: Arc<Mutex<Instant>>,
}

impl Link {
    /// A link over a connected TCP stream.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn over_tcp(stream: TcpStream, cancel: Cancel) -> Result<Self, Error> {
        // Without this Nagle's algorithm and the peer's delayed acknowledgement stall each small exchange by 44 ms.
        stream.set_nodelay(true).map_err(Error::Socket)?;
        stream.set_nonblocking(true).map_err(Error::Socket)?;
        Ok(Self::new(stream.into(), None, true, cancel))
    }

    /// A link over a connected socket of any kind.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn over_socket(socket: OwnedFd, cancel: Cancel) -> Result<Self, Error> {
        // Not every socket is TCP's; on those this fails and nothing is lost.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        rustix::io::ioctl_fionbio(&socket, true).map_err(|cause| Error::Socket(cause.into()))?;
        Ok(Self::new(socket, None, true, cancel))
    }

    /// A link over two descriptors, such as the pipes of a remote shell.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn over_pipes(reader: OwnedFd, writer: OwnedFd, cancel: Cancel) -> Result<Self, Error> {
        for descriptor in [&reader, &writer] {
            rustix::io::ioctl_fionbio(descriptor, true)
                .map_err(|cause| Error::Socket(cause.into()))?;
        }
        Ok(Self::new(reader, Some(writer), false, cancel))
    }

    /// The descriptor of a link over a socket, for whoever goes on with it. Nothing has been read ahead.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.reader
    }

    /// Two links that lead to each other.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(crate) fn pair(cancel: &Cancel) -> Result<(Self, Self), Error> {
        let (ours, theirs) = UnixStream::pair().map_err(Error::Socket)?;
        let link = |stream: UnixStream| -> Result<Self, Error> {
            stream.set_nonblocking(true).map_err(Error::Socket)?;
            Ok(Self::new(stream.into(), None, false, cancel.clone()))
        };
        Ok((link(ours)?, link(theirs)?))
    }

    fn new(reader: OwnedFd, writer: Option<OwnedFd>, is_tcp: bool, cancel: Cancel) -> Self {
        Self {
            reader,
            writer,
            ears: None,
            is_tcp,
            only_writes: false,
            cancel,
            stop: Cancel::default(),
            received: 0,
            sent: 0,
            last_sent: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// The two directions apart, for two threads: the first link is for reading, the second one for writing.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub(crate) fn split(self) -> Result<(Self, Self), Error> {
        let reader = self.reader.try_clone().map_err(Error::Socket)?;
        let (writer, ears) = match &self.writer {
            Some(writer) => (writer.try_clone().map_err(Error::Socket)?, Some(reader)),
            None => (reader, None),
        };
        let writing = Self {
            reader: writer,
            writer: None,
            ears,
            is_tcp: self.is_tcp,
            only_writes: true,
            cancel: self.cancel.clone(),
            stop: self.stop.clone(),
            received: 0,
            sent: self.sent,
            last_sent: Arc::clone(&self.last_sent),
        };
        Ok((
            Self {
                writer: None,
                ..self
            },
            writing,
        ))
    }

    /// Whether what the peer says is read here.
    pub(crate) fn reads(&self) -> bool {
        !self.only_writes
    }

    /// Ends whatever either half is waiting for.
    pub(crate) fn stop(&self) -> Cancel {
        self.stop.clone()
    }

    /// When something was written the last time, by either half.
    pub(crate) fn last_sent(&self) -> Instant {
        *self
            .last_sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what the peer has not read is lost when it closes.
    pub(crate) fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Bytes read so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes written so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Counts anew, as if only so much had been read.
    pub(crate) fn count_from(&mut self, received: u64) {
        (self.received, self.sent) = (received, 0);
    }

    /// The cancellation this link obeys.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Waits for input and appends what has come to `input`. Returns how much, 0 at the end of the stream.
    ///
    /// # Errors
    /// [`Error::Stalled`] at the deadline, [`Error::Cancelled`], [`Error::Read`].
    pub fn fill(&mut self, input: &mut Vec<u8>, deadline: Option<Instant>) -> Result<usize, Error> {
        loop {
            if let Some(count) = self.read_available(input)? {
                return Ok(count);
            }
            self.wait(true, false, deadline)?;
        }
    }

    /// The next byte, and nothing behind it; `None` at the end of the stream.
    pub(crate) fn byte(&mut self, deadline: Option<Instant>) -> Result<Option<u8>, Error> {
        let mut byte = [0];
        loop {
            match rustix::io::read(&self.reader, &mut byte) {
                Ok(count) => {
                    self.received += count as u64;
                    return Ok((count > 0).then_some(byte[0]));
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => {
                    self.wait(true, false, deadline)?;
                }
                Err(cause) => return Err(unread(cause)),
            }
        }
    }

    /// Appends what has come to `input`, without waiting for more. False if there was nothing, or the end.
    pub(crate) fn fill_available(&mut self, input: &mut Vec<u8>) -> Result<bool, Error> {
        Ok(self.read_available(input)?.is_some_and(|count| count > 0))
    }

    /// Reads on and forgets what comes, until the peer closes, has said its `last` word or so long has passed. (A file's
    /// data may hold that word, too: then this ends too early, which costs the peer at most our reasons.) A socket that is closed over unread
    /// input would take back what the peer has not read yet; over a pipe the peer keeps what we wrote, but fails if it
    /// still writes: it gets a moment.
    ///
    /// # Errors
    /// [`Error::Read`] if the connection breaks.
    pub(crate) fn drain(&mut self, last: &[u8], patience: Duration) -> Result<(), Error> {
        let patience = if self.is_tcp {
            patience
        } else {
            patience.min(LAST_MOMENT)
        };
        if let Some(ears) = self.ears.take() {
            self.writer = Some(std::mem::replace(&mut self.reader, ears));
        }
        let deadline = Instant::now() + patience;
        // A half that was told to stop waiting still has to wait here.
        self.stop = Cancel::default();
        self.only_writes = false;
        let mut tail = Vec::new();
        // One that never stops talking is not heard out.
        while Instant::now() < deadline {
            match self.fill(&mut tail, Some(deadline)) {
                Ok(1..) if !tail.windows(last.len()).any(|window| window == last) => {
                    tail.drain(..tail.len().saturating_sub(last.len()));
                }
                Err(error @ Error::Read { .. }) => return Err(error),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Writes all of `output`; what the peer says meanwhile is appended to `input`. The wait for the peer to
    /// take more begins anew whenever it has taken something.
    ///
    /// # Errors
    /// [`Error::Stalled`] after `patience` without progress, [`Error::Cancelled`], [`Error::Socket`]. After the
    /// last one the peer's final words may still be readable.
    pub fn send(
        &mut self,
        mut output: &[u8],
        input: &mut Vec<u8>,
        patience: Option<Duration>,
    ) -> Result<(), Error> {
        let mut deadline = patience.map(|patience| Instant::now() + patience);
        while !output.is_empty() {
            match rustix::io::write(self.writer.as_ref().unwrap_or(&self.reader), output) {
                Ok(count) => {
                    output = &output[count..];
                    self.sent += count as u64;
                    *self
                        .last_sent
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    deadline = patience.map(|patience| Instant::now() + patience);
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => {
                    // What we take no more of must not wake us either.
                    let listens = !self.only_writes && input.len() < HELD_INPUT;
                    let readable = self.wait(listens, true, deadline)?;
                    if readable && listens && self.read_available(input)? == Some(0) {
                        return Err(Error::Socket(io::ErrorKind::BrokenPipe.into()));
                    }
                }
                Err(cause) => return Err(Error::Socket(cause.into())),
            }
        }
        Ok(())
    }

    /// Reads what is there; `None` if nothing is.
    fn read_available(&mut self, input: &mut Vec<u8>) -> Result<Option<usize>, Error> {
        input.reserve(READ_SIZE);
        let answer = loop {
            match rustix::io::read(&self.reader, spare_capacity(input)) {
                Err(Errno::INTR) => {}
                answer => break answer,
            }
        };
        match answer {
            Ok(count) => {
                if self.is_tcp {
                    // The kernel forgets this after a while; a peer that writes in small pieces waits for each
                    // acknowledgement. Failing to set it costs time only.
                    let _ = rustix::net::sockopt::set_tcp_quickack(&self.reader, true);
                }
                self.received += count as u64;
                Ok(Some(count))
            }
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(cause) => Err(unread(cause)),
        }
    }

    /// Waits until the link is readable, or writable, as asked. Returns whether it is readable.
    fn wait(&self, reading: bool, writing: bool, deadline: Option<Instant>) -> Result<bool, Error> {
        let wanted = |on: bool, flag: PollFlags| if on { flag } else { PollFlags::empty() };
        let (input, output) = (
            wanted(reading, PollFlags::IN),
            wanted(writing, PollFlags::OUT),
        );
        loop {
            if self.cancel.is_cancelled() || self.stop.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Stalled(None));
            }
            let pause = left.map_or(CANCEL_LATENCY, |left| left.min(CANCEL_LATENCY));
            let pause = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(pause.subsec_nanos().max(1)),
            };
            let (readable, writable) = match &self.writer {
                None => {
                    let mut polled = [PollFd::from_borrowed_fd(
                        self.reader.as_fd(),
                        input | output,
                    )];
                    poll_once(&mut polled, &pause)?;
                    let seen = polled[0].revents();
                    (
                        seen.intersects(!PollFlags::OUT),
                        seen.intersects(!PollFlags::IN),
                    )
                }
                Some(writer) => {
                    let mut polled = [
                        PollFd::from_borrowed_fd(self.reader.as_fd(), input),
                        PollFd::from_borrowed_fd(writer.as_fd(), output),
                    ];
                    // A descriptor that is not asked about still tells of its end, so it is left out.
                    let polled = match (reading, writing) {
                        (true, true) => &mut polled[..],
                        (true, false) => &mut polled[..1],
                        _ => &mut polled[1..],
                    };
                    poll_once(polled, &pause)?;
                    let is_ready =
                        |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
                    match reading {
                        true => (is_ready(polled.first()), is_ready(polled.get(1))),
                        false => (false, is_ready(polled.first())),
                    }
                }
            };
            if reading && readable || writing && writable {
                return Ok(readable);
            }
        }
    }
}

fn unread(cause: Errno) -> Error {
    Error::Read {
        cause: cause.into(),
        words: Vec::new(),
    }
}

fn poll_once(polled: &mut [PollFd<'_>], pause: &Timespec) -> Result<(), Error> {
    match poll(polled, Some(pause)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(cause) => Err(Error::Socket(cause.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// A peer that talks without listening gets us to wait, not to look again and again.
    #[test]
    fn who_cannot_write_does_not_spin() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let talker = std::thread::spawn(move || while theirs.write_all(&[0; 64 << 10]).is_ok() {});
        let mut link = Link::over_socket(ours.into(), Cancel::default()).unwrap();
        let used = || clock_gettime(ClockId::ThreadCPUTime);
        let mut input = Vec::new();
        let start = used();
        let patience = Duration::from_secs(1);
        let sent = link.send(&vec![0; 4 << 20], &mut input, Some(patience));
        let end = used();
        assert!(matches!(sent, Err(Error::Stalled(_))), "{sent:?}");
        assert!(input.len() >= HELD_INPUT);
        let spent = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1_000_000;
        assert!(spent < 500, "{spent} ms of a second that was spent waiting");
        drop(link);
        talker.join().unwrap();
    }
}
