//! The list of rules of one run, as the command line, a daemon's configuration or a peer gives it.

use std::sync::Arc;

use crate::error::{Error, Title};
use crate::load::{DirMerge, Entry, Loader, MergeFiles, NoMergeFiles};
use crate::rule::{Action, Modifiers, Rule, Sides, Syntax, Template};
use crate::scope::Level;
use crate::send::Dialect;

/// What the meaning of rules depends on besides their text.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// --delete-excluded: rules that name no side are for the sender only (behaviour 5.6).
    pub delete_excluded: bool,
    /// --from0: lines of files end in NUL instead of CR and LF.
    pub from0: bool,
    /// Rules of a daemon's module: patterns with a slash are relative to the module's root whatever part of it is
    /// transferred, and excluding `dir/` excludes what is in it (behaviour 8.7).
    pub of_module: bool,
    /// Content of `$HOME/.cvsignore`.
    pub cvs_file: Vec<u8>,
    /// Value of `$CVSIGNORE`.
    pub cvs_environment: Vec<u8>,
}

/// The two ends of a transfer, each with its own use of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// An exclude hides.
    Sender,
    /// An exclude protects from deletion.
    Receiver,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Side::Sender => Side::Receiver,
            Side::Receiver => Side::Sender,
        }
    }
}

/// What the rules say about a name.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// No rule matches: the name takes part.
    Unmatched,
    /// The first rule that matches includes.
    Included(Match<'a>),
    /// The first rule that matches excludes.
    Excluded(Match<'a>),
}

impl<'a> Verdict<'a> {
    /// Is the name hidden (sender) or protected (receiver)?
    pub fn is_excluded(&self) -> bool {
        matches!(self, Verdict::Excluded(_))
    }

    fn new(first: Option<Match<'a>>) -> Self {
        match first {
            None => Verdict::Unmatched,
            Some(found) if found.rule.action == Action::Include => Verdict::Included(found),
            Some(found) => Verdict::Excluded(found),
        }
    }
}

/// The rule that decided, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The list it is in.
    pub list: List<'a>,
}

/// A list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List<'a> {
    /// The arguments' own.
    Global,
    /// The CVS names.
    Cvs,
    /// The merge file of this name, in the item's directory or above it.
    PerDirectory(&'a [u8]),
}

/// An ordered list of filter rules; the first one that matches decides.
#[derive(Debug, Default)]
pub struct Rules {
    pub(crate) options: Options,
    pub(crate) entries: Vec<Entry>,
    warnings: Vec<Error>,
    /// --cvs-exclude was given, and stands after rules that are still to come.
    awaits_cvs: bool,
}

/// Whose the rules of --cvs-exclude are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cvs {
    /// This client's, like the rules before them.
    AsOthers,
    /// This client's, which pulls: the peer has rules of its own, and --delete-excluded does not concern them.
    OfBothSides,
    /// This server's, after those that its client sends.
    AfterThePeers,
}

impl Rules {
    /// No rules yet.
    pub fn new(options: Options) -> Self {
        Rules {
            options,
            ..Rules::default()
        }
    }

    /// Adds the value of an `--exclude`.
    ///
    /// # Errors
    /// [`Error::Syntax`] if a prefix has nothing after it.
    pub fn exclude(&mut self, pattern: &[u8]) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Exclude));
        self.load(&mut NoMergeFiles, |loader| {
            loader.argument(pattern, &template)
        })
    }

    /// Adds the value of an `--include`.
    ///
    /// # Errors
    /// As [`Rules::exclude`].
    pub fn include(&mut self, pattern: &[u8]) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Include));
        self.load(&mut NoMergeFiles, |loader| {
            loader.argument(pattern, &template)
        })
    }

    /// Adds the content of the file of an `--exclude-from`; `file` is its name for messages.
    ///
    /// # Errors
    /// As [`Rules::exclude`].
    pub fn exclude_from(&mut self, text: &[u8], file: &str) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Exclude));
        self.load(&mut NoMergeFiles, |loader| {
            loader.text(text, &template, &Title::Name(file.to_owned()))
        })
    }

    /// Adds the content of the file of an `--include-from`; `file` is its name for messages.
    ///
    /// # Errors
    /// As [`Rules::exclude`].
    pub fn include_from(&mut self, text: &[u8], file: &str) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Include));
        self.load(&mut NoMergeFiles, |loader| {
            loader.text(text, &template, &Title::Name(file.to_owned()))
        })
    }

    /// Adds the value of a `--filter`, reading the files it merges.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::Unreadable`] and [`Error::TooDeep`].
    pub fn filter(&mut self, rule: &[u8], files: &mut dyn MergeFiles) -> Result<(), Error> {
        self.load(files, |loader| {
            loader.argument(rule, &Template::new(Syntax::Prefixed))
        })
    }

    /// Adds a module's `filter`, rules divided by whitespace.
    ///
    /// # Errors
    /// As [`Rules::filter`].
    pub fn filter_words(&mut self, rules: &[u8], files: &mut dyn MergeFiles) -> Result<(), Error> {
        self.load(files, |loader| {
            loader.words(rules, &Template::new(Syntax::Prefixed))
        })
    }

    /// Adds a module's `exclude`, patterns divided by whitespace.
    ///
    /// # Errors
    /// As [`Rules::exclude`].
    pub fn exclude_words(&mut self, patterns: &[u8]) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Exclude));
        self.load(&mut NoMergeFiles, |loader| {
            loader.words(patterns, &template)
        })
    }

    /// Adds a module's `include`, patterns divided by whitespace.
    ///
    /// # Errors
    /// As [`Rules::exclude`].
    pub fn include_words(&mut self, patterns: &[u8]) -> Result<(), Error> {
        let template = Template::new(Syntax::OldPrefixed(Action::Include));
        self.load(&mut NoMergeFiles, |loader| {
            loader.words(patterns, &template)
        })
    }

    /// Adds a rule that a peer sent (wire-session 6.3, 6.4).
    ///
    /// # Errors
    /// As [`Rules::filter`].
    pub fn receive(
        &mut self,
        rule: &[u8],
        dialect: Dialect,
        files: &mut dyn MergeFiles,
    ) -> Result<(), Error> {
        let syntax = match dialect {
            Dialect::Old => Syntax::OldPrefixed(Action::Exclude),
            Dialect::Modern | Dialect::Perishable => Syntax::Prefixed,
        };
        self.load(files, |loader| {
            loader.argument(rule, &Template::new(syntax))
        })
    }

    /// How lines end in the files that are read from now on.
    pub fn set_from0(&mut self, from0: bool) {
        self.options.from0 = from0;
    }

    /// Adds what --cvs-exclude means: the `.cvsignore` of every directory, and the global list.
    ///
    /// # Errors
    /// As [`Rules::exclude`], from the user's own list.
    pub fn cvs_exclude(&mut self, cvs: Cvs) -> Result<(), Error> {
        let modifiers = Modifiers {
            sides: match cvs {
                Cvs::AfterThePeers => {
                    self.awaits_cvs = true;
                    return Ok(());
                }
                Cvs::AsOthers => Sides::default(),
                Cvs::OfBothSides => Sides::BOTH,
            },
            ..Modifiers::default()
        };
        self.load(&mut NoMergeFiles, |loader| {
            loader.dir_merge(DirMerge::of_cvs(modifiers));
            loader.cvs(Action::Exclude, modifiers, true)
        })
    }

    /// The last rule of the peer was received by this side: what a server adds to them by itself (wire-session 6.5).
    ///
    /// # Errors
    /// As [`Rules::cvs_exclude`].
    pub fn received_all(&mut self, side: Side, dialect: Dialect) -> Result<(), Error> {
        if !std::mem::take(&mut self.awaits_cvs) {
            return Ok(());
        }
        match (side, dialect) {
            (Side::Sender, _) => self.cvs_exclude(Cvs::AsOthers),
            // The client has sent the names.
            (Side::Receiver, Dialect::Old) => self.load(&mut NoMergeFiles, |loader| {
                loader.dir_merge(DirMerge::of_cvs(Modifiers::default()));
                Ok(())
            }),
            (Side::Receiver, _) => Ok(()),
        }
    }

    /// Keeps a relative --partial-dir out of the transfer, without keeping its directory from being removed.
    pub fn partial_dir(&mut self, name: &[u8]) {
        let modifiers = Modifiers {
            perishable: true,
            perishable_if_known: true,
            ..Modifiers::default()
        };
        let pattern = [name.strip_suffix(b"/").unwrap_or(name), b"/"].concat();
        self.entries.push(Entry::Match(Rule::new(
            Action::Exclude,
            modifiers,
            &pattern,
        )));
    }

    fn load(
        &mut self,
        files: &mut dyn MergeFiles,
        add: impl FnOnce(&mut Loader<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut loader = Loader::new(&self.options, files);
        loader.entries = std::mem::take(&mut self.entries);
        let result = add(&mut loader);
        self.entries = loader.entries;
        self.warnings.append(&mut loader.warnings);
        result
    }

    /// Rules that were left out, each with its message, since the last call.
    pub fn take_warnings(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.warnings)
    }

    /// Is there no rule at all?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Are there files to be looked for in every directory? If not, [`Rules::check`] says all there is to say.
    pub fn has_dir_merges(&self) -> bool {
        self.dir_merges().next().is_some()
    }

    /// What the rules say about `path`, which is relative to the root of the transfer, without leading or trailing
    /// slash. Per-directory files and absolute paths need a [`Scope`](crate::Scope).
    pub fn check(&self, path: &[u8], is_dir: bool, side: Side) -> Verdict<'_> {
        let item = Item {
            path,
            is_dir,
            is_xattr: false,
            side,
            ignores_perishable: false,
            root: b"/",
        };
        self.verdict(&item, None)
    }

    /// Is `path` or any of its parents excluded? That is what a recursive scan, which does not enter an excluded
    /// directory, comes to; a lone [`Rules::check`] of a deep path does not know.
    pub fn excluded_with_parents(&self, path: &[u8], is_dir: bool, side: Side) -> bool {
        parents(path).any(|parent| self.check(parent, true, side).is_excluded())
            || self.check(path, is_dir, side).is_excluded()
    }

    /// What the `x` rules say about the name of an extended attribute; `None` if there are no such rules, and the
    /// defaults of behaviour 7 apply.
    pub fn check_xattr(&self, name: &[u8], side: Side) -> Option<Verdict<'_>> {
        let has_rules = self
            .entries
            .iter()
            .any(|entry| matches!(entry, Entry::Match(r) if r.modifiers.xattr));
        let item = Item {
            path: name,
            is_dir: false,
            is_xattr: true,
            side,
            ignores_perishable: false,
            root: b"/",
        };
        has_rules.then(|| self.verdict(&item, None))
    }

    pub(crate) fn verdict<'a>(&'a self, item: &Item<'_>, level: Option<&'a Level>) -> Verdict<'a> {
        // The root of the transfer is never matched.
        if item.path.is_empty() || item.path == b"." {
            return Verdict::Unmatched;
        }
        Verdict::new(self.first_match(&self.entries, List::Global, item, level))
    }

    fn first_match<'a>(
        &self,
        entries: &'a [Entry],
        list: List<'a>,
        item: &Item<'_>,
        level: Option<&'a Level>,
    ) -> Option<Match<'a>> {
        let takes = |rule: &Rule| {
            rule.modifiers.xattr == item.is_xattr
                && !(item.ignores_perishable && rule.modifiers.perishable)
                && self.is_for(rule, item.side)
                && rule.takes(item.path, item.is_dir, item.root)
        };
        entries.iter().find_map(|entry| match entry {
            Entry::Match(rule) => takes(rule).then_some(Match { rule, list }),
            Entry::Cvs(cvs) => cvs.rules.iter().find(|rule| takes(rule)).map(|rule| Match {
                rule,
                list: List::Cvs,
            }),
            Entry::DirMerge(merge) => level?.lists_of(merge).find_map(|per_dir| {
                self.first_match(
                    &per_dir.entries,
                    List::PerDirectory(per_dir.merge.rule.basename()),
                    item,
                    level,
                )
            }),
        })
    }

    pub(crate) fn is_for(&self, rule: &Rule, side: Side) -> bool {
        self.effective(rule.modifiers.sides).includes(side)
    }

    /// --delete-excluded takes the receiver's half from rules that name no side.
    pub(crate) fn effective(&self, sides: Sides) -> Sides {
        if self.options.delete_excluded && !sides.is_named() {
            Sides::SENDER
        } else {
            sides
        }
    }

    /// A per-directory file keeps both sides under --delete-excluded, since the rules in it may name theirs, unless
    /// it holds only patterns.
    pub(crate) fn is_merge_for(&self, merge: &DirMerge, side: Side) -> bool {
        let sides = merge.rule.template.defaults.sides;
        let sides = if merge.rule.template.syntax == Syntax::Prefixed {
            sides
        } else {
            self.effective(sides)
        };
        sides.includes(side)
    }

    pub(crate) fn dir_merges(&self) -> impl Iterator<Item = &Arc<DirMerge>> {
        self.entries.iter().filter_map(Entry::dir_merge)
    }
}

impl Sides {
    pub(crate) fn includes(self, side: Side) -> bool {
        match side {
            _ if !self.is_named() => true,
            Side::Sender => self.sender,
            Side::Receiver => self.receiver,
        }
    }
}

/// What is asked about.
pub(crate) struct Item<'a> {
    pub path: &'a [u8],
    pub is_dir: bool,
    pub is_xattr: bool,
    pub side: Side,
    pub ignores_perishable: bool,
    /// The root of the transfer as an absolute path.
    pub root: &'a [u8],
}

/// The directories on the way to `path`, from the top.
pub(crate) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(slash, _)| &path[..slash])
}
