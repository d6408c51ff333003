//! Names in the charset of this side, which travel in UTF-8 (`--iconv`, wire-session.md 6.7).

use encoding_rs::Encoding;

use crate::Error;
use crate::event::Role;
use crate::options::Options;

/// The charset of names on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Ascii,
    /// ISO 8859-1 to the letter; the web, and so the library, takes it for Windows-1252.
    Latin1,
    /// Any other that the library knows, but for those in which a name would hold NULs.
    Other(&'static Encoding),
}

impl Charset {
    /// The charset that the options ask for, if they ask for one.
    ///
    /// # Errors
    /// A name that stands for no charset that we know.
    pub(crate) fn of(options: &Options, we: Role) -> Result<Option<Self>, Error> {
        let name = options.iconv.as_ref().map(|charsets| &charsets.local);
        name.map(|name| Self::named(name, we)).transpose()
    }

    pub(crate) fn named(name: &str, we: Role) -> Result<Self, Error> {
        let known = match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "utf-8" | "utf8" => Some(Self::Utf8),
            "ascii" | "us-ascii" | "ansi-x3.4-1968" | "646" | "c" | "posix" => Some(Self::Ascii),
            "latin1" | "iso-8859-1" | "iso8859-1" | "l1" | "cp819" | "ibm819" => Some(Self::Latin1),
            label => Encoding::for_label_no_replacement(label.as_bytes())
                .filter(|encoding| encoding.is_ascii_compatible())
                .map(Self::Other),
        };
        known.ok_or_else(|| {
            let text = format!("iconv_open(\"UTF-8\", \"{name}\") failed");
            Error::fatal(4, we, text, None)
        })
    }

    /// What the system says of a name that means nothing in this charset, or has characters that it lacks.
    pub(crate) fn fault(self, name: &[u8]) -> &'static str {
        let valid = std::str::from_utf8(name).map_or_else(|error| error.valid_up_to(), str::len);
        let (lead, rest) = name[valid..].split_first().unwrap_or((&0, &[]));
        let length = usize::try_from(lead.leading_ones()).unwrap_or(0);
        let is_cut = (2..=6).contains(&length)
            && rest.len() + 1 < length
            && rest.iter().all(|byte| byte & 0xc0 == 0x80);
        match self == Self::Utf8 && is_cut {
            true => "Invalid argument",
            false => "Invalid or incomplete multibyte or wide character",
        }
    }

    /// A name as it travels; `None` if it is none in this charset.
    pub(crate) fn to_wire(self, name: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => std::str::from_utf8(name).is_ok().then(|| name.to_vec()),
            Self::Ascii => name.is_ascii().then(|| name.to_vec()),
            Self::Latin1 => Some(encoding_rs::mem::decode_latin1(name).as_bytes().to_vec()),
            Self::Other(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(name)
                .map(|text| text.as_bytes().to_vec()),
        }
    }

    /// A name that has come; `None` if this charset lacks a character of it.
    pub(crate) fn to_local(self, name: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(name).ok()?;
        match self {
            Self::Utf8 => Some(name.to_vec()),
            Self::Ascii => text.is_ascii().then(|| name.to_vec()),
            Self::Latin1 => encoding_rs::mem::is_str_latin1(text)
                .then(|| encoding_rs::mem::encode_latin1_lossy(text).to_vec()),
            Self::Other(encoding) => {
                let (bytes, _, lacks_any) = encoding.encode(text);
                (!lacks_any).then(|| bytes.into_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Charset {
        Charset::named(name, Role::Sender).unwrap()
    }

    #[test]
    fn names_travel_in_utf8_and_come_back() {
        for (charset, local, wire) in [
            ("UTF-8", "äö".as_bytes(), "äö"),
            ("latin1", b"\xe4\xf6\x80", "äö\u{80}"),
            ("ISO_8859-1", b"\xe4", "ä"),
            ("koi8-r", b"\xc1", "а"),
            ("ISO-8859-15", b"\xa4", "€"),
            ("shift_jis", b"\x83\x65", "テ"),
            ("ascii", b"a", "a"),
        ] {
            assert_eq!(
                named(charset).to_wire(local).as_deref(),
                Some(wire.as_bytes()),
                "{charset}"
            );
            assert_eq!(
                named(charset).to_local(wire.as_bytes()).as_deref(),
                Some(local),
                "{charset}"
            );
        }
    }

    #[test]
    fn what_a_charset_lacks_is_told() {
        assert_eq!(named("utf8").to_wire(b"\xe4"), None);
        assert_eq!(named("utf8").fault(b"d\xfc"), "Invalid argument");
        assert_ne!(named("utf8").fault(b"\xe4\xf6"), "Invalid argument");
        assert_eq!(named("ascii").to_wire(b"\xe4"), None);
        for charset in ["latin1", "ascii", "koi8-r"] {
            assert_eq!(named(charset).to_local("x€".as_bytes()), None, "{charset}");
        }
        for unknown in ["nosuch", "utf-16le", ""] {
            assert!(Charset::named(unknown, Role::Sender).is_err(), "{unknown}");
        }
    }
}
