//! Argument lists that travel as data: a daemon's (wire-session.md 7.8), and the secluded block that keeps
//! arguments away from the remote shell (2.5).

use crate::{Cursor, Malformed, Protocol, Unsendable};

/// Appends a daemon's argument list.
///
/// # Errors
/// [`Unsendable`], and nothing is appended: an empty word, or one with the byte that ends words.
pub fn put_arguments<W: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    protocol: Protocol,
    words: &[W],
) -> Result<(), Unsendable> {
    let end = word_end(protocol);
    let unsendable = |word: &&[u8]| word.is_empty() || word.contains(&end) || word.contains(&0);
    if let Some(word) = words.iter().map(AsRef::as_ref).find(unsendable) {
        return Err(Unsendable::new(word));
    }
    put_words(out, end, words);
    Ok(())
}

/// Appends a secluded block. An empty word is sent as `.`, as rsync does.
///
/// # Errors
/// [`Unsendable`], and nothing is appended: a word with a NUL.
pub fn put_secluded<W: AsRef<[u8]>>(out: &mut Vec<u8>, words: &[W]) -> Result<(), Unsendable> {
    let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    if let Some(word) = words.iter().find(|word| word.contains(&0)) {
        return Err(Unsendable::new(word));
    }
    out.extend_from_slice(b"rsync\0");
    let visible = |word: &[u8]| {
        if word.is_empty() {
            b".".to_vec()
        } else {
            word.to_vec()
        }
    };
    put_words(out, 0, &words.into_iter().map(visible).collect::<Vec<_>>());
    Ok(())
}

/// Reads an argument list as its bytes arrive.
#[derive(Debug, Clone)]
pub struct ArgumentReader {
    end: u8,
    word_max: usize,
    has_program: bool,
    words: Vec<Vec<u8>>,
    word: Vec<u8>,
    total: usize,
}

impl ArgumentReader {
    /// For the first list that a daemon gets.
    #[must_use]
    pub fn daemon(protocol: Protocol) -> Self {
        Self::new(word_end(protocol), DAEMON_WORD_MAX, false)
    }

    /// For the secluded block of a daemon.
    #[must_use]
    pub fn daemon_secluded() -> Self {
        Self::new(0, DAEMON_WORD_MAX, true)
    }

    /// For the secluded block of a server behind a remote shell.
    #[must_use]
    pub fn shell_secluded() -> Self {
        Self::new(0, SHELL_WORD_MAX, true)
    }

    /// Consumes what there is of the list, and nothing behind it. The words are complete when they are returned.
    /// Over-long words are cut, as rsync cuts them.
    ///
    /// # Errors
    /// [`Malformed::TooManyArguments`], or [`Malformed::NulInLine`] in a list of lines.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Vec<Vec<u8>>>, Malformed> {
        while let Ok(byte) = cursor.byte() {
            match byte {
                _ if byte == self.end => {
                    if self.word.is_empty() {
                        return Ok(Some(self.finish()));
                    }
                    if self.words.len() == WORDS_MAX {
                        return Err(Malformed::TooManyArguments);
                    }
                    self.words.push(std::mem::take(&mut self.word));
                }
                0 => return Err(Malformed::NulInLine),
                b'\r' if self.end == b'\n' => {}
                _ if self.total == TOTAL_MAX => return Err(Malformed::TooManyArguments),
                // What is cut counts too: a word without end must not be read for ever.
                _ if self.word.len() == self.word_max => self.total += 1,
                _ => {
                    self.word.push(byte);
                    self.total += 1;
                }
            }
        }
        Ok(None)
    }

    fn new(end: u8, word_max: usize, has_program: bool) -> Self {
        Self {
            end,
            word_max,
            has_program,
            words: Vec::new(),
            word: Vec::new(),
            total: 0,
        }
    }

    /// Hands out the words and is ready for another list.
    fn finish(&mut self) -> Vec<Vec<u8>> {
        let mut words = std::mem::take(&mut self.words);
        self.total = 0;
        if self.has_program && !words.is_empty() {
            words.remove(0);
        }
        words
    }
}

fn word_end(protocol: Protocol) -> u8 {
    if protocol.has_nul_arguments() {
        0
    } else {
        b'\n'
    }
}

fn put_words<W: AsRef<[u8]>>(out: &mut Vec<u8>, end: u8, words: &[W]) {
    for word in words {
        out.extend_from_slice(word.as_ref());
        out.push(end);
    }
    out.push(end);
}

/// The longest words, in bytes (wire-session.md 2.8).
const DAEMON_WORD_MAX: usize = 5119;
const SHELL_WORD_MAX: usize = 4095;
const WORDS_MAX: usize = 15_999;
/// The longest list, in bytes. rsync has no such limit; without one, a list of longest words is 80 MB.
const TOTAL_MAX: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut reader: ArgumentReader, bytes: &[u8]) -> Result<Option<Vec<String>>, Malformed> {
        let words = reader.read(&mut Cursor::new(bytes))?;
        Ok(words.map(|words| {
            words
                .into_iter()
                .map(|w| String::from_utf8(w).expect("ASCII"))
                .collect()
        }))
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    const OLD: fn() -> Protocol = || Protocol::new(29).expect("supported");

    #[test]
    fn captured_daemon_lists() {
        let words = [
            "--server",
            "--sender",
            "-logDtpre.iLsfxCIvu",
            ".",
            "plain/a b",
            "plain/*.txt",
        ];
        let bytes = b"--server\0--sender\0-logDtpre.iLsfxCIvu\0.\0plain/a b\0plain/*.txt\0\0";
        let mut out = Vec::new();
        put_arguments(&mut out, Protocol::LATEST, &words).expect("sendable");
        assert_eq!(out, bytes);
        assert_eq!(
            read(ArgumentReader::daemon(Protocol::LATEST), bytes),
            Ok(Some(owned(&words)))
        );

        let words = ["--server", "--sender", "-logDtpr", ".", "plain/a.txt"];
        let bytes = b"--server\n--sender\n-logDtpr\n.\nplain/a.txt\n\n";
        let mut out = Vec::new();
        put_arguments(&mut out, OLD(), &words).expect("sendable");
        assert_eq!(out, bytes);
        assert_eq!(
            read(ArgumentReader::daemon(OLD()), bytes),
            Ok(Some(owned(&words)))
        );
    }

    #[test]
    fn a_captured_secluded_block() {
        let bytes = b"rsync\0.\0/src/ a*\0/src/\0\0";
        let words = [".", "/src/ a*", "/src/"];
        let mut out = Vec::new();
        put_secluded(&mut out, &words).expect("sendable");
        assert_eq!(out, bytes);
        assert_eq!(
            read(ArgumentReader::shell_secluded(), bytes),
            Ok(Some(owned(&words)))
        );
    }

    #[test]
    fn what_follows_the_list_is_left_alone() {
        let bytes = b"a\0b\0\0\x20\0\0\0";
        let mut reader = ArgumentReader::daemon(Protocol::LATEST);
        for end in 0..5 {
            assert_eq!(
                reader.read(&mut Cursor::new(&bytes[end..=end])),
                Ok(if end == 4 {
                    Some(vec![b"a".to_vec(), b"b".to_vec()])
                } else {
                    None
                })
            );
        }
        let mut cursor = Cursor::new(bytes);
        assert!(reader.read(&mut cursor).is_ok_and(|words| words.is_some()));
        assert_eq!(cursor.rest(), b"\x20\0\0\0");
    }

    #[test]
    fn words_that_would_end_early_are_refused() {
        let mut out = Vec::new();
        assert!(put_arguments(&mut out, OLD(), &["a\n--sender"]).is_err());
        assert!(put_arguments(&mut out, Protocol::LATEST, &["a", "", "b"]).is_err());
        assert!(put_secluded(&mut out, &["a\0b"]).is_err());
        assert_eq!(out, b"");
        put_arguments(&mut out, Protocol::LATEST, &["a\nb"]).expect("only NUL ends words");
        assert_eq!(out, b"a\nb\0\0");
    }

    #[test]
    fn an_empty_secluded_word_is_a_dot() {
        let mut out = Vec::new();
        put_secluded(&mut out, &["", "x"]).expect("sendable");
        assert_eq!(out, b"rsync\0.\0x\0\0");
    }

    #[test]
    fn hostile_lists_are_bounded() {
        let mut reader = ArgumentReader::daemon(Protocol::LATEST);
        let many = b"a\0".repeat(WORDS_MAX + 1);
        assert_eq!(
            reader.read(&mut Cursor::new(&many)),
            Err(Malformed::TooManyArguments)
        );

        let mut reader = ArgumentReader::daemon(Protocol::LATEST);
        let mut long = vec![b'x'; DAEMON_WORD_MAX + 100];
        long.extend_from_slice(b"\0\0");
        assert_eq!(
            reader.read(&mut Cursor::new(&long)),
            Ok(Some(vec![vec![b'x'; DAEMON_WORD_MAX]]))
        );

        let mut word = vec![b'x'; DAEMON_WORD_MAX];
        word.push(0);
        let heavy = word.repeat(TOTAL_MAX / DAEMON_WORD_MAX + 1);
        assert_eq!(
            reader.read(&mut Cursor::new(&heavy)),
            Err(Malformed::TooManyArguments)
        );

        assert_eq!(
            read(ArgumentReader::daemon(OLD()), b"a\0b\n\n"),
            Err(Malformed::NulInLine)
        );
    }
}
