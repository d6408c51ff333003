//! The parameter table: one row for every parameter, from which all else follows.
//!
//! The rows stand in the modules below, by topic. The parser and the manual page are read off them.

mod access;
mod confinement;
mod filters;
mod hooks;
mod listener;
mod logging;
mod module;

use rsync::Env;

use super::expand::expand;
use super::settings::{Globals, LogStyle, Settings};
use super::{Facility, Fault, Place, Text};

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// The name, in words. Case and blanks do not count when it is looked up.
    pub name: &'static str,
    /// Another name.
    pub alias: Option<&'static str>,
    /// Where it may stand, and which field it sets.
    target: Target,
    /// Its default as one would write it; empty if there is none.
    pub default: &'static str,
    /// rsync does not know it.
    pub ours: bool,
    /// What it does, in one line.
    pub brief: &'static str,
    /// What it does, in paragraphs separated by empty lines, with names and values in `backticks`.
    pub doc: &'static str,
}

/// Where a parameter may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the global section only.
    Global,
    /// In a module, or in the global section as a default for modules.
    Module,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text, which may contain `%VAR%`.
    Text,
    /// A directory's path, which may contain `%VAR%`.
    Directory,
    /// Yes or no.
    Boolean,
    /// Yes, no or unset.
    Tristate,
    /// A decimal number.
    Number,
    /// A facility of syslog.
    Facility,
    /// `text` or `json`.
    Style,
}

#[derive(Debug)]
enum Target {
    Global(Field<Globals>),
    Module(Field<Settings>),
}

/// A field of `S`, by its type.
#[derive(Debug)]
enum Field<S> {
    Text(fn(&mut S) -> &mut Text),
    Directory(fn(&mut S) -> &mut Text),
    Boolean(fn(&mut S) -> &mut bool),
    Tristate(fn(&mut S) -> &mut Option<bool>),
    Number(fn(&mut S) -> &mut i32),
    Facility(fn(&mut S) -> &mut Facility),
    Style(fn(&mut S) -> &mut LogStyle),
}

/// All parameters, in the order of the manual page: the global ones first.
pub fn rows() -> impl Iterator<Item = &'static Parameter> {
    let topics: [&'static [Parameter]; 7] = [
        listener::ROWS,
        module::ROWS,
        confinement::ROWS,
        access::ROWS,
        filters::ROWS,
        logging::ROWS,
        hooks::ROWS,
    ];
    topics.into_iter().flatten()
}

/// The parameter of a name as it stands in a file.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Parameter> {
    rows().find(|row| {
        std::iter::once(row.name)
            .chain(row.alias)
            .any(|known| same_name(known.as_bytes(), name))
    })
}

/// Whether two names are one: case and blanks do not count.
pub(crate) fn same_name(a: &[u8], b: &[u8]) -> bool {
    let plain = |name: &'_ [u8]| -> Vec<u8> {
        let letters = name.iter().filter(|byte| !is_space(**byte));
        letters.map(u8::to_ascii_lowercase).collect()
    };
    plain(a) == plain(b)
}

/// What C calls a space.
pub(crate) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

impl Parameter {
    /// Where it may stand.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.target {
            Target::Global(_) => Scope::Global,
            Target::Module(_) => Scope::Module,
        }
    }

    /// What values it takes.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.target {
            Target::Global(field) => field.kind(),
            Target::Module(field) => field.kind(),
        }
    }

    /// Sets its field to what the file says at `place`, or the command line. A bad value leaves the field as it is, but for
    /// a number, of which counts what it begins with.
    pub(super) fn assign(
        &self,
        globals: &mut Globals,
        settings: &mut Settings,
        value: &[u8],
        place: Option<Place>,
        env: &Env,
    ) -> Result<(), Fault> {
        match &self.target {
            Target::Global(field) => field.assign(globals, self.name, value, place, env),
            Target::Module(field) => field.assign(settings, self.name, value, place, env),
        }
    }

    /// Takes a text that nobody said from `defaults`.
    pub(super) fn inherit(&self, settings: &mut Settings, defaults: &mut Settings) {
        if let Target::Module(Field::Text(field) | Field::Directory(field)) = &self.target
            && field(settings).is_unset()
        {
            *field(settings) = field(defaults).clone();
        }
    }
}

impl<S> Field<S> {
    fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Directory(_) => Kind::Directory,
            Self::Boolean(_) => Kind::Boolean,
            Self::Tristate(_) => Kind::Tristate,
            Self::Number(_) => Kind::Number,
            Self::Facility(_) => Kind::Facility,
            Self::Style(_) => Kind::Style,
        }
    }

    fn assign(
        &self,
        to: &mut S,
        name: &'static str,
        value: &[u8],
        place: Option<Place>,
        env: &Env,
    ) -> Result<(), Fault> {
        let now = expand(value, env);
        let shown = || String::from_utf8_lossy(&now).into_owned();
        match self {
            Self::Text(field) => *field(to) = Text::said(value, place),
            Self::Directory(field) => *field(to) = Text::said(without_slashes(value), place),
            Self::Boolean(field) => {
                *field(to) = boolean(&now).ok_or_else(|| Fault::BadBoolean(shown()))?;
            }
            Self::Tristate(field) => {
                let is_unset = now.eq_ignore_ascii_case(b"unset") || now == b"-1";
                *field(to) = if is_unset {
                    None
                } else {
                    Some(boolean(&now).ok_or_else(|| Fault::BadBoolean(shown()))?)
                };
            }
            Self::Number(field) => {
                *field(to) = number(&now);
                if !is_number(&now) {
                    return Err(Fault::NoNumber(shown()));
                }
            }
            Self::Facility(field) => match Facility::parse(&now) {
                Some(facility) => *field(to) = facility,
                None => return Err(bad_value(name, shown())),
            },
            Self::Style(field) => {
                *field(to) = match &*now {
                    b"text" => LogStyle::Text,
                    b"json" => LogStyle::Json,
                    _ => return Err(bad_value(name, shown())),
                };
            }
        }
        Ok(())
    }
}

fn bad_value(parameter: &'static str, value: String) -> Fault {
    Fault::BadValue { parameter, value }
}

/// A path without the slashes at its end, unless it is nothing else.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/');
    match end {
        Some(end) => &path[..=end],
        None => &path[..path.len().min(1)],
    }
}

fn boolean(text: &[u8]) -> Option<bool> {
    let is = |words: [&str; 3]| {
        words
            .iter()
            .any(|word| word.as_bytes().eq_ignore_ascii_case(text))
    };
    match () {
        () if is(["yes", "true", "1"]) => Some(true),
        () if is(["no", "false", "0"]) => Some(false),
        () => None,
    }
}

fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<i32>().is_ok())
}

/// The number that a text begins with, as C's `atoi` reads it; 0 if there is none. Too large numbers are the largest.
fn number(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value =
        digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0_i32, |value, digit| {
                value
                    .saturating_mul(10)
                    .saturating_add(i32::from(digit - b'0'))
            });
    if is_negative { -value } else { value }
}

/// A row of the global section.
const fn global(
    name: &'static str,
    field: Field<Globals>,
    default: &'static str,
    brief: &'static str,
    doc: &'static str,
) -> Parameter {
    row(name, Target::Global(field), default, brief, doc)
}

/// A row of a module.
const fn module(
    name: &'static str,
    field: Field<Settings>,
    default: &'static str,
    brief: &'static str,
    doc: &'static str,
) -> Parameter {
    row(name, Target::Module(field), default, brief, doc)
}

const fn row(
    name: &'static str,
    target: Target,
    default: &'static str,
    brief: &'static str,
    doc: &'static str,
) -> Parameter {
    Parameter {
        name,
        alias: None,
        target,
        default,
        ours: false,
        brief,
        doc,
    }
}

impl Parameter {
    const fn or(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_is_used_twice() {
        let mut seen = HashSet::new();
        for row in rows() {
            for name in std::iter::once(row.name).chain(row.alias) {
                assert!(seen.insert(name.replace(' ', "")), "{name} twice");
            }
        }
    }

    #[test]
    fn every_row_is_documented() {
        for row in rows() {
            assert!(
                !row.brief.is_empty() && !row.brief.ends_with('.'),
                "{}",
                row.name
            );
            assert!(row.doc.ends_with('.'), "{}", row.name);
            assert!(row.doc.len() > row.brief.len(), "{}", row.name);
        }
    }

    /// What the manual page calls a default is one.
    #[test]
    fn defaults_are_the_fields_own() {
        let env = Env::default();
        for row in rows() {
            let (mut globals, mut settings) = (Globals::default(), Settings::default());
            let value = match (row.default, row.kind()) {
                ("", Kind::Text | Kind::Directory) => continue,
                ("873" | "874", Kind::Number) => "0",
                (value, _) => value,
            };
            row.assign(&mut globals, &mut settings, value.as_bytes(), None, &env)
                .unwrap_or_else(|fault| panic!("{}: {fault}", row.name));
            assert_eq!(globals, Globals::default(), "{}", row.name);
            assert_eq!(settings, Settings::default(), "{}", row.name);
        }
    }

    /// Two rows that set one field would be a slip.
    #[test]
    fn every_row_has_a_field_of_its_own() {
        let env = Env::default();
        let (mut globals, mut settings) = (Globals::default(), Settings::default());
        for row in rows() {
            let value = match (row.kind(), row.default) {
                (Kind::Text | Kind::Directory, _) => "/x",
                (Kind::Boolean | Kind::Tristate, "yes") => "no",
                (Kind::Boolean | Kind::Tristate, _) => "yes",
                (Kind::Number, _) => "77",
                (Kind::Facility, _) => "mail",
                (Kind::Style, _) => "json",
            };
            let before = (globals.clone(), settings.clone());
            row.assign(&mut globals, &mut settings, value.as_bytes(), None, &env)
                .unwrap_or_else(|fault| panic!("{}: {fault}", row.name));
            assert_ne!(before, (globals.clone(), settings.clone()), "{}", row.name);
        }
    }

    #[test]
    fn case_and_space_in_names_make_no_difference() {
        for name in ["use chroot", "USECHROOT", " u s e\tchroot"] {
            assert_eq!(find(name.as_bytes()).expect(name).name, "use chroot");
        }
        assert_eq!(find(b"rsync port").expect("an alias").name, "port");
        assert!(find(b"use-chroot").is_none());
    }

    #[test]
    fn numbers_end_where_their_digits_end() {
        for (text, value) in [("12", 12), ("-3x", -3), ("x", 0), ("", 0), ("+4 5", 4)] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
        assert_eq!(number(b"99999999999"), i32::MAX);
        for (text, value) in [
            ("/a/b//", "/a/b"),
            ("/", "/"),
            ("//", "/"),
            ("", ""),
            ("a", "a"),
        ] {
            assert_eq!(without_slashes(text.as_bytes()), value.as_bytes());
        }
        for (text, value) in [
            ("YES", Some(true)),
            ("0", Some(false)),
            ("on", None),
            ("", None),
        ] {
            assert_eq!(boolean(text.as_bytes()), value, "{text}");
        }
    }
}
