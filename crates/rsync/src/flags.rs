//! `--info` and `--debug`: words with levels, and what each `-v` turns on (behaviour.md 3.2).

use crate::stop::Stop;

/// One word of `--info` or `--debug`.
#[derive(Debug)]
pub(crate) struct Word {
    /// The word, in capitals.
    pub name: &'static str,
    /// What `--info=help` says of it.
    about: &'static str,
    /// The count of `-v` that turns on level 1, 2, ...
    verbosity: &'static [u32],
    /// Whose messages it controls, for telling a server only what concerns it.
    to_sender: bool,
    to_receiver: bool,
}

/// A table of words and the option it belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Words {
    option: &'static str,
    /// The words, in the order of the help.
    pub words: &'static [Word],
    /// The count of `-v` from which the help lists additions.
    first: u32,
    last: u32,
}

const fn info(
    name: &'static str,
    about: &'static str,
    verbosity: &'static [u32],
    to: (bool, bool),
) -> Word {
    Word {
        name,
        about,
        verbosity,
        to_sender: to.0,
        to_receiver: to.1,
    }
}

const fn debug(name: &'static str, about: &'static str, verbosity: &'static [u32]) -> Word {
    Word {
        name,
        about,
        verbosity,
        to_sender: false,
        to_receiver: false,
    }
}

const NOBODY: (bool, bool) = (false, false);
const SENDER: (bool, bool) = (true, false);
const RECEIVER: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);

/// The words of `--info`.
pub(crate) const INFO: Words = Words {
    option: "--info",
    first: 0,
    last: 2,
    words: &[
        info("BACKUP", "Mention files backed up", &[2], RECEIVER),
        info(
            "COPY",
            "Mention files copied locally on the receiving side",
            &[1],
            RECEIVER,
        ),
        info(
            "DEL",
            "Mention deletions on the receiving side",
            &[1],
            RECEIVER,
        ),
        info(
            "FLIST",
            "Mention file-list receiving/sending (levels 1-2)",
            &[1],
            NOBODY,
        ),
        info(
            "MISC",
            "Mention miscellaneous information (levels 1-2)",
            &[1, 2],
            BOTH,
        ),
        info(
            "MOUNT",
            "Mention mounts that were found or skipped",
            &[2],
            BOTH,
        ),
        info(
            "NAME",
            "Mention 1) updated file/dir names, 2) unchanged names",
            &[1, 2],
            BOTH,
        ),
        info(
            "NONREG",
            "Mention skipped non-regular files (default 1, 0 disables)",
            &[0],
            RECEIVER,
        ),
        info(
            "PROGRESS",
            "Mention 1) per-file progress or 2) total transfer progress",
            &[],
            NOBODY,
        ),
        info(
            "REMOVE",
            "Mention files removed on the sending side",
            &[2],
            SENDER,
        ),
        info(
            "SKIP",
            "Mention files skipped due to transfer overrides (levels 1-2)",
            &[2],
            RECEIVER,
        ),
        info(
            "STATS",
            "Mention statistics at end of run (levels 1-3)",
            &[1],
            BOTH,
        ),
        info("SYMSAFE", "Mention symlinks that are unsafe", &[1], BOTH),
    ],
};

/// The words of `--debug`.
pub(crate) const DEBUG: Words = Words {
    option: "--debug",
    first: 2,
    last: 5,
    words: &[
        debug("ACL", "Debug extra ACL info", &[3]),
        debug("BACKUP", "Debug backup actions (levels 1-2)", &[3]),
        debug("BIND", "Debug socket bind actions", &[2]),
        debug("CHDIR", "Debug when the current directory changes", &[5]),
        debug("CONNECT", "Debug connection events (levels 1-2)", &[2, 3]),
        debug(
            "CMD",
            "Debug commands+options that are issued (levels 1-2)",
            &[2, 4],
        ),
        debug("DEL", "Debug delete actions (levels 1-3)", &[2, 3, 4]),
        debug(
            "DELTASUM",
            "Debug delta-transfer checksumming (levels 1-4)",
            &[2, 3, 4, 5],
        ),
        debug("DUP", "Debug weeding of duplicate names", &[2]),
        debug("EXIT", "Debug exit events (levels 1-3)", &[3, 4]),
        debug("FILTER", "Debug filter actions (levels 1-3)", &[2, 3]),
        debug(
            "FLIST",
            "Debug file-list operations (levels 1-4)",
            &[2, 3, 4, 5],
        ),
        debug("FUZZY", "Debug fuzzy scoring (levels 1-2)", &[3, 5]),
        debug("GENR", "Debug generator functions", &[3]),
        debug("HASH", "Debug hashtable code", &[5]),
        debug("HLINK", "Debug hard-link actions (levels 1-3)", &[5]),
        debug(
            "ICONV",
            "Debug iconv character conversions (levels 1-2)",
            &[2, 4],
        ),
        debug("IO", "Debug I/O routines (levels 1-4)", &[]),
        debug("NSTR", "Debug negotiation strings", &[]),
        debug(
            "OWN",
            "Debug ownership changes in users & groups (levels 1-2)",
            &[3, 4],
        ),
        debug("PROTO", "Debug protocol information", &[4]),
        debug("RECV", "Debug receiver functions", &[3]),
        debug("SEND", "Debug sender functions", &[3]),
        debug(
            "TIME",
            "Debug setting of modified times (levels 1-2)",
            &[3, 4],
        ),
    ],
};

/// Levels above this are taken as this.
const HIGHEST: u8 = 4;

/// The levels that a command line set, word by word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    words: Words,
    said: Vec<Option<u8>>,
    implied: Vec<u8>,
}

impl Levels {
    /// Nothing said yet.
    pub(crate) fn new(words: Words) -> Self {
        Self {
            words,
            said: vec![None; words.words.len()],
            implied: vec![0; words.words.len()],
        }
    }

    /// Reads the value of `--info` or `--debug`. Later items win over earlier ones.
    ///
    /// # Errors
    /// `help` ends the program with the table; an unknown word ends it with code 1, unless `lenient` (a server).
    pub(crate) fn read(&mut self, items: &[u8], lenient: bool) -> Result<(), Stop> {
        for item in items.split(|&b| b == b',').filter(|item| !item.is_empty()) {
            let digits = item.iter().rev().take_while(|b| b.is_ascii_digit()).count();
            let (word, digits) = item.split_at(item.len() - digits);
            let level = match digits {
                [] => 1,
                [digit] => (digit - b'0').min(HIGHEST),
                _ => HIGHEST,
            };
            if word.eq_ignore_ascii_case(b"help") {
                return Err(Stop::Show(self.words.help()));
            } else if word.eq_ignore_ascii_case(b"none") {
                self.said.fill(Some(0));
            } else if word.eq_ignore_ascii_case(b"all") {
                self.said.fill(Some(level));
            } else if let Some(at) = self.words.position(word) {
                self.said[at] = Some(level);
            } else if !lenient {
                let word = String::from_utf8_lossy(word);
                return Err(Stop::syntax(format!(
                    "Unknown {} item: \"{word}\"",
                    self.words.option
                )));
            }
        }
        Ok(())
    }

    /// Raises what `verbosity` counts of `-v` turn on; explicit words keep their level.
    pub(crate) fn imply_verbosity(&mut self, verbosity: u32) {
        for (implied, word) in self.implied.iter_mut().zip(self.words.words) {
            let level = word
                .verbosity
                .iter()
                .filter(|&&from| from <= verbosity)
                .count();
            *implied = (*implied).max(u8::try_from(level).unwrap_or(HIGHEST));
        }
    }

    /// Lowers every word to what `verbosity` counts of `-v` turn on.
    pub(crate) fn cap(&mut self, verbosity: u32) {
        for (said, word) in self.said.iter_mut().zip(self.words.words) {
            let turned_on = word.verbosity.iter().filter(|&&from| from <= verbosity);
            let level = u8::try_from(turned_on.count()).unwrap_or(HIGHEST);
            *said = said.map(|said| said.min(level));
        }
    }

    /// Raises one word as an option like `--stats` does: it gives way to an explicit level.
    pub(crate) fn imply(&mut self, name: &str, level: u8) {
        if let Some(at) = self.words.position(name.as_bytes()) {
            self.implied[at] = self.implied[at].max(level);
        }
    }

    /// The level of a word; 0 for one that does not exist.
    pub(crate) fn level(&self, name: &str) -> u8 {
        self.words
            .position(name.as_bytes())
            .map_or(0, |at| self.said[at].unwrap_or(self.implied[at]))
    }

    /// The value of the option that tells a server the explicit levels that concern its role; `None` if there are none.
    ///
    /// Five words or more of one level are abbreviated to `ALL` when every word has one.
    pub(crate) fn for_server(&self, server_sends: bool) -> Option<String> {
        let concerned: Vec<(&Word, Option<u8>)> = self
            .words
            .words
            .iter()
            .zip(self.said.iter().copied())
            .filter(|(word, _)| {
                if server_sends {
                    word.to_sender
                } else {
                    word.to_receiver
                }
            })
            .collect();
        let most = (0..=HIGHEST)
            .map(|level| {
                (
                    level,
                    concerned
                        .iter()
                        .filter(|(_, said)| *said == Some(level))
                        .count(),
                )
            })
            .rev()
            .max_by_key(|&(_, count)| count)
            .filter(|&(_, count)| {
                count >= ABBREVIATED && concerned.iter().all(|(_, said)| said.is_some())
            })
            .map(|(level, _)| level);
        let all = most.map(|level| match level {
            0 => "NONE".to_owned(),
            level => with_level("ALL", level),
        });
        let single = concerned
            .iter()
            .filter(|(_, said)| said.is_some() && *said != most)
            .filter_map(|(word, said)| said.map(|level| with_level(word.name, level)));
        let items: Vec<String> = all.into_iter().chain(single).collect();
        (!items.is_empty()).then(|| items.join(","))
    }
}

/// So many words of one level are told as `ALL`.
const ABBREVIATED: usize = 5;

fn with_level(word: &str, level: u8) -> String {
    if level == 1 {
        word.to_owned()
    } else {
        format!("{word}{level}")
    }
}

impl Words {
    fn position(&self, word: &[u8]) -> Option<usize> {
        self.words
            .iter()
            .position(|known| known.name.as_bytes().eq_ignore_ascii_case(word))
    }

    /// The text of `--info=help` or `--debug=help`.
    fn help(&self) -> String {
        let option = self.option;
        let mut text =
            "Use OPT or OPT1 for level 1 output, OPT2 for level 2, etc.; OPT0 silences.\n\n"
                .to_owned();
        let line = |name: &str, about: &str| format!("{name:<10} {about}\n");
        for word in self.words {
            text += &line(word.name, word.about);
        }
        text.push('\n');
        text += &line("ALL", &format!("Set all {option} options (e.g. all4)"));
        text += &line(
            "NONE",
            &format!("Silence all {option} options (same as all0)"),
        );
        text += &line("HELP", "Output this help message");
        text += "\nOptions added at each level of verbosity:\n";
        for verbosity in self.first..=self.last {
            let added: Vec<String> = self
                .words
                .iter()
                .filter_map(|word| {
                    let level = word.verbosity.iter().position(|&from| from == verbosity)? + 1;
                    Some(if level == 1 {
                        word.name.to_owned()
                    } else {
                        format!("{}{level}", word.name)
                    })
                })
                .collect();
            text += &format!("{verbosity}) {}\n", added.join(","));
        }
        text
    }
}
