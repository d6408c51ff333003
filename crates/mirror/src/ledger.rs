//! What each replica is known to hold.
//!
//! One SQLite file per mirror (WAL). A row says: "this replica confirmed that it holds this version of
//! this path", where a version is the stat taken before the first byte was read. The ledger may lag
//! behind the truth but never ahead of it: rows are written only after the replica confirmed, and the
//! paths of a session are noted in `in_flight` before its first byte leaves, so that a crash costs
//! repeated work and never a missed change.

mod state_file;

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, Transaction, params};
use tree::{Kind, Meta, Time};

pub use self::state_file::{State, StateLock};

/// A query for what [`held_from_row`] reads, [`HELD`] columns, with more columns behind them.
macro_rules! select_held {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT kind, mode, uid, gid, size, mtime, mtime_ns, ctime, ctime_ns, btime, btime_ns, dev, ino, nlink, rdev, \
             doubtful, whole",
            $more,
            " FROM entry ",
            $rest
        )
    };
}

/// How many columns [`held_from_row`] reads.
const HELD: usize = 17;

/// One row: a version that a replica holds, and how sure that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The version the replica confirmed; its access time is not kept.
    pub version: Meta,
    /// The version's ctime was so young when it was read that a later change may carry the same one:
    /// the content is compared once more.
    pub doubtful: bool,
    /// For a directory: the names the replica has in it are those the ledger knows. Otherwise nobody
    /// knows what else is there, and the next look lists it completely.
    pub whole: bool,
}

/// How far a session reaches at a path of the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// A directory: it is made if it is missing, and its attributes are set.
    Directory,
    /// A directory that is listed whole: what is in it besides is removed.
    Listed,
    /// Anything else, or a name to be removed: whatever stands there goes, with everything below it.
    Entry,
}

/// The ledger of one replica: a connection of its own, so that replicas never wait for each other longer
/// than one transaction.
pub struct Ledger {
    connection: Connection,
    replica: i64,
    /// Holds the advisory lock that keeps a second mirror away from the same state file.
    _lock: Option<std::sync::Arc<StateLock>>,
}

impl Ledger {
    /// Whether the replica has held the whole tree at some time.
    ///
    /// # Errors
    /// SQLite's.
    pub fn is_complete(&self) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT complete FROM replica WHERE id = ?1",
            [self.replica],
            |row| row.get(0),
        )
    }

    /// Notes that the replica holds the whole tree.
    ///
    /// # Errors
    /// SQLite's.
    pub fn set_complete(&self) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "UPDATE replica SET complete = 1 WHERE id = ?1",
                [self.replica],
            )
            .map(drop)
    }

    /// What an earlier run remembered of this replica, in the words of [`Ledger::keep_history`].
    ///
    /// # Errors
    /// SQLite's.
    pub fn history(&self) -> rusqlite::Result<Option<String>> {
        self.connection
            .query_row(
                "SELECT told FROM history WHERE replica = ?1",
                [self.replica],
                |row| row.get(0),
            )
            .optional()
    }

    /// Keeps what a later run is to remember.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keep_history(&self, told: &str) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO history (replica, told) VALUES (?1, ?2)",
                params![self.replica, told],
            )
            .map(drop)
    }

    /// Lets go of memory that only makes the next query faster.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rest(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA shrink_memory")
    }

    /// Whether any path but the root is known to be held.
    ///
    /// # Errors
    /// SQLite's.
    pub fn holds_anything(&self) -> rusqlite::Result<bool> {
        self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM entry WHERE replica = ?1 AND name <> x'')",
            [self.replica],
            |row| row.get(0),
        )
    }

    /// How many files (whatever is no directory) the replica holds.
    ///
    /// # Errors
    /// SQLite's.
    pub fn files(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(
            "SELECT COUNT(*) FROM entry WHERE replica = ?1 AND kind <> ?2",
            params![self.replica, DIRECTORY],
            |row| row.get(0).map(i64::cast_unsigned),
        )
    }

    /// How many of them are below the directory `dir`, which is not the root.
    ///
    /// # Errors
    /// SQLite's.
    pub fn files_below(&self, dir: &Path) -> rusqlite::Result<u64> {
        let dir = dir.as_os_str().as_bytes();
        let (from, to) = below(dir);
        let mut count = self.connection.prepare_cached(
            "SELECT (SELECT COUNT(*) FROM entry WHERE replica = ?1 AND kind <> ?2 AND parent = ?3) + \
             (SELECT COUNT(*) FROM entry WHERE replica = ?1 AND kind <> ?2 AND parent >= ?4 AND parent < ?5)",
        )?;
        count.query_row(params![self.replica, DIRECTORY, dir, from, to], |row| {
            row.get(0).map(i64::cast_unsigned)
        })
    }

    /// What the replica holds under `path`.
    ///
    /// # Errors
    /// SQLite's.
    pub fn held(&self, path: &Path) -> rusqlite::Result<Option<Held>> {
        let (parent, name) = split(path);
        self.connection
            .prepare_cached(select_held!(
                "",
                "WHERE replica = ?1 AND parent = ?2 AND name = ?3"
            ))?
            .query_row(params![self.replica, parent, name], held_from_row)
            .optional()
    }

    /// The names the replica holds directly in the directory `dir`, in byte order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn children(&self, dir: &Path) -> rusqlite::Result<Vec<(Vec<u8>, Held)>> {
        let mut statement = self.connection.prepare_cached(select_held!(
            ", name",
            "WHERE replica = ?1 AND parent = ?2 AND name <> x'' ORDER BY name"
        ))?;
        let rows = statement
            .query_map(params![self.replica, dir.as_os_str().as_bytes()], |row| {
                Ok((row.get(HELD)?, held_from_row(row)?))
            })?;
        rows.collect()
    }

    /// Every path under which the replica holds the inode `ino` of device `dev`: the names of a hard-linked file,
    /// or the former name of a renamed one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn names_of(&self, dev: u64, ino: u64) -> rusqlite::Result<Vec<(PathBuf, Held)>> {
        let mut statement = self
            .connection
            // Left to itself, SQLite takes the primary key for the better way and reads the replica's every row.
            .prepare_cached(select_held!(
                ", parent, name",
                "INDEXED BY entry_by_inode WHERE ino = ?1 AND dev = ?2 AND replica = ?3"
            ))?;
        let rows = statement.query_map(
            params![ino.cast_signed(), dev.cast_signed(), self.replica],
            |row| {
                Ok((
                    join(row.get(HELD)?, &row.get::<_, Vec<u8>>(HELD + 1)?),
                    held_from_row(row)?,
                ))
            },
        )?;
        rows.collect()
    }

    /// The paths of sessions that have not been confirmed: what the replica holds there is unknown.
    ///
    /// # Errors
    /// SQLite's.
    pub fn in_flight(&self) -> rusqlite::Result<Vec<(PathBuf, Reach)>> {
        self.reached("SELECT path, reach FROM in_flight WHERE replica = ?1")
    }

    /// What broken sessions reached, and may still change.
    ///
    /// # Errors
    /// SQLite's.
    pub fn aftermath(&self) -> rusqlite::Result<Vec<(PathBuf, Reach)>> {
        self.reached("SELECT path, reach FROM aftermath WHERE replica = ?1")
    }

    fn reached(&self, select: &str) -> rusqlite::Result<Vec<(PathBuf, Reach)>> {
        let mut statement = self.connection.prepare_cached(select)?;
        let rows = statement.query_map([self.replica], |row| {
            Ok((path_from(row.get(0)?), reach_from(row.get(1)?)))
        })?;
        rows.collect()
    }

    /// Notes that whoever got what is in flight may carry it out at any time from now on.
    ///
    /// # Errors
    /// SQLite's.
    pub fn expect_aftermath(&self) -> rusqlite::Result<()> {
        self.connection
            .execute(
                "INSERT INTO aftermath SELECT replica, path, reach FROM in_flight WHERE replica = ?1 \
                 ON CONFLICT DO UPDATE SET reach = max(reach, excluded.reach)",
                [self.replica],
            )
            .map(drop)
    }

    /// Notes that nothing of that is to be expected any more.
    ///
    /// # Errors
    /// SQLite's.
    pub fn end_aftermath(&self) -> rusqlite::Result<()> {
        self.connection
            .execute("DELETE FROM aftermath WHERE replica = ?1", [self.replica])
            .map(drop)
    }

    /// Notes that all has been looked at: nothing is in flight, not even what went again before it could be confirmed.
    ///
    /// # Errors
    /// SQLite's.
    pub fn land_all(&self) -> rusqlite::Result<()> {
        let mut is_any = self
            .connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM in_flight WHERE replica = ?1)")?;
        if is_any.query_row([self.replica], |row| row.get(0))? {
            self.connection
                .execute("DELETE FROM in_flight WHERE replica = ?1", [self.replica])?;
        }
        Ok(())
    }

    /// Notes what a session that is about to begin reaches. Among them are those that `may_go`, with everything below
    /// them: until it is confirmed, nobody knows what the replica has in such a directory, should it come back in the
    /// source as it was.
    ///
    /// # Errors
    /// SQLite's.
    pub fn begin_session<'a>(
        &mut self,
        reached: impl IntoIterator<Item = (&'a Path, Reach)>,
        may_go: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        doubt_trees(&transaction, self.replica, may_go)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO in_flight (replica, path, reach) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET reach = max(reach, excluded.reach)",
            )?;
            for (path, reach) in reached {
                let path = path.as_os_str().as_bytes();
                insert.execute(params![self.replica, path, reach as i64])?;
            }
        }
        transaction.commit()
    }

    /// Notes that nobody knows any more what the replica has in directories at or below these paths.
    ///
    /// # Errors
    /// SQLite's.
    pub fn doubt_trees<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        doubt_trees(&transaction, self.replica, paths)?;
        transaction.commit()
    }

    /// Writes what a session confirmed, all or nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn confirm(&mut self, confirmed: &Confirmed) -> rusqlite::Result<()> {
        let replica = self.replica;
        let transaction = self.connection.transaction()?;
        {
            let mut remove_below = transaction.prepare_cached(
                "DELETE FROM entry WHERE replica = ?1 AND parent >= ?2 AND parent < ?3",
            )?;
            let mut remove_children = transaction.prepare_cached(
                "DELETE FROM entry WHERE replica = ?1 AND parent = ?2 AND name <> x''",
            )?;
            let mut remove_one = transaction.prepare_cached(
                "DELETE FROM entry WHERE replica = ?1 AND parent = ?2 AND name = ?3",
            )?;
            for path in &confirmed.gone {
                let bytes = path.as_os_str().as_bytes();
                let (parent, name) = split(path);
                let (from, to) = below(bytes);
                remove_one.execute(params![replica, parent, name])?;
                remove_children.execute(params![replica, bytes])?;
                remove_below.execute(params![replica, from, to])?;
            }
            let mut insert = transaction.prepare_cached(INSERT)?;
            for (path, held) in &confirmed.held {
                insert_row(&mut insert, replica, path, held)?;
            }
            let mut landed = transaction
                .prepare_cached("DELETE FROM in_flight WHERE replica = ?1 AND path = ?2")?;
            for path in &confirmed.landed {
                landed.execute(params![replica, path.as_os_str().as_bytes()])?;
            }
        }
        transaction.commit()
    }

    /// Notes that nobody knows any more what the replica has in these directories.
    ///
    /// # Errors
    /// SQLite's.
    pub fn doubt_directories<'a>(
        &mut self,
        dirs: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut update = transaction.prepare_cached(
                "UPDATE entry SET whole = 0 WHERE replica = ?1 AND parent = ?2 AND name = ?3 AND whole = 1",
            )?;
            for dir in dirs {
                let (parent, name) = split(dir);
                update.execute(params![self.replica, parent, name])?;
            }
        }
        transaction.commit()
    }
}

/// What a session has proved, for [`Ledger::confirm`].
#[derive(Debug, Default)]
pub struct Confirmed {
    /// Paths that the replica no longer has, with everything below them.
    pub gone: Vec<PathBuf>,
    /// Versions that the replica now has.
    pub held: Vec<(PathBuf, Held)>,
    /// Paths of [`Ledger::begin_session`] whose state is known again.
    pub landed: Vec<PathBuf>,
}

fn doubt_trees<'a>(
    transaction: &Transaction<'_>,
    replica: i64,
    paths: impl IntoIterator<Item = &'a Path>,
) -> rusqlite::Result<()> {
    let mut doubt_below = transaction.prepare_cached(
        "UPDATE entry SET whole = 0 WHERE replica = ?1 AND parent >= ?2 AND parent < ?3 AND whole = 1",
    )?;
    let mut doubt_children = transaction.prepare_cached(
        "UPDATE entry SET whole = 0 WHERE replica = ?1 AND parent = ?2 AND name <> x'' AND whole = 1",
    )?;
    let mut doubt_one = transaction.prepare_cached(
        "UPDATE entry SET whole = 0 WHERE replica = ?1 AND parent = ?2 AND name = ?3 AND whole = 1",
    )?;
    for path in paths {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            let all = "UPDATE entry SET whole = 0 WHERE replica = ?1 AND whole = 1";
            transaction.execute(all, [replica])?;
        }
        let (parent, name) = split(path);
        let (from, to) = below(bytes);
        doubt_one.execute(params![replica, parent, name])?;
        doubt_children.execute(params![replica, bytes])?;
        doubt_below.execute(params![replica, from, to])?;
    }
    Ok(())
}

/// The `kind` of directories.
const DIRECTORY: u32 = Kind::Dir.type_bits() >> 12;

const INSERT: &str = "INSERT OR REPLACE INTO entry VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

fn insert_row(
    insert: &mut CachedStatement<'_>,
    replica: i64,
    path: &Path,
    held: &Held,
) -> rusqlite::Result<()> {
    let (parent, name) = split(path);
    let version = &held.version;
    insert
        .execute(params![
            replica,
            parent,
            name,
            version.full_mode() >> 12,
            version.mode,
            version.uid,
            version.gid,
            version.size.cast_signed(),
            version.mtime.sec,
            version.mtime.nsec,
            version.ctime.sec,
            version.ctime.nsec,
            version.btime.map(|time| time.sec),
            version.btime.map(|time| time.nsec),
            version.dev.cast_signed(),
            version.ino.cast_signed(),
            version.nlink.cast_signed(),
            i64::from(version.rdev.0) << 32 | i64::from(version.rdev.1),
            held.doubtful,
            held.whole,
        ])
        .map(drop)
}

/// Reads the columns of [`select_held`]: by number, for looking each up by its name takes longer than all the rest.
fn held_from_row(row: &Row<'_>) -> rusqlite::Result<Held> {
    let unsigned = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let btime = row.get::<_, Option<i64>>(9)?.zip(row.get(10)?);
    let kind: u32 = row.get(0)?;
    let rdev = unsigned(14)?;
    Ok(Held {
        version: Meta {
            kind: Kind::from_mode(kind << 12)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(0, kind.into()))?,
            mode: row.get(1)?,
            uid: row.get(2)?,
            gid: row.get(3)?,
            size: unsigned(4)?,
            mtime: Time {
                sec: row.get(5)?,
                nsec: row.get(6)?,
            },
            atime: Time::default(),
            ctime: Time {
                sec: row.get(7)?,
                nsec: row.get(8)?,
            },
            btime: btime.map(|(sec, nsec)| Time { sec, nsec }),
            dev: unsigned(11)?,
            ino: unsigned(12)?,
            nlink: unsigned(13)?,
            rdev: ((rdev >> 32) as u32, rdev as u32),
        },
        doubtful: row.get(15)?,
        whole: row.get(16)?,
    })
}

/// Parent and name of a path as the table keeps them; the root is the empty name in the empty parent.
fn split(path: &Path) -> (&[u8], &[u8]) {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let parent = path
        .parent()
        .map(|parent| parent.as_os_str().as_bytes())
        .unwrap_or_default();
    (parent, name)
}

fn join(parent: Vec<u8>, name: &[u8]) -> PathBuf {
    path_from(parent).join(OsStr::from_bytes(name))
}

fn path_from(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

fn reach_from(number: i64) -> Reach {
    match number {
        0 => Reach::Directory,
        1 => Reach::Listed,
        _ => Reach::Entry,
    }
}

/// The bounds of the parents that lie below the directory `dir`, which is not the root: between `DIR/` and `DIR0`, '0'
/// being the byte after '/'.
fn below(dir: &[u8]) -> (Vec<u8>, Vec<u8>) {
    ([dir, b"/"].concat(), [dir, b"0"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(ino: u64, size: u64) -> Held {
        let time = Time {
            sec: -1,
            nsec: 999_999_999,
        };
        let version = Meta {
            kind: Kind::File,
            mode: 0o4751,
            uid: 1,
            gid: u32::MAX,
            size,
            mtime: time,
            atime: Time::default(),
            ctime: time,
            btime: Some(time),
            dev: u64::MAX,
            ino,
            nlink: 2,
            rdev: (0, 0),
        };
        Held {
            version,
            doubtful: true,
            whole: false,
        }
    }

    fn confirm(ledger: &mut Ledger, held: &[(&str, Held)], gone: &[&str]) {
        let confirmed = Confirmed {
            held: held
                .iter()
                .map(|(path, held)| (PathBuf::from(path), held.clone()))
                .collect(),
            gone: gone.iter().map(PathBuf::from).collect(),
            landed: Vec::new(),
        };
        ledger.confirm(&confirmed).unwrap();
    }

    #[test]
    fn what_was_confirmed_comes_back_as_it_was() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let mut device = file(7, 0);
        device.version.kind = Kind::Char;
        device.version.rdev = (u32::MAX, 300);
        device.version.btime = None;
        confirm(
            &mut ledger,
            &[
                ("a/f\n*", file(9, u64::MAX)),
                ("", file(1, 0)),
                ("dev", device.clone()),
            ],
            &[],
        );
        assert_eq!(
            ledger.held(Path::new("a/f\n*")).unwrap(),
            Some(file(9, u64::MAX))
        );
        assert_eq!(ledger.held(Path::new("dev")).unwrap(), Some(device));
        assert_eq!(ledger.held(Path::new("")).unwrap(), Some(file(1, 0)));
        assert_eq!(ledger.held(Path::new("a")).unwrap(), None);
    }

    #[test]
    fn children_are_those_directly_in_the_directory_in_byte_order() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let rows = ["d/b", "d/a", "d/a/x", "d-e", "d", "e/a"].map(|path| (path, file(1, 1)));
        confirm(&mut ledger, &rows, &[]);
        let names = |dir: &str| -> Vec<Vec<u8>> {
            ledger
                .children(Path::new(dir))
                .unwrap()
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names("d"), [b"a", b"b"]);
        assert_eq!(names(""), [&b"d"[..], b"d-e"]);
    }

    #[test]
    fn a_removed_directory_takes_what_is_below_it_and_nothing_else() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let rows = ["d", "d/a", "d/a/x", "d/a/x/y", "d-e", "d-e/f", "d0", "d0/g"]
            .map(|path| (path, file(1, 1)));
        confirm(&mut ledger, &rows, &[]);
        confirm(&mut ledger, &[], &["d"]);
        for gone in ["d", "d/a", "d/a/x", "d/a/x/y"] {
            assert_eq!(ledger.held(Path::new(gone)).unwrap(), None, "{gone}");
        }
        for kept in ["d-e", "d-e/f", "d0", "d0/g"] {
            assert!(ledger.held(Path::new(kept)).unwrap().is_some(), "{kept}");
        }
    }

    #[test]
    fn files_are_counted_below_a_directory_and_in_all() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let mut dir = file(2, 0);
        dir.version.kind = Kind::Dir;
        let rows = [("", &dir), ("d", &dir), ("d/e", &dir)].map(|(path, row)| (path, row.clone()));
        confirm(&mut ledger, &rows, &[]);
        let rows = ["d/a", "d/e/b", "d/e/c", "d-e", "top"].map(|path| (path, file(1, 1)));
        confirm(&mut ledger, &rows, &[]);
        assert_eq!(ledger.files().unwrap(), 5);
        assert_eq!(ledger.files_below(Path::new("d")).unwrap(), 3);
        assert_eq!(ledger.files_below(Path::new("d/e")).unwrap(), 2);
    }

    #[test]
    fn names_are_found_by_inode_and_replicas_are_apart() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let (mut one, two) = (state.ledger("one").unwrap(), state.ledger("two").unwrap());
        confirm(
            &mut one,
            &[("a", file(5, 1)), ("b/c", file(5, 1)), ("d", file(6, 1))],
            &[],
        );
        let mut names: Vec<_> = one
            .names_of(u64::MAX, 5)
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        names.sort();
        assert_eq!(names, [Path::new("a"), Path::new("b/c")]);
        assert!(two.names_of(u64::MAX, 5).unwrap().is_empty());
        assert!(one.holds_anything().unwrap() && !two.holds_anything().unwrap());
    }

    #[test]
    fn what_is_in_a_directory_that_may_go_is_in_doubt() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let mut dir = file(2, 0);
        (dir.version.kind, dir.whole) = (Kind::Dir, true);
        let rows = ["", "d", "d/a", "d/a/x", "d-e", "d0"].map(|path| (path, dir.clone()));
        confirm(&mut ledger, &rows, &[]);
        ledger.begin_session([], [Path::new("d")]).unwrap();
        for (path, whole) in [("", true), ("d", false), ("d/a", false), ("d/a/x", false)] {
            let held = ledger.held(Path::new(path)).unwrap().unwrap();
            assert_eq!(held.whole, whole, "{path}");
        }
        for path in ["d-e", "d0"] {
            assert!(
                ledger.held(Path::new(path)).unwrap().unwrap().whole,
                "{path}"
            );
        }
    }

    #[test]
    fn a_session_that_was_not_confirmed_is_remembered_across_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        {
            let mut ledger = State::open(&path).unwrap().ledger("r").unwrap();
            ledger
                .begin_session(
                    [
                        (Path::new("a"), Reach::Directory),
                        (Path::new("b"), Reach::Listed),
                    ],
                    [],
                )
                .unwrap();
            let confirmed = Confirmed {
                landed: vec!["a".into()],
                ..Confirmed::default()
            };
            ledger.confirm(&confirmed).unwrap();
        }
        let ledger = State::open(&path).unwrap().ledger("r").unwrap();
        let left = [(PathBuf::from("b"), Reach::Listed)];
        assert_eq!(ledger.in_flight().unwrap(), left);
        assert_eq!(ledger.aftermath().unwrap(), []);
        ledger.expect_aftermath().unwrap();
        ledger.land_all().unwrap();
        assert_eq!(ledger.in_flight().unwrap(), []);
        assert_eq!(ledger.aftermath().unwrap(), left);
        ledger.end_aftermath().unwrap();
        assert_eq!(ledger.aftermath().unwrap(), []);
    }

    #[test]
    fn the_furthest_reach_counts() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let path = Path::new("a");
        for (reach, known) in [
            (Reach::Listed, Reach::Listed),
            (Reach::Directory, Reach::Listed),
            (Reach::Entry, Reach::Entry),
        ] {
            ledger.begin_session([(path, reach)], []).unwrap();
            ledger.expect_aftermath().unwrap();
            let known = [(path.to_owned(), known)];
            assert_eq!(ledger.in_flight().unwrap(), known);
            assert_eq!(ledger.aftermath().unwrap(), known);
        }
    }
}
