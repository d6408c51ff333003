//! One filter rule: what it says and how its text is read (behaviour 5.1).

use std::sync::Arc;

use crate::error::{Fault, Place};
use crate::pattern::Pattern;

/// What happens to a name that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Shown by the sender, at risk at the receiver.
    Include,
    /// Hidden by the sender, protected at the receiver.
    Exclude,
}

/// The sides a rule names with `s` and `r`, or through `hide`, `show`, `protect` and `risk`; naming none means both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    /// The rule is for the sender.
    pub sender: bool,
    /// The rule is for the receiver.
    pub receiver: bool,
}

impl Sides {
    pub(crate) const SENDER: Sides = Sides {
        sender: true,
        receiver: false,
    };
    pub(crate) const RECEIVER: Sides = Sides {
        sender: false,
        receiver: true,
    };
    pub(crate) const BOTH: Sides = Sides {
        sender: true,
        receiver: true,
    };

    /// Does the rule say which side it is for?
    pub fn is_named(self) -> bool {
        self.sender || self.receiver
    }
}

/// The letters after a rule's name that change how its pattern is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers {
    /// `/`: compared with the absolute path of the item.
    pub absolute: bool,
    /// `!`: takes effect if the pattern does not match.
    pub negate: bool,
    /// `x`: for names of extended attributes.
    pub xattr: bool,
    /// `s`, `r`.
    pub sides: Sides,
    /// `p`: does not keep a directory from being removed.
    pub perishable: bool,
    /// The `p` is a default of ours that may be left out for a peer that does not know it.
    pub(crate) perishable_if_known: bool,
}

impl Modifiers {
    /// These modifiers, and those that a merge file gives to all its rules.
    fn with_defaults(mut self, defaults: Modifiers) -> Self {
        self.absolute |= defaults.absolute;
        self.xattr |= defaults.xattr;
        self.perishable |= defaults.perishable;
        self.sides.sender |= defaults.sides.sender;
        self.sides.receiver |= defaults.sides.receiver;
        self
    }
}

/// A rule that includes or excludes names.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// How.
    pub modifiers: Modifiers,
    pattern: Pattern,
    /// The directory at which the pattern's leading slash stands.
    pub(crate) anchor: Anchor,
    from_file: bool,
}

/// Where a leading slash in a pattern is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The root of the transfer.
    Root,
    /// The directory of a merge file, relative to the root of the transfer.
    Directory(Arc<[u8]>),
    /// A directory above the root, as an absolute path.
    Above(Arc<[u8]>),
}

impl Rule {
    pub(crate) fn new(action: Action, modifiers: Modifiers, pattern: &[u8]) -> Self {
        Rule {
            action,
            modifiers,
            pattern: Pattern::new(pattern),
            anchor: Anchor::Root,
            from_file: false,
        }
    }

    pub(crate) fn found_at(mut self, place: &Place, anchor: Anchor) -> Self {
        self.from_file = matches!(place, Place::File { .. });
        self.anchor = anchor;
        self
    }

    /// What the rule's name is compared with.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The rule as messages call it: its pattern, or a phrase if that is the content of a file.
    pub fn shown(&self) -> Vec<u8> {
        if self.from_file {
            return b"<rule from a file read earlier>".to_vec();
        }
        let mut text = self.pattern.text().to_vec();
        if self.pattern.directories_only() {
            text.push(b'/');
        }
        text
    }

    /// Does the rule take effect on this item? `path` is relative to `root`, which is an absolute path.
    pub(crate) fn takes(&self, path: &[u8], is_dir: bool, root: &[u8]) -> bool {
        self.modifiers.negate != self.is_pattern_match(path, is_dir, root)
    }

    fn is_pattern_match(&self, path: &[u8], is_dir: bool, root: &[u8]) -> bool {
        if self.modifiers.absolute && !self.modifiers.xattr {
            return self
                .pattern
                .is_match(below(&absolute(root, path), b""), is_dir);
        }
        match &self.anchor {
            Anchor::Directory(dir) if self.pattern.is_anchored() => {
                is_below(path, dir) && self.pattern.is_match(below(path, dir), is_dir)
            }
            Anchor::Above(dir) if self.pattern.is_anchored() => {
                let path = absolute(root, path);
                is_below(&path, dir) && self.pattern.is_match(below(&path, dir), is_dir)
            }
            _ => self.pattern.is_match(path, is_dir),
        }
    }
}

/// `path` below `dir`, as one path.
pub(crate) fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    match (dir, path) {
        (b"", _) => path.to_vec(),
        (_, b"") => dir.to_vec(),
        _ if dir.ends_with(b"/") => [dir, path].concat(),
        _ => [dir, b"/", path].concat(),
    }
}

fn absolute(root: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        path.to_vec()
    } else {
        join(root, path)
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| dir.is_empty() || dir.ends_with(b"/") || rest.starts_with(b"/"))
}

/// What is left of `path` below `dir`, without a leading slash.
fn below<'a>(path: &'a [u8], dir: &[u8]) -> &'a [u8] {
    let rest = &path[dir.len()..];
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// How the rules of one text are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Template {
    pub syntax: Syntax,
    /// Split at whitespace instead of lines.
    pub words: bool,
    /// Given to every rule of the text.
    pub defaults: Modifiers,
}

impl Template {
    pub(crate) const fn new(syntax: Syntax) -> Self {
        let sides = Sides {
            sender: false,
            receiver: false,
        };
        let defaults = Modifiers {
            absolute: false,
            negate: false,
            xattr: false,
            sides,
            perishable: false,
            perishable_if_known: false,
        };
        Template {
            syntax,
            words: false,
            defaults,
        }
    }

    /// What a rule without a prefix does; for messages about a file also where rules have one.
    pub(crate) fn action(&self) -> Action {
        match self.syntax {
            Syntax::OldPrefixed(action) | Syntax::Bare(action) => action,
            Syntax::Prefixed | Syntax::Cvs => Action::Exclude,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Every rule starts with its name.
    Prefixed,
    /// `- `, `+ ` and a lone `!`; anything else is a pattern (the options --exclude and --include, old protocols).
    OldPrefixed(Action),
    /// Patterns only.
    Bare(Action),
    /// Patterns to exclude, and a lone `!`.
    Cvs,
}

/// What one rule asks for.
#[derive(Debug)]
pub(crate) enum Directive {
    Clear,
    /// The global CVS list stands here, its rules having this action and these modifiers.
    Cvs(Action, Modifiers),
    Match(Action, Modifiers, Vec<u8>),
    /// Read now.
    Merge(MergeRule),
    /// Read in every directory.
    DirMerge(MergeRule),
}

/// A rule that names a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergeRule {
    pub name: Vec<u8>,
    pub template: Template,
    /// `n` absent: subdirectories see the rules too.
    pub inherited: bool,
    /// `e`
    pub excludes_itself: bool,
}

impl MergeRule {
    /// The last component of the name, which is what is looked for in every directory.
    pub(crate) fn basename(&self) -> &[u8] {
        self.name
            .rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(&self.name)
    }
}

/// Reads one rule. `None` if there is nothing in it.
pub(crate) fn parse(text: &[u8], template: &Template) -> Result<Option<Directive>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let (head, at) = parse_head(text, template)?;
    head.with_argument(&text[at..], template).map(Some)
}

/// Reads the first rule of an argument that holds several, divided by whitespace; also returns what is left.
pub(crate) fn parse_word<'a>(
    text: &'a [u8],
    template: &Template,
) -> Result<(Directive, &'a [u8]), Fault> {
    let (head, at) = parse_head(text, template)?;
    let length = text[at..]
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(text.len() - at);
    Ok((
        head.with_argument(&text[at..at + length], template)?,
        &text[at + length..],
    ))
}

/// A rule's name and modifiers.
struct Head {
    kind: Kind,
    modifiers: Modifiers,
    /// `C`
    cvs: bool,
    /// `+`, `-`
    bare: Option<Action>,
    words: bool,
    not_inherited: bool,
    excludes_itself: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Match(Action),
    Sided(Action, Sides),
    Merge,
    DirMerge,
    Clear,
}

const NAMES: [(u8, &[u8], Kind); 9] = [
    (b'+', b"include", Kind::Match(Action::Include)),
    (b'-', b"exclude", Kind::Match(Action::Exclude)),
    (b'.', b"merge", Kind::Merge),
    (b':', b"dir-merge", Kind::DirMerge),
    (b'H', b"hide", Kind::Sided(Action::Exclude, Sides::SENDER)),
    (b'S', b"show", Kind::Sided(Action::Include, Sides::SENDER)),
    (
        b'P',
        b"protect",
        Kind::Sided(Action::Exclude, Sides::RECEIVER),
    ),
    (b'R', b"risk", Kind::Sided(Action::Include, Sides::RECEIVER)),
    (b'!', b"clear", Kind::Clear),
];

/// Also returns where the pattern or file name starts.
fn parse_head(text: &[u8], template: &Template) -> Result<(Head, usize), Fault> {
    match template.syntax {
        Syntax::Prefixed => parse_prefix(text),
        Syntax::OldPrefixed(_) if text == b"!" => Ok((Head::new(Kind::Clear), 1)),
        Syntax::OldPrefixed(_) if text.starts_with(b"- ") => {
            Ok((Head::new(Kind::Match(Action::Exclude)), 2))
        }
        Syntax::OldPrefixed(_) if text.starts_with(b"+ ") => {
            Ok((Head::new(Kind::Match(Action::Include)), 2))
        }
        Syntax::Cvs if text == b"!" => Ok((Head::new(Kind::Clear), 1)),
        Syntax::OldPrefixed(_) | Syntax::Bare(_) | Syntax::Cvs => {
            Ok((Head::new(Kind::Match(template.action())), 0))
        }
    }
}

fn parse_prefix(text: &[u8]) -> Result<(Head, usize), Fault> {
    let (kind, mut at) = parse_name(text).ok_or(Fault::Unknown)?;
    let mut head = Head::new(kind);
    if kind == Kind::Clear {
        return Ok((head, at));
    }
    if text.get(at) == Some(&b',') {
        at += 1;
    }
    while let Some(&byte) = text.get(at) {
        if matches!(byte, b' ' | b'_') {
            return Ok((head, at + 1));
        }
        head.modify(byte)
            .ok_or(Fault::Modifier { byte, position: at })?;
        at += 1;
    }
    Ok((head, at))
}

fn parse_name(text: &[u8]) -> Option<(Kind, usize)> {
    NAMES.iter().find_map(|&(short, long, kind)| {
        let after_long = text.strip_prefix(long);
        if after_long.is_some_and(|rest| {
            rest.first()
                .is_none_or(|b| b.is_ascii_whitespace() || b"_,".contains(b))
        }) {
            return Some((kind, long.len()));
        }
        (text.first() == Some(&short)).then_some((kind, 1))
    })
}

impl Head {
    fn new(kind: Kind) -> Self {
        let modifiers = match kind {
            Kind::Sided(_, sides) => Modifiers {
                sides,
                ..Modifiers::default()
            },
            _ => Modifiers::default(),
        };
        Head {
            kind,
            modifiers,
            cvs: false,
            bare: None,
            words: false,
            not_inherited: false,
            excludes_itself: false,
        }
    }

    /// Applies one modifier; `None` if this kind of rule does not take it.
    fn modify(&mut self, byte: u8) -> Option<()> {
        let names_file = matches!(self.kind, Kind::Merge | Kind::DirMerge);
        let sided = matches!(self.kind, Kind::Sided(..));
        match byte {
            b'/' => self.modifiers.absolute = true,
            b'!' if !names_file => self.modifiers.negate = true,
            b'p' => self.modifiers.perishable = true,
            b'x' => self.modifiers.xattr = true,
            b's' if !sided => self.modifiers.sides.sender = true,
            b'r' if !sided => self.modifiers.sides.receiver = true,
            b'C' if !sided && self.bare.is_none() => self.cvs = true,
            b'e' if names_file => self.excludes_itself = true,
            b'n' if names_file => self.not_inherited = true,
            b'w' if names_file => self.words = true,
            b'+' if names_file && self.bare.is_none() && !self.cvs => {
                self.bare = Some(Action::Include);
            }
            b'-' if names_file && self.bare.is_none() && !self.cvs => {
                self.bare = Some(Action::Exclude);
            }
            _ => return None,
        }
        Some(())
    }

    /// The rule that the head and what follows it make together.
    fn with_argument(self, argument: &[u8], template: &Template) -> Result<Directive, Fault> {
        if template.defaults.sides.is_named() && self.modifiers.sides.is_named() {
            return Err(Fault::SideTwice);
        }
        let modifiers = self.modifiers.with_defaults(template.defaults);
        match self.kind {
            Kind::Clear if argument.is_empty() => Ok(Directive::Clear),
            Kind::Clear => Err(Fault::TrailingCharacters),
            Kind::Match(action) if self.cvs => Ok(Directive::Cvs(action, modifiers)),
            Kind::Merge => self
                .into_merge_rule(argument, modifiers)
                .map(Directive::Merge),
            Kind::DirMerge => self
                .into_merge_rule(argument, modifiers)
                .map(Directive::DirMerge),
            Kind::Match(_) | Kind::Sided(..) if argument.is_empty() => Err(Fault::UnexpectedEnd),
            Kind::Match(action) | Kind::Sided(action, _) => {
                Ok(Directive::Match(action, modifiers, argument.to_vec()))
            }
        }
    }

    fn into_merge_rule(self, argument: &[u8], defaults: Modifiers) -> Result<MergeRule, Fault> {
        let name = match argument {
            b"" if self.cvs => b".cvsignore",
            b"" => return Err(Fault::UnexpectedEnd),
            name => name,
        };
        let syntax = match self.bare {
            _ if self.cvs => Syntax::Cvs,
            Some(action) => Syntax::Bare(action),
            None => Syntax::Prefixed,
        };
        Ok(MergeRule {
            name: name.to_vec(),
            template: Template {
                syntax,
                words: self.words || self.cvs,
                defaults,
            },
            inherited: !(self.not_inherited || self.cvs),
            excludes_itself: self.excludes_itself,
        })
    }
}
