//! The lines of a listing (behaviour.md 3.9).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use transfer::EntryView;

use super::format::{is_dir, permissions};
use super::number::Human;

/// What stands for a time that no calendar knows.
pub(crate) const OUT_OF_RANGE: &str = "(time out of range)";

/// Which columns a listing has.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) human: Human,
    /// `--links`: where symbolic links lead.
    pub(crate) targets: bool,
    /// `--atimes`
    pub(crate) atimes: bool,
    pub(crate) zone: TimeZone,
}

/// The line of one entry, without its end.
pub(crate) fn line(entry: &EntryView<'_>, columns: &Columns) -> Vec<u8> {
    let size_width = if columns.human.0 == 0 { 11 } else { 14 };
    let mut text = if entry.mode == 0 {
        // An argument that does not exist, sent for its removal.
        format!(
            "{:<width$}",
            "*missing",
            width = 10 + 1 + size_width + 1 + TIME_WIDTH
        )
    } else {
        let kind = kind(entry.mode);
        let (permissions, size) = (permissions(entry.mode), columns.human.bytes(entry.size));
        let mtime = time(entry.mtime, &columns.zone);
        format!("{kind}{permissions} {size:>size_width$} {mtime}")
    };
    if columns.atimes {
        let atime = entry
            .atime
            .filter(|_| !is_dir(entry.mode))
            .map(|at| time(at, &columns.zone))
            .unwrap_or_default();
        text += &format!(" {atime:<TIME_WIDTH$}");
    }
    let mut line = text.into_bytes();
    line.push(b' ');
    line.extend_from_slice(entry.path);
    if columns.targets
        && let Some(target) = entry.target
    {
        line.extend_from_slice(b" -> ");
        line.extend_from_slice(target);
    }
    line
}

const TIME_WIDTH: usize = 19;

fn time(seconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_second(seconds) {
        Ok(at) => at
            .to_zoned(zone.clone())
            .strftime("%Y/%m/%d %H:%M:%S")
            .to_string(),
        Err(_) => OUT_OF_RANGE.to_owned(),
    }
}

fn kind(mode: u32) -> char {
    match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o140_000 => 's',
        0o010_000 => 'p',
        _ => '-',
    }
}

#[cfg(test)]
mod tests {
    use wire::ItemFlags;

    use super::super::itemize::tests::item;
    use super::*;

    fn lined(
        path: &[u8],
        mode: u32,
        size: u64,
        target: Option<&[u8]>,
        columns: &Columns,
    ) -> String {
        let mut entry = item(path, mode, ItemFlags::empty()).entry;
        (entry.size, entry.target, entry.atime) = (size, target, Some(1_100_000_000));
        String::from_utf8(line(&entry, columns)).expect("text")
    }

    #[test]
    fn lines_of_rsync() {
        let columns = |human, atimes| Columns {
            human: Human(human),
            targets: true,
            atimes,
            zone: TimeZone::UTC,
        };
        let plain = columns(1, false);
        assert_eq!(
            lined(b".", 0o040_755, 4096, None, &plain),
            "drwxr-xr-x          4,096 2001/09/09 01:46:40 ."
        );
        assert_eq!(
            lined(b"l", 0o120_777, 1, Some(b"a"), &plain),
            "lrwxrwxrwx              1 2001/09/09 01:46:40 l -> a"
        );
        assert_eq!(
            lined(b"big", 0o100_644, 300_000, None, &columns(2, false)),
            "-rw-r--r--        300.00K 2001/09/09 01:46:40 big"
        );
        assert_eq!(
            lined(b"big", 0o100_644, 300_000, None, &columns(0, false)),
            "-rw-r--r--      300000 2001/09/09 01:46:40 big"
        );
        assert_eq!(
            lined(b"a", 0o100_640, 6, None, &columns(1, true)),
            "-rw-r-----              6 2001/09/09 01:46:40 2004/11/09 11:33:20 a"
        );
        assert_eq!(
            lined(b".", 0o040_755, 4096, None, &columns(1, true)),
            "drwxr-xr-x          4,096 2001/09/09 01:46:40                     ."
        );
    }
}
