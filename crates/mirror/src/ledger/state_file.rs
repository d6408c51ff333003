//! The file that holds a mirror's ledgers: its layout, the claim on it, and what becomes of one that cannot be used.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::Ledger;
use crate::Error;

/// The layout this code reads and writes, kept in `PRAGMA user_version`.
const LAYOUT: i64 = 3;

/// What layout 2 has and layout 1 had not. Of what was under way then, the worst is assumed (see
/// [`Reach::Entry`](super::Reach)).
const SINCE_1: &str = "ALTER TABLE in_flight ADD COLUMN reach INTEGER NOT NULL DEFAULT 2;";

/// What layout 3 has and layout 2 had not. Which directories are mount points is learned with the next look at each.
const SINCE_2: &str = "ALTER TABLE entry ADD COLUMN mount INTEGER NOT NULL DEFAULT 0;";

/// Tables that came later than the rest: what broken sessions may still change, and what the status page shows of the
/// past, as JSON.
const LATER: &str = "
    CREATE TABLE IF NOT EXISTS aftermath (
        replica INTEGER NOT NULL,
        path BLOB NOT NULL,
        reach INTEGER NOT NULL,
        PRIMARY KEY (replica, path)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS history (
        replica INTEGER PRIMARY KEY,
        told TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS entry_by_mount ON entry (replica) WHERE mount;
";

const SCHEMA: &str = "
    CREATE TABLE replica (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        complete INTEGER NOT NULL DEFAULT 0
    );
    -- parent and name are bytes, without a leading slash; the root is parent '' and name ''.
    CREATE TABLE entry (
        replica INTEGER NOT NULL,
        parent BLOB NOT NULL,
        name BLOB NOT NULL,
        kind INTEGER NOT NULL,
        mode INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        gid INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        btime INTEGER,
        btime_ns INTEGER,
        dev INTEGER NOT NULL,
        ino INTEGER NOT NULL,
        nlink INTEGER NOT NULL,
        rdev INTEGER NOT NULL,
        doubtful INTEGER NOT NULL,
        whole INTEGER NOT NULL,
        mount INTEGER NOT NULL,
        PRIMARY KEY (replica, parent, name)
    ) WITHOUT ROWID;
    CREATE INDEX entry_by_inode ON entry (ino, dev, replica);
    CREATE TABLE in_flight (
        replica INTEGER NOT NULL,
        path BLOB NOT NULL,
        reach INTEGER NOT NULL,
        PRIMARY KEY (replica, path)
    ) WITHOUT ROWID;
";

/// The exclusive claim of one mirror process on its state file.
#[derive(Debug)]
pub(crate) struct StateLock(
    #[allow(dead_code, reason = "held for the lock that closing it releases")] OwnedFd,
);

/// A state file that is ours, and has not been looked into yet.
pub(crate) struct Claim {
    path: PathBuf,
    lock: std::sync::Arc<StateLock>,
}

/// A state file that was opened, checked and, where needed, rebuilt.
pub(crate) struct State {
    path: Option<PathBuf>,
    lock: Option<std::sync::Arc<StateLock>>,
    /// What had to be put aside to start with a usable file, for the operator to read.
    pub moved_aside: Option<PathBuf>,
}

impl Claim {
    /// Claims the state file at `path`, which need not exist.
    ///
    /// # Errors
    /// [`Error::State`] when there can be none, [`Error::StateInUse`] when another mirror has it.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            lock: std::sync::Arc::new(StateLock::take(path)?),
        })
    }

    /// The files that make up the state, so that a mirror of the tree they lie in can leave them out.
    #[must_use]
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let suffixes = ["", "-wal", "-shm", ".lock"].iter();
        suffixes
            .map(|suffix| with_suffix(&self.path, suffix))
            .collect()
    }

    /// Opens or creates the file. One that is damaged, or written by a newer driftless, is moved aside to
    /// `PATH.unusable-N` and a new one begun: that costs a full comparison, no data. It takes some tenths of a second for a
    /// million rows.
    ///
    /// # Errors
    /// [`Error::State`] when the file cannot be created or opened.
    pub(crate) fn open(self) -> Result<State, Error> {
        let Self { path, lock } = self;
        let mut moved_aside = None;
        if let Err(reason) = prepare(&path) {
            if !reason.is_content() {
                let cause = reason.to_string();
                return Err(Error::State { path, cause });
            }
            moved_aside = Some(move_aside(&path)?);
            prepare(&path).map_err(|cause| Error::State {
                path: path.clone(),
                cause: cause.to_string(),
            })?;
        }
        Ok(State {
            path: Some(path),
            lock: Some(lock),
            moved_aside,
        })
    }
}

impl State {
    /// A state that lives only as long as the process: each start compares everything.
    #[must_use]
    pub(crate) fn in_memory() -> Self {
        Self {
            path: None,
            lock: None,
            moved_aside: None,
        }
    }

    /// Claims and opens the state file at `path`.
    #[cfg(test)]
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Claim::of(path)?.open()
    }

    /// The ledger of the replica called `name`, begun empty if it is new.
    ///
    /// # Errors
    /// [`Error::State`] when SQLite fails.
    pub(crate) fn ledger(&self, name: &str) -> Result<Ledger, Error> {
        let connection = match &self.path {
            Some(path) => connect(path),
            None => Connection::open_in_memory().and_then(|c| {
                c.execute_batch(SCHEMA)
                    .and_then(|()| c.execute_batch(LATER))
                    .map(|()| c)
            }),
        };
        connection
            .and_then(|connection| {
                connection.execute("INSERT OR IGNORE INTO replica (name) VALUES (?1)", [name])?;
                let replica = connection.query_row(
                    "SELECT id FROM replica WHERE name = ?1",
                    [name],
                    |row| row.get(0),
                )?;
                Ok(Ledger {
                    connection,
                    replica,
                    _lock: self.lock.clone(),
                })
            })
            .map_err(|cause| Error::State {
                path: self
                    .path
                    .clone()
                    .unwrap_or_else(|| PathBuf::from(":memory:")),
                cause: cause.to_string(),
            })
    }
}

impl StateLock {
    fn take(path: &Path) -> Result<Self, Error> {
        use rustix::fs::{FlockOperation, Mode, OFlags};
        let lock_path = with_suffix(path, ".lock");
        let failed = |cause: rustix::io::Errno| Error::State {
            path: lock_path.clone(),
            cause: std::io::Error::from(cause).to_string(),
        };
        let file = rustix::fs::open(
            &lock_path,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::StateInUse(path.to_owned())),
            Err(cause) => Err(failed(cause)),
        }
    }
}

/// Why a state file could not be prepared.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("it was written by a newer version (layout {0})")]
    Newer(i64),
}

impl Unusable {
    /// Whether the file's content is at fault, so that a new file would do; otherwise the place is.
    fn is_content(&self) -> bool {
        match self {
            Self::Newer(_) => true,
            Self::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::CannotOpen
                        | rusqlite::ErrorCode::PermissionDenied
                        | rusqlite::ErrorCode::ReadOnly
                        | rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::DatabaseBusy
                        | rusqlite::ErrorCode::OutOfMemory
                )
            ),
        }
    }
}

fn prepare(path: &Path) -> Result<(), Unusable> {
    create_private(path);
    let connection = connect(path)?;
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match layout {
        0 => {
            connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} {LATER} PRAGMA user_version = {LAYOUT}; COMMIT;"
            ))?;
            Ok(())
        }
        1..=LAYOUT => {
            let verdict: String =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if verdict != "ok" {
                return Err(Unusable::Sqlite(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                    Some(verdict),
                )));
            }
            let changes = [(1, SINCE_1), (2, SINCE_2)];
            let due = changes.iter().filter(|(before, _)| layout <= *before);
            let changes: String = due.map(|(_, change)| *change).collect();
            Ok(connection.execute_batch(&format!(
                "BEGIN; {changes} {LATER} PRAGMA user_version = {LAYOUT}; COMMIT;"
            ))?)
        }
        newer => Err(Unusable::Newer(newer)),
    }
}

/// Makes the file, if it is missing, as one that nobody else may read: it holds the names of everything in the tree. SQLite
/// gives its other files the same permissions.
fn create_private(path: &Path) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    // Why it cannot be made is told when it is opened.
    let _ = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    // With WAL and synchronous=NORMAL a power failure may cost the last seconds of the ledger, which are then
    // compared again; the file itself stays sound.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the state file is the operator's, never a transferred path"
)]
fn move_aside(path: &Path) -> Result<PathBuf, Error> {
    let failed = |cause: std::io::Error| Error::State {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let aside = (1..)
        .map(|number| with_suffix(path, &format!(".unusable-{number}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| with_suffix(path, ".unusable"));
    std::fs::rename(path, &aside).map_err(failed)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, suffix)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(cause));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Reach;

    #[test]
    fn a_second_mirror_is_kept_away_from_the_state_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = State::open(&path).unwrap();
        let ledger = first.ledger("r").unwrap();
        drop(first);
        assert!(matches!(State::open(&path), Err(Error::StateInUse(_))));
        drop(ledger);
        assert!(State::open(&path).is_ok());
    }

    #[test]
    fn nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::of(&dir.path().join("state")).unwrap();
        let files = claim.files();
        let state = claim.open().unwrap();
        let _ledger = state.ledger("r").unwrap();
        let mode = |file: &PathBuf| rustix::fs::stat(file).unwrap().st_mode & 0o7777;
        let modes: Vec<_> = files.iter().map(mode).collect();
        assert_eq!(modes, [0o600; 4]);
    }

    #[test]
    fn the_file_of_an_earlier_layout_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        drop(State::open(&path).unwrap().ledger("r").unwrap());
        connect(&path)
            .unwrap()
            .execute_batch(
                "ALTER TABLE in_flight DROP COLUMN reach; DROP TABLE aftermath;
                 DROP INDEX entry_by_mount; ALTER TABLE entry DROP COLUMN mount;
                 INSERT INTO in_flight VALUES (1, x'61'); PRAGMA user_version = 1;",
            )
            .unwrap();
        let state = State::open(&path).unwrap();
        assert_eq!(state.moved_aside, None);
        let ledger = state.ledger("r").unwrap();
        let all = [(PathBuf::from("a"), Reach::Entry)];
        assert_eq!(ledger.in_flight().unwrap(), all);
        assert_eq!(ledger.aftermath().unwrap(), []);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn a_damaged_or_newer_file_is_moved_aside_and_an_unusable_place_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::write(
            &path,
            b"this is no database, whatever it is, and long enough to be looked at",
        )
        .unwrap();
        let state = State::open(&path).unwrap();
        let aside = state.moved_aside.clone().expect("it was moved");
        assert!(
            std::fs::read(aside)
                .unwrap()
                .starts_with(b"this is no database")
        );
        drop(state);
        connect(&path)
            .unwrap()
            .pragma_update(None, "user_version", LAYOUT + 1)
            .unwrap();
        assert!(State::open(&path).unwrap().moved_aside.is_some());
        assert!(matches!(
            State::open(&dir.path().join("no/such/state")),
            Err(Error::State { .. })
        ));
    }
}
