//! What sessions reached without being confirmed: what is in flight, and what broken ones may still change.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::params;

use super::row::path_from;
use super::{Ledger, doubt_trees};

/// How far a session reaches at a path of the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// A directory: it is made if it is missing, and its attributes are set.
    Directory,
    /// A directory that is listed whole: what is in it besides is removed.
    Listed,
    /// Anything else, or a name to be removed: whatever stands there goes, with everything below it.
    Entry,
}

impl Ledger {
    /// The paths of sessions that have not been confirmed: what the replica holds there is unknown.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn in_flight(&self) -> rusqlite::Result<Vec<(PathBuf, Reach)>> {
        self.reached("SELECT path, reach FROM in_flight WHERE replica = ?1")
    }

    /// What broken sessions reached, and may still change.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn aftermath(&self) -> rusqlite::Result<Vec<(PathBuf, Reach)>> {
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
    pub(crate) fn expect_aftermath(&self) -> rusqlite::Result<()> {
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
    pub(crate) fn end_aftermath(&self) -> rusqlite::Result<()> {
        self.connection
            .execute("DELETE FROM aftermath WHERE replica = ?1", [self.replica])
            .map(drop)
    }

    /// Notes that all has been looked at: nothing is in flight, not even what went again before it could be confirmed.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn land_all(&self) -> rusqlite::Result<()> {
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
    /// Returns those that an earlier session has left in flight.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn begin_session<'a>(
        &mut self,
        reached: impl IntoIterator<Item = (&'a Path, Reach)>,
        may_go: impl IntoIterator<Item = &'a Path>,
    ) -> rusqlite::Result<HashSet<PathBuf>> {
        let replica = self.replica;
        let transaction = self.writing()?;
        doubt_trees(&transaction, replica, may_go)?;
        let mut before = HashSet::new();
        {
            let is_any = "SELECT EXISTS (SELECT 1 FROM in_flight WHERE replica = ?1)";
            let is_any = transaction.query_row(is_any, [replica], |row| row.get(0))?;
            let mut is_one = transaction.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM in_flight WHERE replica = ?1 AND path = ?2)",
            )?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO in_flight (replica, path, reach) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET reach = max(reach, excluded.reach)",
            )?;
            for (path, reach) in reached {
                let bytes = path.as_os_str().as_bytes();
                if is_any && is_one.query_row(params![replica, bytes], |row| row.get(0))? {
                    before.insert(path.to_owned());
                }
                insert.execute(params![replica, bytes, reach as i64])?;
            }
        }
        transaction.commit()?;
        Ok(before)
    }
}

fn reach_from(number: i64) -> Reach {
    match number {
        0 => Reach::Directory,
        1 => Reach::Listed,
        _ => Reach::Entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Confirmed, State};

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
    fn replicas_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let ledgers = ["one", "other"].map(|name| state.ledger(name).unwrap());
        std::thread::scope(|scope| {
            for mut ledger in ledgers {
                scope.spawn(move || {
                    for number in 0..300 {
                        let path = PathBuf::from(number.to_string());
                        let reached = [(path.as_path(), Reach::Entry)];
                        ledger.begin_session(reached, []).unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_session_learns_what_an_earlier_one_has_left_in_flight() {
        let mut ledger = State::in_memory().ledger("r").unwrap();
        let [a, b] = ["a", "b"].map(|path| (Path::new(path), Reach::Entry));
        assert_eq!(ledger.begin_session([a], []).unwrap(), HashSet::new());
        let left = HashSet::from(["a".into()]);
        assert_eq!(ledger.begin_session([a, b], []).unwrap(), left);
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
