//! One event as one line: the default form, CSV, or a format of the user's.

use jiff::Zoned;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};

use crate::tool::events;

/// How events are printed.
pub(super) enum Style {
    /// `%w %,e %f`
    Plain,
    Csv,
    Format {
        pieces: Vec<Piece>,
        newline: bool,
        time_format: Option<Vec<u8>>,
    },
}

/// A part of a format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Watched,
    Name,
    /// Event names with this between them.
    Events(Vec<u8>),
    Time,
    Cookie,
}

/// What is printed.
pub(super) struct Line<'a> {
    /// The watched path.
    pub(super) watched: &'a [u8],
    /// The entry in it; empty for the watched object itself.
    pub(super) name: &'a [u8],
    pub(super) mask: u32,
    pub(super) cookie: u32,
}

impl Style {
    pub(super) fn new(
        csv: bool,
        format: Option<Vec<u8>>,
        newline: bool,
        time_format: Option<Vec<u8>>,
    ) -> Style {
        match format {
            None if csv => Style::Csv,
            None => Style::Plain,
            Some(format) => {
                // Without a newline, a lone percent sign at the end loses the line (watch.md 4.2).
                let lost = !newline && ends_in_lone_percent(&format);
                let pieces = if lost {
                    vec![Piece::Text(Vec::new())]
                } else {
                    parse(&format)
                };
                Style::Format {
                    pieces,
                    newline,
                    time_format,
                }
            }
        }
    }

    /// Whether it would never print anything.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Style::Format { pieces, newline: false, .. } if pieces.is_empty())
    }

    /// Appends the event.
    pub(super) fn print(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        match self {
            Style::Plain => {
                out.extend_from_slice(line.watched);
                out.push(b' ');
                out.extend(events::names(line.mask, b","));
                out.push(b' ');
                out.extend_from_slice(line.name);
                out.push(b'\n');
            }
            Style::Csv => {
                csv_field(line.watched, out);
                out.push(b',');
                csv_field(&events::names(line.mask, b","), out);
                out.push(b',');
                csv_field(line.name, out);
                out.push(b'\n');
            }
            Style::Format {
                pieces,
                newline,
                time_format,
            } => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text),
                        Piece::Watched => out.extend_from_slice(line.watched),
                        Piece::Name => out.extend_from_slice(line.name),
                        Piece::Events(separator) => {
                            out.extend(events::names(line.mask, separator));
                        }
                        Piece::Time => out.extend(now(time_format.as_deref().unwrap_or_default())),
                        Piece::Cookie => out.extend(format!("{:x}", line.cookie).bytes()),
                    }
                }
                if *newline {
                    out.push(b'\n');
                }
            }
        }
    }
}

/// Characters that mean something by themselves, and so cannot separate event names.
const CONVERSIONS: &[u8] = b"%0nwfceT";

fn parse(format: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let piece = match (byte, rest) {
            (b'%', [b'w', ..]) => Piece::Watched,
            (b'%', [b'f', ..]) => Piece::Name,
            (b'%', [b'e', ..]) => Piece::Events(b",".to_vec()),
            (b'%', [b'T', ..]) => Piece::Time,
            (b'%', [b'c', ..]) => Piece::Cookie,
            (b'%', [separator, b'e', ..]) if !CONVERSIONS.contains(separator) => {
                rest = &rest[1..];
                Piece::Events(vec![*separator])
            }
            (b'%', [b'%', ..]) => Piece::Text(b"%".to_vec()),
            (b'%', [b'0', ..]) => Piece::Text(b"\0".to_vec()),
            (b'%', [b'n', ..]) => Piece::Text(b"\n".to_vec()),
            _ => {
                text.push(byte);
                continue;
            }
        };
        rest = &rest[1..];
        if let Piece::Text(more) = piece {
            text.extend(more);
            continue;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

fn ends_in_lone_percent(format: &[u8]) -> bool {
    let percents = format.iter().rev().take_while(|&&byte| byte == b'%');
    percents.count() % 2 == 1
}

fn csv_field(field: &[u8], out: &mut Vec<u8>) {
    let special = |&byte: &u8| matches!(byte, b'"' | b',' | b'\n');
    let quoted = field.iter().any(special) || field.starts_with(b" ") || field.ends_with(b" ");
    if !quoted {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for &byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// The local time as strftime(3) prints it in the C locale.
fn now(format: &[u8]) -> Vec<u8> {
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    let time = BrokenDownTime::from(&Zoned::now());
    match time.to_string_with_config(&config, c_conversions(format)) {
        Ok(text) => text.into_bytes(),
        Err(_) => format.to_vec(),
    }
}

/// Conversions of the C library; jiff has more, which must stay as they are.
const TIME_CONVERSIONS: &[u8] = b"%aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ";

/// The format with everything escaped that the C library does not know. The modifiers E and O mean
/// nothing in the C locale.
fn c_conversions(format: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        out.push(byte);
        if byte != b'%' {
            continue;
        }
        let flags = rest
            .iter()
            .take_while(|byte| b"_-0^#123456789".contains(byte))
            .count();
        let modifier = usize::from(rest.get(flags).is_some_and(|byte| b"EO".contains(byte)));
        match rest.get(flags + modifier) {
            Some(conversion) if TIME_CONVERSIONS.contains(conversion) => {
                out.extend_from_slice(&rest[..flags]);
                out.push(*conversion);
                rest = &rest[flags + modifier + 1..];
            }
            _ => out.push(b'%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(style: &Style, mask: u32, name: &str) -> String {
        let line = Line {
            watched: b"d/",
            name: name.as_bytes(),
            mask,
            cookie: 0x2c_171b,
        };
        let mut out = Vec::new();
        style.print(&line, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn format(format: &str, newline: bool) -> Style {
        Style::new(false, Some(format.into()), newline, None)
    }

    #[test]
    fn plain_has_two_spaces_always() {
        assert_eq!(print(&Style::Plain, 0x8, "f"), "d/ CLOSE_WRITE,CLOSE f\n");
        assert_eq!(print(&Style::Plain, 0x20, ""), "d/ OPEN \n");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(print(&Style::Csv, 0x100, "a b"), "d/,CREATE,a b\n");
        assert_eq!(
            print(&Style::Csv, 0x8, "q\"x"),
            "d/,\"CLOSE_WRITE,CLOSE\",\"q\"\"x\"\n"
        );
        assert_eq!(print(&Style::Csv, 0x20, " lead"), "d/,OPEN,\" lead\"\n");
    }

    #[test]
    fn formats_print_what_inotifywait_prints() {
        for (text, expected) in [
            ("%w%f %e", "d/f CLOSE_WRITE,CLOSE\n"),
            ("%|e:%_e", "CLOSE_WRITE|CLOSE:CLOSE_WRITE_CLOSE\n"),
            ("%c %% %%e %z", "2c171b % %e %z\n"),
            ("%0e%ne", "\0e\ne\n"),
            ("100%", "100%\n"),
            ("", "\n"),
            ("文件 %f", "文件 f\n"),
        ] {
            assert_eq!(print(&format(text, true), 0x8, "f"), expected, "{text}");
        }
        assert_eq!(print(&format("%f", false), 0x8, "f"), "f");
        assert_eq!(print(&format("%f%", false), 0x8, "f"), "");
        assert_eq!(print(&format("%f%%", false), 0x8, "f"), "f%");
    }

    #[test]
    fn times_in_the_c_locale() {
        let year = String::from_utf8(now(b"%Y")).unwrap();
        assert!(year.parse::<u32>().is_ok_and(|year| year > 2000));
        for text in ["%! 年", "%N", "%f%L", "100%"] {
            assert_eq!(now(text.as_bytes()), text.as_bytes());
        }
        assert_eq!(now(b"%-EY%%"), [year.as_bytes(), b"%"].concat());
    }
}
