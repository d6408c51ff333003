//! The eleven characters of `%i` (behaviour.md 3.4).

use transfer::{Direction, Itemized};
use wire::ItemFlags;

/// What stands for a removed item.
pub(crate) const DELETED: &str = "*deleting  ";

const FILE_TYPE: u32 = 0o170_000;

/// The string for one item. `keeps_times` tells whether `--times` is on, `has_flags` whether the protocol tells what
/// differs of a file that is transferred.
pub(crate) fn itemize(item: &Itemized<'_>, keeps_times: bool, has_flags: bool) -> String {
    let flags = item.flags;
    let has = |flag: ItemFlags| flags.contains(flag);
    let change = if has(ItemFlags::TRANSFER) {
        match item.direction {
            Direction::Sent => '<',
            Direction::Received => '>',
        }
    } else if has(ItemFlags::LOCAL_CHANGE) {
        if has(ItemFlags::XNAME_FOLLOWS) {
            'h'
        } else {
            'c'
        }
    } else {
        '.'
    };
    let kind = kind(item.entry.mode);
    let mut letters = if !has_flags && has(ItemFlags::TRANSFER) {
        ['?'; 9]
    } else if has(ItemFlags::IS_NEW) {
        ['+'; 9]
    } else {
        attributes(flags, kind, keeps_times)
    };
    if ".hc".contains(change) && letters.iter().all(|&letter| letter == '.') {
        letters = [' '; 9];
    }
    [change, kind].into_iter().chain(letters).collect()
}

fn attributes(flags: ItemFlags, kind: char, keeps_times: bool) -> [char; 9] {
    let letter = |flag: ItemFlags, letter: char| if flags.contains(flag) { letter } else { '.' };
    let time = match kind {
        // The bit of the size tells of a symbolic link that its time could not be set.
        'L' if flags.contains(ItemFlags::REPORT_TIMEFAIL) => 'T',
        _ if keeps_times => letter(ItemFlags::REPORT_TIME, 't'),
        _ => letter(ItemFlags::REPORT_TIME, 'T'),
    };
    let other_times = match (
        flags.contains(ItemFlags::REPORT_ATIME),
        flags.contains(ItemFlags::REPORT_CRTIME),
    ) {
        (true, true) => 'b',
        (true, false) => 'u',
        (false, true) => 'n',
        (false, false) => '.',
    };
    [
        letter(ItemFlags::REPORT_CHANGE, 'c'),
        if kind == 'L' {
            '.'
        } else {
            letter(ItemFlags::REPORT_SIZE, 's')
        },
        time,
        letter(ItemFlags::REPORT_PERMS, 'p'),
        letter(ItemFlags::REPORT_OWNER, 'o'),
        letter(ItemFlags::REPORT_GROUP, 'g'),
        other_times,
        letter(ItemFlags::REPORT_ACL, 'a'),
        letter(ItemFlags::REPORT_XATTR, 'x'),
    ]
}

fn kind(mode: u32) -> char {
    match mode & FILE_TYPE {
        0o040_000 => 'd',
        0o120_000 => 'L',
        0o020_000 | 0o060_000 => 'D',
        0o100_000 => 'f',
        _ => 'S',
    }
}

#[cfg(test)]
pub(super) mod tests {
    use transfer::EntryView;

    use super::*;

    /// An item to render, of which tests change what they are about.
    pub(in crate::output) fn item(path: &[u8], mode: u32, flags: ItemFlags) -> Itemized<'_> {
        let entry = EntryView {
            path,
            mode,
            size: 5,
            mtime: 1_000_000_000,
            atime: None,
            crtime: None,
            uid: 0,
            gid: 0,
            target: None,
            source: None,
        };
        Itemized {
            entry,
            flags,
            direction: Direction::Received,
            link: None,
            unchanged: false,
            bytes: 0,
            sum_bytes: 0,
            checksum: None,
        }
    }

    #[test]
    fn strings_of_rsync() {
        use ItemFlags as F;
        let attributes =
            F::REPORT_PERMS | F::REPORT_OWNER | F::REPORT_GROUP | F::REPORT_ACL | F::REPORT_XATTR;
        for (mode, flags, expected) in [
            (0o100_644, F::TRANSFER | F::IS_NEW, ">f+++++++++"),
            (0o100_644, F::TRANSFER, ">f........."),
            (
                0o100_644,
                F::TRANSFER | F::REPORT_CHANGE | F::REPORT_SIZE | F::REPORT_TIME,
                ">fcst......",
            ),
            (0o100_644, F::empty(), ".f         "),
            (0o100_644, attributes, ".f...pog.ax"),
            (0o100_644, F::REPORT_ATIME | F::REPORT_CRTIME, ".f......b.."),
            (0o040_755, F::LOCAL_CHANGE | F::IS_NEW, "cd+++++++++"),
            (0o040_755, F::REPORT_TIME, ".d..t......"),
            (
                0o120_777,
                F::LOCAL_CHANGE | F::REPORT_CHANGE | F::REPORT_TIME,
                "cLc.t......",
            ),
            (0o120_777, F::REPORT_TIMEFAIL, ".L..T......"),
            (0o010_644, F::LOCAL_CHANGE | F::IS_NEW, "cS+++++++++"),
            (0o020_644, F::LOCAL_CHANGE | F::REPORT_CHANGE, "cDc........"),
            (0o100_644, F::LOCAL_CHANGE | F::XNAME_FOLLOWS, "hf         "),
            (
                0o100_644,
                F::LOCAL_CHANGE | F::XNAME_FOLLOWS | F::IS_NEW,
                "hf+++++++++",
            ),
        ] {
            assert_eq!(
                itemize(&item(b"x", mode, flags), true, true),
                expected,
                "{flags:?}"
            );
        }
        let timed = item(b"x", 0o100_644, F::TRANSFER | F::REPORT_TIME);
        assert_eq!(itemize(&timed, false, true), ">f..T......");
        let sent = Itemized {
            direction: Direction::Sent,
            ..timed
        };
        assert_eq!(itemize(&sent, true, true), "<f..t......");
        assert_eq!(itemize(&sent, true, false), "<f?????????");
    }
}
