//! Patterns of hosts that match nobody, or nobody who has not been matched before.

use crate::access::{self, Pattern};

/// Which lookups a module permits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookups {
    pub(super) reverse: bool,
    pub(super) forward: bool,
}

impl Lookups {
    pub(super) const REVERSE: Self = Self {
        reverse: true,
        forward: false,
    };
}

/// What is wrong with a list, and whether it matches everybody.
pub(super) fn look(list: &[u8], lookups: Lookups) -> (Vec<String>, bool) {
    let patterns = access::patterns(list);
    let mut findings = Vec::new();
    for (at, pattern) in patterns.iter().enumerate() {
        let text = &pattern.text;
        let before = patterns[..at]
            .iter()
            .find(|earlier| earlier.covers(pattern));
        if let Some(fault) = pattern.fault() {
            findings.push(format!("{fault}: no host matches"));
        } else if let Some(before) = before {
            findings.push(format!(
                "\"{text}\" is never reached: \"{}\" comes first",
                before.text
            ));
        } else if pattern.is_nobody() {
            findings.push(format!(
                "\"{text}\" matches no host: all of its bits count, and \"/0\" is what matches every host"
            ));
        } else if is_beyond(pattern, lookups) {
            findings.push(format!(
                "\"{text}\" matches no host: names are not looked up"
            ));
        }
    }
    (findings, patterns.iter().any(Pattern::is_everyone))
}

/// Whether a pattern is about names that nobody looks up.
fn is_beyond(pattern: &Pattern, lookups: Lookups) -> bool {
    match pattern.name() {
        _ if pattern.is_everyone() => false,
        Some(true) => !lookups.reverse && !lookups.forward,
        Some(false) => !lookups.reverse,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &str, reverse: bool, forward: bool) -> Vec<String> {
        look(list.as_bytes(), Lookups { reverse, forward }).0
    }

    #[test]
    fn patterns_in_vain() {
        for (list, finding) in [
            ("10.0.0.0/8 192.168.0.0/16 a.example *.b @c", None),
            (
                "10.0.0.0/8 10.1.0.0/16",
                Some("\"10.1.0.0/16\" is never reached: \"10.0.0.0/8\" comes first"),
            ),
            (
                "10.0.0.0/8 10.1.2.3",
                Some("\"10.1.2.3\" is never reached: \"10.0.0.0/8\" comes first"),
            ),
            ("10.1.0.0/16 10.0.0.0/8", None),
            (
                "* 10.1.2.3",
                Some("\"10.1.2.3\" is never reached: \"*\" comes first"),
            ),
            (
                "a.example A.example",
                Some("\"a.example\" is never reached: \"a.example\" comes first"),
            ),
            (
                "*.example a.example",
                Some("\"a.example\" is never reached: \"*.example\" comes first"),
            ),
            ("0.0.0.0/0 ::/0", None),
            (
                "0.0.0.0/32",
                Some(
                    "\"0.0.0.0/32\" matches no host: all of its bits count, and \"/0\" is what matches every host",
                ),
            ),
            (
                "10.0.0.0/33",
                Some("malformed mask in 10.0.0.0/33: no host matches"),
            ),
            (
                "foo/8",
                Some("no address before the mask in foo/8: no host matches"),
            ),
        ] {
            assert_eq!(
                found(list, true, true),
                finding.into_iter().collect::<Vec<_>>(),
                "{list}"
            );
        }
    }

    #[test]
    fn names_without_lookups() {
        let beyond = |text: &str| {
            vec![format!(
                "\"{text}\" matches no host: names are not looked up"
            )]
        };
        assert_eq!(found("a.example", false, true), Vec::<String>::new());
        assert_eq!(found("a.example", false, false), beyond("a.example"));
        assert_eq!(found("*.example", false, true), beyond("*.example"));
        assert_eq!(found("* ", false, false), Vec::<String>::new());
        assert!(look(b"10.0.0.1,*", Lookups::REVERSE).1);
    }
}
