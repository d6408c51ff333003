//! How versions and paths lie in the ledger's tables.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Row, params};
use tree::{Kind, Meta, Time};

use super::Held;

/// A query for what [`held_from_row`] reads, [`HELD`] columns, with more columns behind them.
macro_rules! select_held {
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT kind, mode, uid, gid, size, mtime, mtime_ns, ctime, ctime_ns, btime, btime_ns, dev, ino, nlink, rdev, \
             doubtful, whole, mount",
            $more,
            " FROM entry ",
            $rest
        )
    };
}

pub(super) use select_held;

/// How many columns [`held_from_row`] reads.
pub(super) const HELD: usize = 18;

/// The `kind` of regular files.
pub(super) const REGULAR: u32 = Kind::File.type_bits() >> 12;

/// The `kind` of directories.
pub(super) const DIRECTORY: u32 = Kind::Dir.type_bits() >> 12;

/// The statement of [`insert_row`].
pub(super) const INSERT: &str = "INSERT OR REPLACE INTO entry VALUES \
    (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

pub(super) fn insert_row(
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
            version.is_mount,
        ])
        .map(drop)
}

/// Reads the columns of `select_held`: by number, for looking each up by its name takes longer than all the rest.
pub(super) fn held_from_row(row: &Row<'_>) -> rusqlite::Result<Held> {
    let unsigned = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
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
            btime: birth(row, 9)?,
            dev: unsigned(11)?,
            ino: unsigned(12)?,
            nlink: unsigned(13)?,
            rdev: ((rdev >> 32) as u32, rdev as u32),
            is_mount: row.get(17)?,
        },
        doubtful: row.get(15)?,
        whole: row.get(16)?,
    })
}

/// The time of birth in a column and the one after it.
pub(super) fn birth(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Time>> {
    let parts = row.get::<_, Option<i64>>(column)?.zip(row.get(column + 1)?);
    Ok(parts.map(|(sec, nsec)| Time { sec, nsec }))
}

/// Parent and name of a path as the table keeps them; the root is the empty name in the empty parent.
pub(super) fn split(path: &Path) -> (&[u8], &[u8]) {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let parent = path
        .parent()
        .map(|parent| parent.as_os_str().as_bytes())
        .unwrap_or_default();
    (parent, name)
}

pub(super) fn join(parent: Vec<u8>, name: &[u8]) -> PathBuf {
    path_from(parent).join(OsStr::from_bytes(name))
}

pub(super) fn path_from(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// The bounds of the parents that lie below the directory `dir`, which is not the root: between `DIR/` and `DIR0`, '0'
/// being the byte after '/'.
pub(super) fn below(dir: &[u8]) -> (Vec<u8>, Vec<u8>) {
    ([dir, b"/"].concat(), [dir, b"0"].concat())
}
