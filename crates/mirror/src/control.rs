//! The control socket: commands to a running mirror, one JSON object a line, answered by one each.
//!
//! ```text
//! -> {"command":"approve","replica":"backup.example"}
//! <- {"ok":true}
//! -> {"command":"status"}
//! <- {"ok":true,"status":{"name":...,"replicas":[...]}}
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::mirror::Handle;
use crate::status::MirrorStatus;

/// The longest request, in bytes.
const REQUEST_MAX: u64 = 64 << 10;

/// How many may be connected at a time.
const CLIENTS_MAX: usize = 32;

/// How long [`Request::Flush`] waits unless it says.
const FLUSH_SECONDS: f64 = 60.0;

/// How long a mirror may take to answer when there is nothing to wait for.
const ANSWER: Duration = Duration::from_secs(10);

/// A command to a mirror. Where a replica may be named, the tree's name or nothing means all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Says how everything is.
    Status {},
    /// Releases the brake of a replica. It must be named.
    Approve {
        /// Its name, or the tree's.
        replica: String,
    },
    /// Brings nothing over until it is resumed.
    Pause {
        /// Which.
        #[serde(default)]
        replica: Option<String>,
    },
    /// Ends a pause.
    Resume {
        /// Which.
        #[serde(default)]
        replica: Option<String>,
    },
    /// Compares the whole tree with what the replica is known to hold.
    Rescan {
        /// Which.
        #[serde(default)]
        replica: Option<String>,
    },
    /// Compares the replica itself, and mends it.
    Verify {
        /// Which.
        #[serde(default)]
        replica: Option<String>,
    },
    /// Waits until everything seen so far has been brought over.
    Flush {
        /// Which.
        #[serde(default)]
        replica: Option<String>,
        /// How long at most, in seconds.
        #[serde(default)]
        timeout: Option<f64>,
    },
}

impl Request {
    /// How long an answer may take.
    fn patience(&self) -> Duration {
        let work = match self {
            Self::Flush { timeout, .. } => timeout.unwrap_or(FLUSH_SECONDS),
            _ => 0.0,
        };
        // More than anybody waits, and less than what a socket takes.
        let work = Duration::try_from_secs_f64(work).unwrap_or_default();
        ANSWER + work.min(Duration::from_secs(365 * 24 * 3600))
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize)]
pub struct Response {
    /// Whether it was done.
    pub ok: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<MirrorStatus>,
}

impl Response {
    fn of(result: Result<Option<MirrorStatus>, String>) -> Self {
        match result {
            Ok(status) => Self {
                ok: true,
                error: None,
                status,
            },
            Err(error) => Self {
                ok: false,
                error: Some(error),
                status: None,
            },
        }
    }
}

/// Where the control socket of the mirror with this state file is.
#[must_use]
pub fn socket_path(state: &Path) -> PathBuf {
    let mut path = state.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// Sends one request, as a JSON value, to the mirror that listens at `socket`, and brings its answer.
///
/// # Errors
/// Nobody listens there ([`io::ErrorKind::NotFound`], [`io::ErrorKind::ConnectionRefused`]), the mirror does not obey this user
/// ([`io::ErrorKind::PermissionDenied`]), it does not answer in time ([`io::ErrorKind::TimedOut`]), or the answer is none.
pub fn ask(socket: &Path, request: &Request) -> io::Result<serde_json::Value> {
    let mut stream = connect(socket)?;
    let patience = request.patience();
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut answer = String::new();
    // A mirror that does not like the caller hangs up before or after the request.
    let asked = stream.write_all(&line);
    let answered = asked.and_then(|()| BufReader::new(stream).read_line(&mut answer));
    match answered {
        // What the kernel says when a time limit is over.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", patience.as_secs()),
        )),
        Err(error) if !is_hang_up(&error) => Err(error),
        _ if answer.is_empty() => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it hangs up: it obeys root and its own user only",
        )),
        _ => Ok(serde_json::from_str(&answer)?),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// A listening control socket. Dropping it ends it and removes its file.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    listener: Option<JoinHandle<()>>,
    stop: transfer::Cancel,
}

impl ControlSocket {
    /// Listens at `path`, which the caller's state lock makes ours: what a killed mirror left there goes.
    pub(crate) fn listen(path: PathBuf, handle: Handle) -> Result<Self, Error> {
        let failed = |cause: io::Error| Error::Control {
            path: path.clone(),
            cause,
        };
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(cause) => return Err(failed(cause.into())),
        }
        let listener = bind(&path).map_err(failed)?;
        let stop = transfer::Cancel::default();
        let stopped = stop.clone();
        let listener = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&listener, &handle, &stopped))
            .map_err(Error::Thread)?;
        Ok(Self {
            path,
            listener: Some(listener),
            stop,
        })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stop.cancel();
        // Wakes the thread that accepts. If nobody is there any more, it has ended.
        let is_awake = connect(&self.path).is_ok();
        let _ = rustix::fs::unlink(&self.path);
        if let Some(listener) = self.listener.take().filter(|_| is_awake) {
            // A panic in there has been printed, and concerns nobody else.
            let _ = listener.join();
        }
    }
}

fn serve(listener: &UnixListener, handle: &Handle, stop: &transfer::Cancel) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.is_cancelled() {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: the next client may have more luck.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if !is_permitted(&stream) || clients.load(Ordering::Relaxed) >= CLIENTS_MAX {
            continue;
        }
        let (handle, clients) = (handle.clone(), Arc::clone(&clients));
        clients.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::Builder::new().name("control client".to_owned());
        let counted = Arc::clone(&clients);
        let spawned = thread.spawn(move || {
            // Whoever hangs up in the middle has no more to say.
            let _ = converse(&stream, &handle);
            clients.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            counted.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Only root and the mirror's own user may give orders, whatever the directory's permissions are.
fn is_permitted(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

fn converse(stream: &UnixStream, handle: &Handle) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        reader
            .by_ref()
            .take(REQUEST_MAX)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let response = match serde_json::from_slice(&line) {
            Ok(request) => Response::of(obey(handle, request)),
            Err(error) => Response::of(Err(format!("not a request: {error}"))),
        };
        let mut answer = serde_json::to_vec(&response)?;
        answer.push(b'\n');
        (&mut &*stream).write_all(&answer)?;
    }
}

fn obey(handle: &Handle, request: Request) -> Result<Option<MirrorStatus>, String> {
    match request {
        Request::Status {} => return Ok(Some(handle.status())),
        Request::Approve { replica } => handle.approve(&replica)?,
        Request::Pause { replica } => handle.pause(replica.as_deref())?,
        Request::Resume { replica } => handle.resume(replica.as_deref())?,
        Request::Rescan { replica } => handle.rescan(replica.as_deref())?,
        Request::Verify { replica } => handle.verify(replica.as_deref())?,
        Request::Flush { replica, timeout } => {
            let timeout = Duration::try_from_secs_f64(timeout.unwrap_or(FLUSH_SECONDS))
                .map_err(|error| error.to_string())?;
            handle.flush(replica.as_deref(), timeout)?;
        }
    }
    Ok(None)
}

/// Binds a socket that nobody else may connect to.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(near(path)?.path())?;
    rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    Ok(listener)
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(near(path)?.path())
}

/// A path that leads to the same socket and is short enough for a socket's address (108 bytes).
struct Near {
    path: PathBuf,
    /// Keeps the way to the directory open.
    _directory: Option<std::os::fd::OwnedFd>,
}

impl Near {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn near(path: &Path) -> io::Result<Near> {
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsRawFd;

    const LONGEST: usize = 100;
    if path.as_os_str().len() <= LONGEST {
        return Ok(Near {
            path: path.to_owned(),
            _directory: None,
        });
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let directory = rustix::fs::open(
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    Ok(Near {
        path: short.join(path.file_name().unwrap_or_default()),
        _directory: Some(directory),
    })
}
