//! What each replica is known to hold.
//!
//! One SQLite file per mirror (WAL). A row says: "this replica confirmed that it holds this version of
//! this path", where a version is the stat taken before the first byte was read. The ledger may lag
//! behind the truth but never ahead of it: rows are written only after the replica confirmed (those of hard links
//! before, but in doubt), and the paths of a session are noted in `in_flight` before its first byte leaves, so that a
//! crash costs repeated work and never a missed change.

mod row;
mod state_file;
mod unconfirmed;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tree::{FileId, Identity, Meta};

use self::row::{
    DIRECTORY, HELD, INSERT, REGULAR, below, birth, held_from_row, insert_row, join, select_held,
    split,
};
pub(crate) use self::state_file::{Claim, State, StateLock};
pub(crate) use self::unconfirmed::Reach;

/// One row: a version that a replica holds, and how sure that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The version the replica confirmed; its access time is not kept.
    pub version: Meta,
    /// The version's ctime was so young when it was read that a later change may carry the same one, or a session that
    /// makes it a hard link has not ended: the content is compared once more.
    pub doubtful: bool,
    /// For a directory: the names the replica has in it are those the ledger knows. Otherwise nobody
    /// knows what else is there, and the next look lists it completely.
    pub whole: bool,
}

impl Held {
    /// Whether the replica holds this version without a doubt.
    pub(crate) fn is_surely(&self, version: &Meta) -> bool {
        !self.doubtful && version.unchanged_since(&self.version)
    }
}

/// The ledger of one replica: a connection of its own, so that replicas never wait for each other longer
/// than one transaction.
pub(crate) struct Ledger {
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
    pub(crate) fn is_complete(&self) -> rusqlite::Result<bool> {
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
    pub(crate) fn set_complete(&self) -> rusqlite::Result<()> {
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
    pub(crate) fn history(&self) -> rusqlite::Result<Option<String>> {
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
    pub(crate) fn keep_history(&self, told: &str) -> rusqlite::Result<()> {
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
    pub(crate) fn rest(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA shrink_memory")
    }

    /// Whether any path but the root is known to be held.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn holds_anything(&self) -> rusqlite::Result<bool> {
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
    pub(crate) fn files(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(
            "SELECT COUNT(*) FROM entry WHERE replica = ?1 AND kind <> ?2",
            params![self.replica, DIRECTORY],
            |row| row.get(0).map(i64::cast_unsigned),
        )
    }

    /// How many bytes the regular files among them have.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn bytes(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(
            "SELECT COALESCE(SUM(size), 0) FROM entry WHERE replica = ?1 AND kind = ?2",
            params![self.replica, REGULAR],
            |row| row.get(0).map(i64::cast_unsigned),
        )
    }

    /// How many of them are below the directory `dir`, which is not the root.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn files_below(&self, dir: &Path) -> rusqlite::Result<u64> {
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

    /// Which files (whatever is no directory) the replica holds at `path` or, if that is a directory, below it.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn files_at(&self, path: &Path) -> rusqlite::Result<Vec<FileId>> {
        let ((parent, name), dir) = (split(path), path.as_os_str().as_bytes());
        let (from, to) = below(dir);
        let mut select = self.connection.prepare_cached(
            "SELECT dev, ino, btime, btime_ns FROM entry WHERE replica = ?1 AND kind <> ?2 AND parent = ?3 AND name = ?4 \
             UNION ALL SELECT dev, ino, btime, btime_ns FROM entry WHERE replica = ?1 AND kind <> ?2 AND parent = ?5 \
             UNION ALL SELECT dev, ino, btime, btime_ns FROM entry WHERE replica = ?1 AND kind <> ?2 AND parent >= ?6 AND parent < ?7",
        )?;
        let known = params![self.replica, DIRECTORY, parent, name, dir, from, to];
        let rows = select.query_map(known, |row| {
            let unsigned = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let (dev, ino) = (unsigned(0)?, unsigned(1)?);
            Ok(FileId {
                identity: Identity { dev, ino },
                btime: birth(row, 2)?,
            })
        })?;
        rows.collect()
    }

    /// The directories, other than the root, at which a file system was mounted when the replica confirmed them.
    ///
    /// # Errors
    /// SQLite's.
    pub fn mounts(&self) -> rusqlite::Result<Vec<PathBuf>> {
        let mut select = self.connection.prepare_cached(
            // Left to itself, SQLite reads the replica's every row, and this is asked for each plan.
            "SELECT parent, name FROM entry INDEXED BY entry_by_mount WHERE replica = ?1 AND mount AND name <> x''",
        )?;
        let rows = select.query_map([self.replica], |row| {
            Ok(join(row.get(0)?, &row.get::<_, Vec<u8>>(1)?))
        })?;
        rows.collect()
    }

    /// Has all that is read until the guard goes see one state of the file, for the price of one lock instead of one for
    /// each query.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn snapshot(&self) -> rusqlite::Result<impl Drop> {
        self.connection.unchecked_transaction()
    }

    /// A transaction that waits for other replicas' before it reads: one that has read is refused at its first write when
    /// another has written meanwhile.
    fn writing(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }

    /// What the replica holds under `path`.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn held(&self, path: &Path) -> rusqlite::Result<Option<Held>> {
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
    pub(crate) fn children(&self, dir: &Path) -> rusqlite::Result<Vec<(Vec<u8>, Held)>> {
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
    pub(crate) fn names_of(&self, dev: u64, ino: u64) -> rusqlite::Result<Vec<(PathBuf, Held)>> {
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

    /// Notes that nobody knows any more what the replica has in directories at or below these paths.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn doubt_trees<'a>(
        &mut self,
        paths: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<()> {
        let replica = self.replica;
        let transaction = self.writing()?;
        doubt_trees(&transaction, replica, paths)?;
        transaction.commit()
    }

    /// Writes what a session confirmed, all or nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn confirm(&mut self, confirmed: &Confirmed) -> rusqlite::Result<()> {
        let replica = self.replica;
        let transaction = self.writing()?;
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
    pub(crate) fn doubt_directories<'a>(
        &mut self,
        dirs: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<()> {
        let replica = self.replica;
        let transaction = self.writing()?;
        {
            let mut update = transaction.prepare_cached(
                "UPDATE entry SET whole = 0 WHERE replica = ?1 AND parent = ?2 AND name = ?3 AND whole = 1",
            )?;
            for dir in dirs {
                let (parent, name) = split(dir);
                update.execute(params![replica, parent, name])?;
            }
        }
        transaction.commit()
    }
}

/// What a session has proved, for [`Ledger::confirm`].
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
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

#[cfg(test)]
mod tests {
    use tree::{Kind, Time};

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
            is_mount: false,
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
        assert_eq!((ledger.files().unwrap(), ledger.bytes().unwrap()), (5, 5));
        assert_eq!(ledger.files_below(Path::new("d")).unwrap(), 3);
        assert_eq!(ledger.files_below(Path::new("d/e")).unwrap(), 2);
        for (path, expected) in [("d", 3), ("d/e", 2), ("d/a", 1), ("none", 0)] {
            let files = ledger.files_at(Path::new(path)).unwrap();
            assert_eq!(files.len(), expected, "{path}");
        }
        let known = ledger.held(Path::new("top")).unwrap().unwrap();
        assert_eq!(
            ledger.files_at(Path::new("top")).unwrap(),
            [known.version.file_id()]
        );
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
}
