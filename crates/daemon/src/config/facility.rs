//! Facilities of syslog.

/// What kind of program a message for syslog is from: its number as in RFC 5424, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// The facility of daemons, the default.
    pub const DAEMON: Self = Self(3);

    /// The facility of a name, in any case, or of a positive number as `<syslog.h>` defines them (eight times ours).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let named = NAMES
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
        if let Some(&(_, number)) = named {
            return Some(Self(number));
        }
        let number: u16 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let number = u8::try_from(number / 8).ok()?;
        (1..24).contains(&number).then_some(Self(number))
    }

    /// The priority of a message of this facility: what stands between `<` and `>`.
    #[must_use]
    pub fn priority(self, severity: u8) -> u8 {
        self.0 * 8 + severity % 8
    }
}

const NAMES: &[(&str, u8)] = &[
    ("auth", 4),
    ("authpriv", 10),
    ("cron", 9),
    ("daemon", 3),
    ("ftp", 11),
    ("kern", 0),
    ("lpr", 6),
    ("mail", 2),
    ("news", 7),
    ("security", 4),
    ("syslog", 5),
    ("user", 1),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(Facility::parse(b"LOCAL5"), Some(Facility(21)));
        assert_eq!(Facility::parse(b"24"), Some(Facility::DAEMON));
        for text in ["local9", "", "-8", "0", "4000", "24x"] {
            assert_eq!(Facility::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Facility::DAEMON.priority(6), 30);
    }
}
