//! The text of foreign configuration files, whatever they are written in.

use encoding_rs::{Encoding, GB18030};

/// How far into a file its own word about its encoding is looked for, in bytes.
const DECLARED_WITHIN: usize = 200;

/// A file's text, and what the operator should know of how it was read.
///
/// UTF-8 is taken as it is, whatever the file says of itself: sersync's own example declares ISO-8859-1 and never was that. A
/// byte order mark comes next, then what is declared, then the encoding of most of these files, GB18030 (which GBK and
/// GB2312 are parts of).
#[must_use]
pub fn foreign_text(bytes: &[u8]) -> (String, Option<String>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.trim_start_matches('\u{feff}').to_owned(), None);
    }
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None => declared(bytes).unwrap_or(GB18030),
    };
    let (text, encoding, is_damaged) = encoding.decode(bytes);
    let damage = match is_damaged {
        true => ", and some of it means nothing there",
        false => "",
    };
    let note = format!(
        "the file is not UTF-8 and was read as {}{damage}: names in it are taken for their UTF-8 form",
        encoding.name()
    );
    (text.into_owned(), Some(note))
}

/// What a file declares, unless it is what files declare that do not know.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARED_WITHIN)]).into_owned();
    let (_, after) = begin.split_once("encoding=")?;
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let label = after[1..].split(quote).next()?;
    let is_a_guess = |encoding: &&Encoding| {
        *encoding == encoding_rs::UTF_8 || *encoding == encoding_rs::WINDOWS_1252
    };
    Encoding::for_label(label.as_bytes()).filter(|encoding| !is_a_guess(encoding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_in_use() {
        let chinese = "<!-- \u{540c}\u{6b65}\u{76ee}\u{5f55} -->";
        assert_eq!(foreign_text(chinese.as_bytes()), (chinese.to_owned(), None));
        let marked = format!("\u{feff}{chinese}");
        assert_eq!(foreign_text(marked.as_bytes()).0, chinese);
        for declaration in [
            "",
            "<?xml version=\"1.0\" encoding=\"GBK\"?>",
            "<?xml version='1.0' encoding='gb2312'?>",
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        ] {
            let text = format!("{declaration}{chinese}");
            let (bytes, _, _) = encoding_rs::GBK.encode(&text);
            let (read, note) = foreign_text(&bytes);
            assert_eq!(read, text);
            assert!(note.unwrap().to_lowercase().contains("was read as gb"));
        }
        // Big5 has the traditional signs only.
        let text = "<?xml version=\"1.0\" encoding=\"Big5\"?><!-- \u{540c}\u{6b65} -->";
        let (bytes, _, _) = encoding_rs::BIG5.encode(text);
        assert_eq!(foreign_text(&bytes).0, text);
        let wide: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(chinese.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(foreign_text(&wide).0, chinese);
        assert!(
            foreign_text(b"<a>\xff\xff</a>")
                .1
                .unwrap()
                .contains("means nothing")
        );
    }
}
