//! `--out-format` and `--log-file-format`: text with escapes (behaviour.md 3.5).

use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use transfer::{EntryView, Itemized};

use super::itemize::{DELETED, itemize};
use super::number::Human;

/// A format that was read once.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Escape {
        letter: u8,
        is_left: bool,
        width: usize,
        /// The count of apostrophes: how numbers are written.
        human: u32,
        /// The escape as it stands, for letters that mean nothing here.
        text: Vec<u8>,
    },
}

/// Wider fields are taken for no width at all.
const WIDTH_MAX: usize = 1000;

/// What the escapes need to know of the run.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// We are the sender, as in a push and in a local copy.
    pub(crate) sends: bool,
    /// `--times`
    pub(crate) keeps_times: bool,
    /// The protocol tells what differs of a file, and not only that it is wanted.
    pub(crate) has_flags: bool,
    /// `--owner`; otherwise the sender's list has no owners.
    pub(crate) keeps_owners: bool,
    /// `--group`
    pub(crate) keeps_groups: bool,
    /// The length of a checksum in hexadecimal digits, for what has none.
    pub(crate) checksum_width: usize,
    pub(crate) pid: u32,
    pub(crate) zone: TimeZone,
    /// Whom a daemon serves.
    pub(crate) visitor: Option<Visitor>,
}

/// A daemon's client, and the module that it has come for.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The client's name (`%h`).
    pub host: Vec<u8>,
    /// Its address (`%a`).
    pub address: Vec<u8>,
    /// The user it has proved to be; empty if nobody asked (`%u`).
    pub user: Vec<u8>,
    /// The module (`%m`).
    pub module: Vec<u8>,
    /// The module's path (`%P`).
    pub path: Vec<u8>,
    /// The directory in the module that the client writes to, without slashes at its ends.
    pub inside: Vec<u8>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Item(&'a Itemized<'a>),
    Deleted { path: &'a [u8], is_dir: bool },
}

impl Format {
    pub(crate) fn parse(text: &[u8]) -> Self {
        let (mut pieces, mut plain) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            match escape(rest) {
                Some((Piece::Text(text), length)) => {
                    plain.extend(text);
                    rest = &rest[length..];
                }
                Some((piece, length)) => {
                    pieces.extend(
                        (!plain.is_empty()).then(|| Piece::Text(std::mem::take(&mut plain))),
                    );
                    pieces.push(piece);
                    rest = &rest[length..];
                }
                None => {
                    plain.push(byte);
                    rest = &rest[1..];
                }
            }
        }
        pieces.extend((!plain.is_empty()).then_some(Piece::Text(plain)));
        Self { pieces }
    }

    /// Whether any of these letters is in the format.
    pub(crate) fn has_any(&self, letters: &[u8]) -> bool {
        let is_one = |piece: &Piece| matches!(piece, Piece::Escape { letter, .. } if letters.contains(letter));
        self.pieces.iter().any(is_one)
    }

    /// The line, without its end.
    pub(crate) fn render(&self, subject: Subject<'_>, facts: &Facts, now: Timestamp) -> Vec<u8> {
        let mut line = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text),
                Piece::Escape {
                    letter,
                    is_left,
                    width,
                    human,
                    text,
                } => match value(*letter, Human(*human), subject, facts, now) {
                    Some(value) => pad(&mut line, &value, *width, *is_left),
                    None => line.extend_from_slice(text),
                },
            }
        }
        line
    }
}

/// Reads the escape at the start: the piece, and its length in the format.
fn escape(rest: &[u8]) -> Option<(Piece, usize)> {
    let mut at = 1;
    if rest.first() != Some(&b'%') {
        return None;
    }
    if rest.get(1) == Some(&b'%') {
        return Some((Piece::Text(b"%".to_vec()), 2));
    }
    let mut human = 0;
    let mut apostrophes = |at: &mut usize| {
        while rest.get(*at) == Some(&b'\'') {
            human += 1;
            *at += 1;
        }
    };
    apostrophes(&mut at);
    let is_left = rest.get(at) == Some(&b'-');
    at += usize::from(is_left);
    let digits = rest[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let width = std::str::from_utf8(&rest[at..at + digits])
        .ok()
        .and_then(|digits| digits.parse().ok());
    at += digits;
    apostrophes(&mut at);
    let letter = *rest.get(at).filter(|byte| byte.is_ascii_alphabetic())?;
    let width = width.filter(|&width| width <= WIDTH_MAX).unwrap_or(0);
    Some((
        Piece::Escape {
            letter,
            is_left,
            width,
            human,
            text: rest[..=at].to_vec(),
        },
        at + 1,
    ))
}

fn pad(line: &mut Vec<u8>, value: &[u8], width: usize, is_left: bool) {
    let blanks = std::iter::repeat_n(b' ', width.saturating_sub(value.len()));
    if is_left {
        line.extend_from_slice(value);
        line.extend(blanks);
    } else {
        line.extend(blanks);
        line.extend_from_slice(value);
    }
}

/// What the letter stands for; `None` if nothing is known here.
fn value(
    letter: u8,
    human: Human,
    subject: Subject<'_>,
    facts: &Facts,
    now: Timestamp,
) -> Option<Vec<u8>> {
    let time = |at: Timestamp, format: &str| {
        at.to_zoned(facts.zone.clone())
            .strftime(format)
            .to_string()
            .into_bytes()
    };
    let visitor = facts.visitor.as_ref();
    match (letter, visitor) {
        (b'h', Some(visitor)) => return Some(visitor.host.clone()),
        (b'a', Some(visitor)) => return Some(visitor.address.clone()),
        (b'u', Some(visitor)) => return Some(visitor.user.clone()),
        (b'P', Some(visitor)) => return Some(visitor.path.clone()),
        (b'm', Some(visitor)) => return Some(visitor.module.clone()),
        _ => {}
    }
    match letter {
        b'm' => return Some(Vec::new()),
        b'p' => return Some(facts.pid.to_string().into_bytes()),
        b't' => return Some(time(now, DATE_TIME)),
        _ => {}
    }
    let item = match subject {
        Subject::Item(item) => item,
        Subject::Deleted { path, is_dir } => {
            let epoch = || time(Timestamp::UNIX_EPOCH, MTIME);
            return deleted(letter, path, is_dir, facts, epoch);
        }
    };
    let entry = &item.entry;
    let text = match letter {
        b'b' => human.bytes(item.bytes),
        b'B' => permissions(entry.mode),
        b'c' => human.bytes(item.sum_bytes),
        b'C' => match item.checksum {
            Some(sum) => sum.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => " ".repeat(facts.checksum_width),
        },
        b'f' => return Some(full_path(entry, visitor)),
        b'G' if facts.keeps_groups => entry.gid.to_string(),
        b'G' => "DEFAULT".to_owned(),
        b'i' => itemize(item, facts.keeps_times, facts.has_flags),
        b'l' => human.bytes(entry.size),
        b'L' => return Some(leads_to(item)),
        b'M' => match Timestamp::from_second(entry.mtime) {
            Ok(at) => return Some(time(at, MTIME)),
            Err(_) => super::listing::OUT_OF_RANGE.to_owned(),
        },
        b'n' => return Some(with_slash(entry.path, is_dir(entry.mode))),
        b'o' => (if facts.sends { "send" } else { "recv" }).to_owned(),
        b'U' => (if facts.keeps_owners { entry.uid } else { 0 }).to_string(),
        _ => return None,
    };
    Some(text.into_bytes())
}

const DATE_TIME: &str = "%Y/%m/%d %H:%M:%S";

const MTIME: &str = "%Y/%m/%d-%H:%M:%S";

/// Of what is gone only the name is known: the rest reads like an entry of zeros.
fn deleted(
    letter: u8,
    path: &[u8],
    is_dir: bool,
    facts: &Facts,
    epoch: impl FnOnce() -> Vec<u8>,
) -> Option<Vec<u8>> {
    match letter {
        b'B' => Some(permissions(0).into_bytes()),
        b'C' => Some(vec![b' '; facts.checksum_width]),
        b'G' if !facts.keeps_groups => Some(b"DEFAULT".to_vec()),
        b'G' | b'U' => Some(b"0".to_vec()),
        b'M' => Some(epoch()),
        b'i' => Some(DELETED.as_bytes().to_vec()),
        b'o' => Some(b"del.".to_vec()),
        b'n' => Some(with_slash(path, is_dir)),
        b'f' => Some(path.to_vec()),
        b'L' => Some(Vec::new()),
        b'l' | b'b' | b'c' => Some(b"0".to_vec()),
        _ => None,
    }
}

/// ` -> TARGET` of a symbolic link, ` => NAME` of a hard link.
pub(crate) fn leads_to(item: &Itemized<'_>) -> Vec<u8> {
    match (item.link, item.entry.target) {
        (Some(name), _) => [b" => ", name].concat(),
        (None, Some(target)) if item.entry.mode & 0o170_000 == 0o120_000 => {
            [b" -> ", target].concat()
        }
        _ => Vec::new(),
    }
}

pub(crate) fn is_dir(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// A directory's name ends in a slash.
pub(crate) fn with_slash(path: &[u8], is_dir: bool) -> Vec<u8> {
    let slash: &[u8] = if is_dir { b"/" } else { b"" };
    [path, slash].concat()
}

/// The name with the directory that the sender has it in, without a slash at the start.
fn full_path(entry: &EntryView<'_>, visitor: Option<&Visitor>) -> Vec<u8> {
    let whole = match entry.source {
        Some(source) if !matches!(source.as_os_str().as_bytes(), b"" | b".") => {
            [source.as_os_str().as_bytes(), b"/", entry.path].concat()
        }
        _ => match visitor.filter(|visitor| !visitor.inside.is_empty()) {
            Some(visitor) => [&visitor.inside, &b"/"[..], entry.path].concat(),
            None => entry.path.to_vec(),
        },
    };
    let start = whole.iter().take_while(|&&byte| byte == b'/').count();
    whole[start..].to_vec()
}

/// `rwxr-xr-x`, with the set-id and sticky bits in their places.
pub(crate) fn permissions(mode: u32) -> String {
    let mut text: Vec<char> = "rwxrwxrwx"
        .chars()
        .enumerate()
        .map(|(at, c)| if mode >> (8 - at) & 1 == 1 { c } else { '-' })
        .collect();
    for (bit, at, letter) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            text[at] = if text[at] == 'x' {
                letter
            } else {
                letter.to_ascii_uppercase()
            };
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wire::ItemFlags;

    use super::super::itemize::tests::item;
    use super::*;

    fn facts() -> Facts {
        Facts {
            sends: true,
            keeps_times: true,
            has_flags: true,
            keeps_owners: true,
            keeps_groups: true,
            checksum_width: 32,
            pid: 42,
            zone: TimeZone::UTC,
            visitor: None,
        }
    }

    fn rendered(format: &str, subject: Subject<'_>) -> String {
        let now = Timestamp::from_second(1_000_000_000).expect("in range");
        String::from_utf8(Format::parse(format.as_bytes()).render(subject, &facts(), now))
            .expect("text")
    }

    #[test]
    fn a_line_with_everything() {
        let mut item = item(b"d/b", 0o100_600, ItemFlags::TRANSFER | ItemFlags::IS_NEW);
        item.entry.source = Some(Path::new("s"));
        (item.entry.size, item.bytes, item.sum_bytes) = (5000, 5043, 16);
        item.checksum = Some(&[0xc4, 0x0b]);
        item.direction = transfer::Direction::Sent;
        assert_eq!(
            rendered(
                "%o %i %n%L %l %b %c %C %f %M %B %U %G",
                Subject::Item(&item)
            ),
            "send <f+++++++++ d/b 5000 5043 16 c40b s/d/b 2001/09/09-01:46:40 rw------- 0 0"
        );
        assert_eq!(
            rendered(
                "%p %t %h %a %m %P %u|%10l|%-10l|%'l|%''l|%%|%z|%",
                Subject::Item(&item)
            ),
            "42 2001/09/09 01:46:40 %h %a  %P %u|      5000|5000      |5,000|5.00K|%|%z|%"
        );
    }

    #[test]
    fn kinds_of_items() {
        let dir = item(b"d", 0o040_755, ItemFlags::LOCAL_CHANGE | ItemFlags::IS_NEW);
        assert_eq!(
            rendered("%i %n%L|%C|", Subject::Item(&dir)),
            format!("cd+++++++++ d/|{}|", " ".repeat(32))
        );
        let mut link = item(b"l", 0o120_777, ItemFlags::LOCAL_CHANGE | ItemFlags::IS_NEW);
        link.entry.target = Some(b"a");
        assert_eq!(rendered("%n%L", Subject::Item(&link)), "l -> a");
        let mut hard = item(
            b"y",
            0o100_644,
            ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS,
        );
        hard.link = Some(b"x");
        assert_eq!(
            rendered("%i %n%L", Subject::Item(&hard)),
            "hf          y => x"
        );
        let gone = Subject::Deleted {
            path: b"x",
            is_dir: true,
        };
        assert_eq!(rendered("%i %n%L", gone), "*deleting   x/");
        assert_eq!(rendered("%o_%n", gone), "del._x/");
    }

    #[test]
    fn permissions_with_special_bits() {
        for (mode, text) in [
            (0o644, "rw-r--r--"),
            (0o4755, "rwsr-xr-x"),
            (0o6644, "rwSr-Sr--"),
            (0o1777, "rwxrwxrwt"),
        ] {
            assert_eq!(permissions(mode), text);
        }
    }
}
