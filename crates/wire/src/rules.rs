//! The filter list: rules as text, which the client sends first of all (wire-session.md 6.1).

use crate::{Cursor, Malformed, Stop, Unsendable, put_int};

/// The longest rule's text, in bytes, with its prefix.
pub const RULE_MAX: usize = 5119;

/// Appends one rule.
///
/// # Errors
/// [`Unsendable`], and nothing is appended: an empty text, one above [`RULE_MAX`], or one with a NUL.
pub fn put_rule(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Unsendable> {
    if text.is_empty() || text.len() > RULE_MAX || text.contains(&0) {
        return Err(Unsendable::new(text));
    }
    put_int(out, text.len() as i32);
    out.extend_from_slice(text);
    Ok(())
}

/// Appends the end of the list.
pub fn put_rules_end(out: &mut Vec<u8>) {
    put_int(out, 0);
}

/// Reads a filter list rule by rule.
#[derive(Debug, Clone, Default)]
pub struct RuleReader {
    /// What the rules so far cost to keep, in bytes.
    weight: usize,
}

impl RuleReader {
    /// The reader for a list's start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next rule's text, `None` at the end of the list.
    ///
    /// # Errors
    /// [`Stop::Incomplete`], or [`Malformed::RuleList`] for a length outside 1 to [`RULE_MAX`], for a text with
    /// a NUL, and for a list that exceeds every sensible size.
    pub fn read<'a>(&mut self, cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Stop> {
        let mut ahead = cursor.clone();
        let length = match ahead.int()? {
            0 => {
                *cursor = ahead;
                return Ok(None);
            }
            length => usize::try_from(length)
                .ok()
                .filter(|&length| length <= RULE_MAX),
        };
        let length = length.ok_or(Malformed::RuleList)?;
        let weight = self.weight + length + RULE_OVERHEAD;
        if weight > LIST_WEIGHT_MAX {
            return Err(Malformed::RuleList.into());
        }
        let text = ahead.take(length)?;
        if text.contains(&0) {
            return Err(Malformed::RuleList.into());
        }
        self.weight = weight;
        *cursor = ahead;
        Ok(Some(text))
    }
}

/// A bound for what a client can make a server keep; rsync has none. It leaves room for some hundred
/// thousand rules.
const LIST_WEIGHT_MAX: usize = 64 << 20;
const RULE_OVERHEAD: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_list() {
        let mut bytes = Vec::new();
        for rule in ["- *.o", "+ *.c", "-r keep", ": .rsf"] {
            put_rule(&mut bytes, rule.as_bytes()).expect("sendable");
        }
        put_rules_end(&mut bytes);
        let captured = b"\x05\0\0\0- *.o\x05\0\0\0+ *.c\x07\0\0\0-r keep\x06\0\0\0: .rsf\0\0\0\0";
        assert_eq!(bytes, captured);

        let mut reader = RuleReader::new();
        let mut cursor = Cursor::new(&bytes);
        for rule in ["- *.o", "+ *.c", "-r keep", ": .rsf"] {
            assert_eq!(reader.read(&mut cursor), Ok(Some(rule.as_bytes())));
        }
        assert_eq!(reader.read(&mut cursor), Ok(None));
        assert!(cursor.rest().is_empty());
    }

    #[test]
    fn lengths_are_bounded_before_the_text_is_awaited() {
        let read = |length: i32| {
            RuleReader::new()
                .read(&mut Cursor::new(&length.to_le_bytes()))
                .err()
        };
        assert_eq!(read(5119), Some(Stop::Incomplete));
        for length in [5120, -1, i32::MIN, i32::MAX] {
            assert_eq!(read(length), Some(Malformed::RuleList.into()));
        }
    }

    #[test]
    fn an_endless_list_is_refused() {
        let mut rule = Vec::new();
        put_rule(&mut rule, &[b'x'; RULE_MAX]).expect("sendable");
        let mut reader = RuleReader::new();
        let refused = (0..20_000).find_map(|_| reader.read(&mut Cursor::new(&rule)).err());
        assert_eq!(refused, Some(Malformed::RuleList.into()));
    }

    #[test]
    fn rules_that_cannot_be_sent_write_nothing() {
        let mut out = Vec::new();
        assert!(put_rule(&mut out, b"").is_err());
        assert!(put_rule(&mut out, b"- a\0b").is_err());
        assert!(put_rule(&mut out, &[b'x'; RULE_MAX + 1]).is_err());
        assert_eq!(out, b"");
    }
}
