//! Event names as users write and read them.

use std::ffi::OsStr;

use rustix::fs::inotify::{ReadFlags, WatchFlags};

/// Names accepted by `-e`, in any case. The last five are not in the help text.
const ACCEPTED: [(&str, u32); 21] = [
    ("access", bits(ReadFlags::ACCESS)),
    ("modify", bits(ReadFlags::MODIFY)),
    ("attrib", bits(ReadFlags::ATTRIB)),
    ("close_write", bits(ReadFlags::CLOSE_WRITE)),
    ("close_nowrite", bits(ReadFlags::CLOSE_NOWRITE)),
    ("open", bits(ReadFlags::OPEN)),
    ("moved_from", bits(ReadFlags::MOVED_FROM)),
    ("moved_to", bits(ReadFlags::MOVED_TO)),
    ("create", bits(ReadFlags::CREATE)),
    ("delete", bits(ReadFlags::DELETE)),
    ("delete_self", bits(ReadFlags::DELETE_SELF)),
    ("unmount", bits(ReadFlags::UNMOUNT)),
    ("close", WatchFlags::CLOSE.bits()),
    ("move", WatchFlags::MOVE.bits()),
    ("move_self", bits(ReadFlags::MOVE_SELF)),
    ("all_events", ALL),
    ("q_overflow", bits(ReadFlags::QUEUE_OVERFLOW)),
    ("ignored", bits(ReadFlags::IGNORED)),
    ("isdir", bits(ReadFlags::ISDIR)),
    ("oneshot", ONESHOT),
    ("excl_unlink", WatchFlags::EXCL_UNLINK.bits()),
];

/// Names printed, in the order in which they are printed. CLOSE comes with either of its parts.
const PRINTED: [(&str, u32); 18] = [
    ("ACCESS", bits(ReadFlags::ACCESS)),
    ("MODIFY", bits(ReadFlags::MODIFY)),
    ("ATTRIB", bits(ReadFlags::ATTRIB)),
    ("CLOSE_WRITE", bits(ReadFlags::CLOSE_WRITE)),
    ("CLOSE_NOWRITE", bits(ReadFlags::CLOSE_NOWRITE)),
    ("OPEN", bits(ReadFlags::OPEN)),
    ("MOVED_FROM", bits(ReadFlags::MOVED_FROM)),
    ("MOVED_TO", bits(ReadFlags::MOVED_TO)),
    ("CREATE", bits(ReadFlags::CREATE)),
    ("DELETE", bits(ReadFlags::DELETE)),
    ("DELETE_SELF", bits(ReadFlags::DELETE_SELF)),
    ("UNMOUNT", bits(ReadFlags::UNMOUNT)),
    ("Q_OVERFLOW", bits(ReadFlags::QUEUE_OVERFLOW)),
    ("IGNORED", bits(ReadFlags::IGNORED)),
    ("CLOSE", WatchFlags::CLOSE.bits()),
    ("MOVE_SELF", bits(ReadFlags::MOVE_SELF)),
    ("ISDIR", bits(ReadFlags::ISDIR)),
    ("ONESHOT", ONESHOT),
];

/// What is watched without `-e`: the twelve of `IN_ALL_EVENTS`.
pub(crate) const ALL: u32 = WatchFlags::ALL_EVENTS.bits();

/// `IN_ONESHOT`: one event for each watch.
pub(crate) const ONESHOT: u32 = WatchFlags::ONESHOT.bits();

/// The union of a comma-separated list; one with an empty name in it is no list at all
/// (watch.md 2.1). `None` if a name is none.
fn parse(list: &str) -> Option<u32> {
    let mut mask = 0;
    for name in list.split(',') {
        if name.is_empty() {
            return Some(0);
        }
        mask |= named(name)?;
    }
    Some(mask)
}

/// The value of a `-e` option; an error is the line for stderr.
pub(crate) fn parse_argument(list: &OsStr) -> Result<u32, String> {
    let list = list.to_string_lossy();
    // The original names the whole list, whichever name is wrong.
    parse(&list).ok_or_else(|| {
        format!(
            "'{list}' is not a valid event!  Run with the '--help' option to see a list of events.\n"
        )
    })
}

/// The event of that name.
pub(crate) fn named(name: &str) -> Option<u32> {
    ACCEPTED
        .iter()
        .find(|(accepted, _)| accepted.eq_ignore_ascii_case(name))
        .map(|(_, mask)| *mask)
}

/// The names of an event, joined.
pub(crate) fn names(mask: u32, separator: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    for (name, bits) in PRINTED {
        if mask & bits != 0 {
            if !names.is_empty() {
                names.extend_from_slice(separator);
            }
            names.extend_from_slice(name.as_bytes());
        }
    }
    if names.is_empty() {
        names = format!("0x{mask:08x}").into_bytes();
    }
    names
}

const fn bits(flags: ReadFlags) -> u32 {
    flags.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_events_are_read_in_any_case() {
        assert_eq!(parse("Create,MOVE"), Some(0x1c0));
        assert_eq!(parse(""), Some(0));
        assert_eq!(parse("create,,open"), Some(0));
        assert_eq!(parse("create,foo"), None);
    }

    #[test]
    fn printed_in_a_fixed_order_with_what_they_imply() {
        assert_eq!(names(0x4000_0100, b","), b"CREATE,ISDIR");
        assert_eq!(names(0x8, b"|"), b"CLOSE_WRITE|CLOSE");
        assert_eq!(names(0x10_0000, b","), b"0x00100000");
    }
}
