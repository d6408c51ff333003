//! What of a message may do something to a terminal or a log is written in octal (behaviour.md 3.10).

/// Which bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// What is a character in a UTF-8 locale.
    Utf8,
    /// ASCII only: the locale knows no other characters.
    Ascii,
    /// High bytes too, whatever they mean (`--8-bit-output`).
    EightBit,
    /// Everything: whoever shows it escapes it.
    All,
    /// For log files: neither the control bytes of ASCII nor those of Latin 1.
    Log,
}

impl Passes {
    /// What a terminal of this locale takes.
    pub(crate) fn of_locale(variables: [Option<&[u8]>; 3]) -> Self {
        let locale = variables
            .into_iter()
            .flatten()
            .find(|value| !value.is_empty())
            .unwrap_or_default();
        let name = locale.to_ascii_lowercase();
        let is_utf8 = [&b"utf-8"[..], b"utf8"]
            .iter()
            .any(|charset| name.windows(charset.len()).any(|at| at == *charset));
        if is_utf8 { Self::Utf8 } else { Self::Ascii }
    }

    /// The message as it may be written. A return at its start belongs to a progress line.
    pub(crate) fn escape(self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len());
        let mut rest = message;
        if let Some(after) = rest.strip_prefix(b"\r") {
            out.push(b'\r');
            rest = after;
        }
        while let Some(&byte) = rest.first() {
            let length = self.passing(rest);
            if length == 0 || (self != Self::All && imitates_escape(rest)) {
                out.extend(format!("\\#{byte:03o}").into_bytes());
                rest = &rest[1..];
            } else {
                out.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
            }
        }
        out
    }

    /// How many bytes at the start pass as one character; 0 if the first does not.
    fn passing(self, rest: &[u8]) -> usize {
        let passes = match rest.first() {
            None => return 0,
            Some(_) if self == Self::All => true,
            Some(b'\t') => true,
            Some(0..0x20) => false,
            Some(0x20..=0x7f) => true,
            Some(&byte @ 0x80..) => match self {
                Self::EightBit | Self::All => true,
                Self::Log => byte >= 0xa0,
                Self::Ascii => false,
                Self::Utf8 => return char_length(rest),
            },
        };
        usize::from(passes)
    }
}

/// The length of the character at the start, or 0.
fn char_length(rest: &[u8]) -> usize {
    let end = rest.len().min(4);
    let valid = match std::str::from_utf8(&rest[..end]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or(0, char::len_utf8)
}

/// A backslash that would read like an escape.
fn imitates_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'\\', b'#', digits @ ..] if digits.len() >= 3 && digits[..3].iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(passes: Passes, text: &[u8]) -> String {
        String::from_utf8_lossy(&passes.escape(text)).into_owned()
    }

    #[test]
    fn what_a_terminal_may_not_see_is_escaped() {
        assert_eq!(
            shown(Passes::Utf8, "d/tab\tnl\nx é".as_bytes()),
            "d/tab\tnl\\#012x é"
        );
        assert_eq!(shown(Passes::Ascii, "é".as_bytes()), "\\#303\\#251");
        assert_eq!(shown(Passes::Utf8, b"\xff\x1b[m\x7f"), "\\#377\\#033[m\x7f");
        assert_eq!(shown(Passes::Ascii, "\u{9b}".as_bytes()), "\\#302\\#233");
        assert_eq!(Passes::EightBit.escape(b"\xff\x01"), b"\xff\\#001");
        assert_eq!(Passes::Log.escape(b"\xe9\x85\x01"), b"\xe9\\#205\\#001");
        assert_eq!(shown(Passes::Utf8, b"a\\#123"), "a\\#134#123");
        assert_eq!(shown(Passes::Utf8, b"a\\#12"), "a\\#12");
        assert_eq!(shown(Passes::Utf8, b"\ra\r"), "\ra\\#015");
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_charset() {
        assert_eq!(
            Passes::of_locale([None, Some(b""), Some(b"en_US.UTF-8")]),
            Passes::Utf8
        );
        assert_eq!(
            Passes::of_locale([Some(b"C"), None, Some(b"en_US.UTF-8")]),
            Passes::Ascii
        );
        assert_eq!(
            Passes::of_locale([None, Some(b"de.utf8"), None]),
            Passes::Utf8
        );
        assert_eq!(Passes::of_locale([None; 3]), Passes::Ascii);
    }
}
