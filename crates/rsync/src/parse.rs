//! From arguments to [`Given`]: the syntax of options, as rsync's option library has it (behaviour.md 1.1).

use std::collections::VecDeque;

use crate::alias::Aliases;
use crate::daemon_options::DaemonGiven;
use crate::exit::Exit;
use crate::given::Given;
use crate::help;
use crate::stop::{Stop, shown};
use crate::table::{self, Opt, Said, Takes};

/// What a command line starts.
#[derive(Debug)]
pub enum Invocation {
    /// A transfer or a listing: the user's end of it, or the server's.
    Transfer(Box<Given>),
    /// A daemon.
    Daemon(Box<DaemonGiven>),
}

/// These, and only these, start the other option table.
const DAEMON_OPTIONS: &[&str] = &["daemon", "config", "dparam", "detach", "no-detach"];

/// Reads a command line without the program's name.
///
/// # Errors
/// What is shown instead of a run: help, or rsync's words about the fault.
pub(crate) fn parse(arguments: &[Vec<u8>], aliases: &Aliases) -> Result<Invocation, Stop> {
    if arguments.is_empty() {
        return Err(Stop::Usage);
    }
    if let [only] = arguments
        && is_only_h(only)
    {
        return Err(Stop::Show(help::usage()));
    }
    let mut reader = Reader::new(arguments, aliases.clone(), Given::nothing());
    if reader.run()? == Mode::Server {
        // Nobody may alias a server's options away, not even those before `--server`.
        let mut given = Given::nothing();
        given.server = true;
        reader = Reader::new(arguments, Aliases::default(), given);
        reader.run()?;
    }
    if reader.is_daemon {
        return DaemonGiven::parse(arguments).map(|given| Invocation::Daemon(Box::new(given)));
    }
    reader.given.words = arguments.to_vec();
    Ok(Invocation::Transfer(Box::new(reader.given)))
}

/// Which option a server refuses when it hears one, by its row and the long name it was spelled with (that of the row for a
/// letter): as [`Opt::shown_as`], but perhaps another option that this one implies.
pub type Refuses<'a> = &'a dyn Fn(&Opt, &str) -> Option<String>;

/// Reads the words of a daemon's client into `given`, and tells what is wrong with one of them.
pub(crate) fn of_client(
    given: Given,
    words: &[Vec<u8>],
    refuses: Refuses<'_>,
) -> (Given, Option<Stop>) {
    let mut reader = Reader::new(words, Aliases::default(), given);
    reader.refuses = Some(refuses);
    let fault = match reader.run() {
        Ok(_) if reader.is_daemon => Some(Stop::option("Attempt to hack rsync thwarted!")),
        Ok(_) => None,
        Err(stop) => Some(stop),
    };
    (reader.given, fault)
}

/// Adds the options of `--remote-option` to what was given.
///
/// # Errors
/// As [`parse`].
pub(crate) fn more(given: Given, options: &[Vec<u8>]) -> Result<Given, Stop> {
    let mut reader = Reader::new(options, Aliases::default(), given);
    reader.run()?;
    Ok(reader.given)
}

/// `-h` is help only on its own.
fn is_only_h(argument: &[u8]) -> bool {
    argument
        .strip_prefix(b"-")
        .is_some_and(|letters| !letters.is_empty() && letters.iter().all(|&letter| letter == b'h'))
}

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    User,
    Server,
}

/// A walk through the arguments.
struct Reader<'a> {
    left: VecDeque<Word>,
    aliases: Aliases,
    /// The user's own word that is being dealt with, as messages show it.
    current: Vec<u8>,
    given: Given,
    is_daemon: bool,
    refuses: Option<Refuses<'a>>,
}

/// A word that is still to be read.
struct Word {
    text: Vec<u8>,
    /// It came out of an alias, which messages do not show.
    by_alias: bool,
}

impl Reader<'_> {
    fn new(arguments: &[Vec<u8>], aliases: Aliases, given: Given) -> Self {
        let left = arguments
            .iter()
            .map(|text| Word {
                text: text.clone(),
                by_alias: false,
            })
            .collect();
        Self {
            left,
            aliases,
            current: Vec::new(),
            given,
            is_daemon: false,
            refuses: None,
        }
    }

    /// Reads all words, or up to the first that says who reads them.
    fn run(&mut self) -> Result<Mode, Stop> {
        let expects_server = !self.given.server;
        while let Some(word) = self.next() {
            match &word[..] {
                b"--" => {
                    while let Some(operand) = self.next() {
                        self.given.operands.push(operand);
                    }
                }
                // A client's paths may look like options to us.
                b"." if self.given.server => {
                    self.given.operands.push(word);
                    while let Some(operand) = self.next() {
                        self.given.operands.push(operand);
                    }
                }
                [b'-', b'-', name @ ..] => self.long(name)?,
                [b'-', letters @ ..] if !letters.is_empty() => self.cluster(letters)?,
                _ => self.given.operands.push(word),
            }
            if self.is_daemon {
                break;
            }
            if expects_server && self.given.server {
                return Ok(Mode::Server);
            }
        }
        Ok(Mode::User)
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let word = self.left.pop_front()?;
        if !word.by_alias {
            self.current.clone_from(&word.text);
        }
        Some(word.text)
    }

    fn long(&mut self, text: &[u8]) -> Result<(), Stop> {
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        if DAEMON_OPTIONS
            .iter()
            .any(|option| option.as_bytes() == name)
        {
            self.is_daemon = true;
            return Ok(());
        }
        if let Some(words) = self.aliases.take_long(name) {
            self.expand(words, value.map(<[u8]>::to_vec));
            return Ok(());
        }
        let (row, on) = table::find_long(name).ok_or_else(|| self.fault("unknown option"))?;
        self.check_permitted(row, &shown(name), on)?;
        self.set(row, on, value)
    }

    fn cluster(&mut self, letters: &[u8]) -> Result<(), Stop> {
        for (at, &letter) in letters.iter().enumerate() {
            let rest = &letters[at + 1..];
            if let Some(words) = self.aliases.take_short(letter) {
                let rest = (!rest.is_empty()).then(|| [b"-", rest].concat());
                self.expand(words, rest);
                return Ok(());
            }
            let row = table::find_short(letter).ok_or_else(|| self.fault("unknown option"))?;
            self.check_permitted(row, row.long, true)?;
            if row.takes != Takes::Nothing {
                let attached = rest.strip_prefix(b"=").unwrap_or(rest);
                return self.set(row, true, (!rest.is_empty()).then_some(attached));
            }
            if rest.starts_with(b"=") {
                return Err(self.fault("option does not take an argument"));
            }
            self.set(row, true, None)?;
        }
        Ok(())
    }

    fn check_permitted(&mut self, row: &Opt, name: &str, on: bool) -> Result<(), Stop> {
        match self.refuses.and_then(|refuses| refuses(row, name)) {
            None => Ok(()),
            Some(option) => {
                if row.takes == Takes::Nothing {
                    // The session begins as if it were accepted.
                    let _ = (row.set)(&mut self.given, if on { Said::On } else { Said::Off });
                }
                let text = format!("rsync: The server is configured to refuse {option}");
                Err(Stop::Refuse(text, Exit::Unsupported))
            }
        }
    }

    /// Puts the words of an alias before what is left, followed by `last`.
    fn expand(&mut self, words: Vec<Vec<u8>>, last: Option<Vec<u8>>) {
        for text in words.into_iter().chain(last).rev() {
            self.left.push_front(Word {
                text,
                by_alias: true,
            });
        }
    }

    fn set(&mut self, row: &Opt, on: bool, attached: Option<&[u8]>) -> Result<(), Stop> {
        if row.takes == Takes::Nothing || !on {
            if attached.is_some() {
                return Err(self.fault("option does not take an argument"));
            }
            return (row.set)(&mut self.given, if on { Said::On } else { Said::Off });
        }
        let value = match attached {
            Some(value) => value.to_vec(),
            None => self.next().ok_or_else(|| self.fault("missing argument"))?,
        };
        let said = match row.takes {
            Takes::Number(_) => Said::Number(self.number(&value)?),
            Takes::Nothing | Takes::Text(_) => Said::Text(&value),
        };
        (row.set)(&mut self.given, said)
    }

    /// An integer as C's strtol reads it: leading space, a sign, and the prefixes of octal and hexadecimal.
    fn number(&self, text: &[u8]) -> Result<i32, Stop> {
        let invalid = || self.fault("invalid numeric value");
        let text = std::str::from_utf8(text)
            .map_err(|_| invalid())?
            .trim_ascii_start();
        if text.is_empty() {
            return Ok(0);
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (radix, digits) = if let Some(digits) = digits
            .strip_prefix("0x")
            .or_else(|| digits.strip_prefix("0X"))
        {
            (16, digits)
        } else if digits.len() > 1 && digits.starts_with('0') {
            (8, &digits[1..])
        } else {
            (10, digits)
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(invalid());
        }
        let magnitude = i128::from_str_radix(digits, radix).ok();
        let number = magnitude.and_then(|magnitude| {
            i32::try_from(if negative { -magnitude } else { magnitude }).ok()
        });
        number.ok_or_else(|| self.fault("number too large or too small"))
    }

    fn fault(&self, what: &str) -> Stop {
        let remote = if self.given.server {
            "on remote machine: "
        } else {
            ""
        };
        Stop::option(format!("{remote}{}: {what}", shown(&self.current)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn read(line: &str) -> Result<Box<Given>, Stop> {
        let arguments: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.replace('_', " ").into_bytes())
            .collect();
        match parse(&arguments, &Aliases::default())? {
            Invocation::Transfer(given) => Ok(given),
            Invocation::Daemon(_) => panic!("{line} is a daemon"),
        }
    }

    fn fault(line: &str) -> String {
        match read(line).expect_err(line) {
            Stop::Refuse(text, _) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_row_is_parsed_in_every_spelling() {
        for row in table::rows().filter(|row| row.long != "help" && row.long != "sender") {
            let value = match row.takes {
                Takes::Nothing => None,
                Takes::Number(_) => Some("7"),
                Takes::Text("e|a|c") => Some("all"),
                Takes::Text("N|L|B") => Some("L"),
                Takes::Text("FLAGS") => Some("all2"),
                Takes::Text("SIZE") => Some("2m"),
                Takes::Text("y-m-dTh:m") => Some("2999-01-02"),
                Takes::Text("MINS") => Some("5"),
                Takes::Text("OPT") => Some("-x"),
                Takes::Text(_) => Some("1k"),
            };
            let value = value
                .filter(|_| row.long != "block-size")
                .or((row.long == "block-size").then_some("1k"));
            let long = Some(row.long).filter(|long| !long.is_empty());
            for name in long.iter().chain(row.aliases) {
                let lines = match value {
                    None => vec![format!("--{name} a b")],
                    Some(value) => vec![
                        format!("--{name}={value} a b"),
                        format!("a --{name} {value} b"),
                    ],
                };
                lines.iter().for_each(|line| check(row, line));
            }
            for name in row.no {
                check(row, &format!("a --{name} b"));
            }
            if let Some(letter) = row.short.map(char::from) {
                check(row, &format!("-v{letter}{} a b", value.unwrap_or_default()));
            }
        }
    }

    fn check(row: &Opt, line: &str) {
        match read(line) {
            Ok(given) => {
                assert_eq!(given.operands, [b"a", b"b"], "{line}");
                // Every row does something, but for those that ask for what is so anyhow.
                let is_default = ["motd", "inc-recursive", "implied-dirs"].contains(&row.long)
                    || line.contains("--no-");
                let plain = read(if line.starts_with('-') && !line.starts_with("--") {
                    "-v a b"
                } else {
                    "a b"
                });
                let unchanged = format!("{given:?}") == format!("{:?}", plain.expect("legal"));
                assert!(is_default || !unchanged, "{line} does nothing");
            }
            Err(stop) => assert!(row.long == "crtimes", "{line}: {stop:?}"),
        }
    }

    #[test]
    fn faults_are_told_in_rsyncs_words() {
        for (line, told) in [
            ("--foo a b", "--foo: unknown option"),
            ("--foo=x a b", "--foo=x: unknown option"),
            ("--verb a b", "--verb: unknown option"),
            ("-aZ a b", "-aZ: unknown option"),
            ("a -B", "-B: missing argument"),
            ("--timeout=x a", "--timeout=x: invalid numeric value"),
            ("--timeout x a", "x: invalid numeric value"),
            ("--timeout=10_ a", "--timeout=10 : invalid numeric value"),
            (
                "--timeout=99999999999 a",
                "--timeout=99999999999: number too large or too small",
            ),
            (
                "--archive=3 a",
                "--archive=3: option does not take an argument",
            ),
            ("-avx=3 a", "-avx=3: option does not take an argument"),
            (
                "--no-bwlimit=3 a",
                "--no-bwlimit=3: option does not take an argument",
            ),
            ("--no-foo a", "--no-foo: unknown option"),
            ("--server -Z . a", "on remote machine: -Z: unknown option"),
        ] {
            assert_eq!(fault(line), format!("rsync: {told}"));
        }
    }

    #[test]
    fn numbers_are_those_of_c() {
        for (text, number) in [
            ("", 0),
            ("_10", 10),
            ("0x10", 16),
            ("010", 8),
            ("-5", -5),
            ("+5", 5),
            ("0", 0),
        ] {
            assert_eq!(
                read(&format!("--timeout={text} a")).expect(text).timeout,
                number,
                "{text}"
            );
        }
    }

    #[test]
    fn operands_and_options_mix() {
        let given = read("a -r b -- -v").expect("legal");
        assert_eq!(given.operands, [&b"a"[..], b"b", b"-v"]);
        assert_eq!(given.verbose, 0);
        assert_eq!(read("- a").expect("legal").operands, [&b"-"[..], b"a"]);
    }

    #[test]
    fn a_server_takes_paths_for_what_they_are() {
        let given = read("--server -vlogDtpre.iLsfxCIvu --partial . -n --delete").expect("legal");
        assert_eq!(given.operands, [&b"."[..], b"-n", b"--delete"]);
        assert!(given.server && !given.dry_run && given.partial);
        assert_eq!(given.rsh.as_deref(), Some(&b".iLsfxCIvu"[..]));
    }

    #[test]
    fn sender_needs_server() {
        assert_eq!(read("--sender a b").expect_err("no server"), Stop::Usage);
        assert!(read("--server --sender . a").expect("legal").sender);
    }

    #[test]
    fn help_comes_only_from_a_lone_h() {
        assert!(matches!(read("-h"), Err(Stop::Show(_))));
        assert!(matches!(read("-hh"), Err(Stop::Show(_))));
        assert_eq!(read("-h a").expect("legal").human, 2);
    }
}
