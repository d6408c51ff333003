//! Keeping arguments in one piece on their way through a remote shell (wire-session.md 2.6) and into a daemon
//! (2.7 and 2.8).
//!
//! This is only for arguments that a shell or a daemon splits: a secluded block needs none of it but
//! [`guard_dash`].

/// The value of an option for a remote shell: wildcards and everything special stand for themselves.
#[must_use]
pub fn shell_value(value: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(value.len());
    for &byte in value {
        if is_shell_special(byte) || is_wildcard(byte) {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted
}

/// What a tilde at the start of a path means to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tilde {
    /// The remote shell may expand it: in a push, and in a pull whose arguments are trusted.
    Expand,
    /// A pull that checks the names it is sent against its arguments: an expanded tilde would name something else,
    /// unless the part that matters follows later in the path.
    Guard {
        /// Whether `--relative` is in force, which makes all that follows `/./` matter.
        relative: bool,
    },
}

/// A path for a remote shell: it may expand wildcards, and nothing else.
#[must_use]
pub fn shell_path(path: &[u8], tilde: Tilde) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(path.len() + 2);
    if path.starts_with(b"-") {
        quoted.extend_from_slice(b"./");
    }
    if let (true, Tilde::Guard { relative }) = (path.starts_with(b"~"), tilde) {
        let all_matters = relative && !path.windows(3).any(|window| window == b"/./");
        if all_matters || !path.contains(&b'/') {
            quoted.push(b'\\');
        }
    }
    for (at, &byte) in path.iter().enumerate() {
        // The user's own backslash before a wildcard already does what is wanted.
        let escapes_wildcard =
            byte == b'\\' && path.get(at + 1).is_some_and(|&next| is_wildcard(next));
        if is_shell_special(byte) && !escapes_wildcard {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted
}

/// A path that cannot be taken for an option, for lists that no shell splits.
#[must_use]
pub fn guard_dash(path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"-") {
        [b"./", path].concat()
    } else {
        path.to_vec()
    }
}

/// A path `MODULE`, `MODULE/...` or `...` for a daemon's argument list. With `splits` (`--old-args`) the daemon
/// may take a space before another `MODULE/` for the border between two paths.
#[must_use]
pub fn daemon_path(path: &[u8], module: &[u8], splits: bool) -> Vec<u8> {
    if path == module {
        return [module, b"/"].concat();
    }
    let module_slash = [module, b"/"].concat();
    let guarded = match path.strip_prefix(module_slash.as_slice()) {
        // A daemon strips its module before it looks for options, among the paths too.
        Some(inner) if inner.starts_with(b"-") => [&module_slash, b"./".as_slice(), inner].concat(),
        _ => guard_dash(path),
    };
    if splits {
        return guarded;
    }
    let mut written = Vec::with_capacity(guarded.len());
    for (at, &byte) in guarded.iter().enumerate() {
        if byte == b' ' && guarded[at + 1..].starts_with(&module_slash) {
            written.extend_from_slice(b"[ ]");
        } else {
            written.push(byte);
        }
    }
    written
}

/// The word that a client quoted though there is no shell behind a daemon: one level of backslashes
/// less. For each word up to the `.` before the paths.
#[must_use]
pub fn daemon_unquote(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => bytes.next().unwrap_or(b'\\'),
            _ => byte,
        });
    }
    plain
}

fn is_shell_special(byte: u8) -> bool {
    b"!#$&;|<>(){}\"'` \t\n\r\\".contains(&byte)
}

fn is_wildcard(byte: u8) -> bool {
    b"*?[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).expect("ASCII in, ASCII out")
    }

    fn pull(path: &str, relative: bool) -> String {
        text(shell_path(path.as_bytes(), Tilde::Guard { relative }))
    }

    #[test]
    fn paths_are_quoted_as_captured() {
        assert_eq!(pull(r"a b*c$d\e", false), r"a\ b*c\$d\\e");
        assert_eq!(pull("-foo", false), "./-foo");
        assert_eq!(pull("~x/y", false), "~x/y");
        assert_eq!(pull("~z", false), r"\~z");
        assert_eq!(pull("~/x", true), r"\~/x");
        assert_eq!(pull("~/./x", true), "~/./x");
        assert_eq!(text(shell_path(b"~z", Tilde::Expand)), "~z");
        assert_eq!(pull(r"a\*b\c", false), r"a\*b\\c");
        assert_eq!(pull("a\nb`c", false), "a\\\nb\\`c");
    }

    #[test]
    fn values_are_quoted_as_captured() {
        assert_eq!(text(shell_value(b"a b")), r"a\ b");
        assert_eq!(text(shell_value(br".rs\*")), r".rs\\\*");
        assert_eq!(text(shell_value(b"~/b k")), r"~/b\ k");
    }

    #[test]
    fn a_daemons_paths_are_not_split_at_spaces() {
        let path = |path: &str| text(daemon_path(path.as_bytes(), b"plain", false));
        assert_eq!(path("plain"), "plain/");
        assert_eq!(path("plain/x plain/y"), "plain/x[ ]plain/y");
        assert_eq!(path("plain/x plainer/y"), "plain/x plainer/y");
        assert_eq!(path("plain/-x"), "plain/./-x");
        assert_eq!(path("plain/a b"), "plain/a b");
        assert_eq!(
            text(daemon_path(b"plain/x plain/y", b"plain", true)),
            "plain/x plain/y"
        );
        assert_eq!(text(daemon_path(b"-m/x", b"-m", false)), "./-m/x");
    }

    proptest! {
        #[test]
        fn a_daemon_undoes_the_quoting_of_values(value: Vec<u8>) {
            prop_assert_eq!(daemon_unquote(&shell_value(&value)), value);
        }

        /// What a POSIX shell does with a word in which nothing is left unquoted but wildcards.
        #[test]
        fn no_special_byte_stays_bare(path: Vec<u8>) {
            let quoted = shell_path(&path, Tilde::Guard { relative: true });
            let mut bytes = quoted.iter();
            while let Some(&byte) = bytes.next() {
                if byte == b'\\' {
                    prop_assert!(bytes.next().is_some());
                } else {
                    prop_assert!(!is_shell_special(byte));
                }
            }
        }
    }
}
