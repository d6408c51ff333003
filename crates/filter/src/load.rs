//! From texts to a list of entries: splitting, merge files read on the way, and the global CVS list.

use std::io;
use std::sync::Arc;

use crate::cvs;
use crate::error::{Error, Place, Title};
use crate::rule::{
    Action, Anchor, Directive, MergeRule, Modifiers, Rule, Syntax, Template, join, parse,
    parse_word,
};
use crate::rules::Options;

/// Merge files may name each other this deep (behaviour 5.2).
pub(crate) const MAX_DEPTH: usize = 32;
/// Longer patterns are discarded (wire-session 6.1).
const MAX_PATTERN: usize = 4095;

/// Which file a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeFile<'a> {
    /// Named by an argument, or absolute: relative to the working directory of the process; `-` is standard input.
    Named(&'a [u8]),
    /// A path relative to the root of the transfer.
    InTree(&'a [u8]),
    /// An absolute path in a directory above the root of the transfer.
    Above(&'a [u8]),
}

/// Brings the content of merge files. Any closure of the method's shape is one.
pub trait MergeFiles {
    /// The whole content; `None` if there is no such file.
    ///
    /// # Errors
    /// The system's, which ends the run in every case: for a per-directory file that may be skipped although it is
    /// there but unreadable, as rsync does, answer `None`.
    fn read(&mut self, file: MergeFile<'_>) -> io::Result<Option<Vec<u8>>>;
}

impl<F: FnMut(MergeFile<'_>) -> io::Result<Option<Vec<u8>>>> MergeFiles for F {
    fn read(&mut self, file: MergeFile<'_>) -> io::Result<Option<Vec<u8>>> {
        self(file)
    }
}

/// There are no merge files.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMergeFiles;

impl MergeFiles for NoMergeFiles {
    fn read(&mut self, _: MergeFile<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// One position in a list of rules.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Match(Rule),
    /// The rules of the nearest directories stand here.
    DirMerge(Arc<DirMerge>),
    Cvs(CvsList),
}

/// A file that is looked for in every directory.
#[derive(Debug)]
pub(crate) struct DirMerge {
    pub rule: MergeRule,
    pub is_named_by_file: bool,
    /// Part of --cvs-exclude, which the peer adds by itself if it is the sender.
    pub implied: bool,
}

/// The global CVS list, in the place where `-C` stood.
#[derive(Debug, Clone)]
pub(crate) struct CvsList {
    pub action: Action,
    pub modifiers: Modifiers,
    pub rules: Vec<Rule>,
    pub implied: bool,
}

/// Collects entries.
pub(crate) struct Loader<'a> {
    pub options: &'a Options,
    pub files: &'a mut dyn MergeFiles,
    /// Where anchored patterns stand and relative merge files are looked for.
    pub anchor: Anchor,
    /// Per-directory files that are known already; a second rule for the same name is ignored.
    pub known: &'a [Arc<DirMerge>],
    pub entries: Vec<Entry>,
    /// A `!` was met: what was inherited is gone too.
    pub cleared: bool,
    pub warnings: Vec<Error>,
    depth: usize,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(options: &'a Options, files: &'a mut dyn MergeFiles) -> Self {
        Loader {
            options,
            files,
            anchor: Anchor::Root,
            known: &[],
            entries: Vec::new(),
            cleared: false,
            warnings: Vec::new(),
            depth: 0,
        }
    }

    /// One rule that is an argument of its own.
    pub(crate) fn argument(&mut self, text: &[u8], template: &Template) -> Result<(), Error> {
        let place = Place::Argument(text.to_vec());
        self.rule(text, template, &place)
    }

    /// Several rules in one argument, divided by whitespace.
    pub(crate) fn words(&mut self, text: &[u8], template: &Template) -> Result<(), Error> {
        let mut rest = text.trim_ascii_start();
        while !rest.is_empty() {
            let place = Place::Argument(rest.to_vec());
            let (directive, after) = parse_word(rest, template).map_err(|fault| Error::Syntax {
                fault,
                place: place.clone(),
            })?;
            self.add(directive, &place)?;
            rest = after.trim_ascii_start();
        }
        Ok(())
    }

    /// The content of a file.
    pub(crate) fn text(
        &mut self,
        text: &[u8],
        template: &Template,
        title: &Title,
    ) -> Result<(), Error> {
        if template.words {
            let place = title.place(None);
            let is_gap = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
            return text
                .split(is_gap)
                .try_for_each(|word| self.rule(word, template, &place));
        }
        let end = if self.options.from0 { 0 } else { b'\n' };
        for (index, line) in text.split(|&byte| byte == end).enumerate() {
            let place = title.place(Some(index + 1));
            // A carriage return ends a line as well, with or without a line feed after it.
            for line in line.split(|&byte| byte == b'\r' && !self.options.from0) {
                if !matches!(line.first(), Some(b'#' | b';')) {
                    self.rule(line, template, &place)?;
                }
            }
        }
        Ok(())
    }

    fn rule(&mut self, text: &[u8], template: &Template, place: &Place) -> Result<(), Error> {
        match parse(text, template) {
            Ok(Some(directive)) => self.add(directive, place),
            Ok(None) => Ok(()),
            Err(fault) => Err(Error::Syntax {
                fault,
                place: place.clone(),
            }),
        }
    }

    fn add(&mut self, directive: Directive, place: &Place) -> Result<(), Error> {
        match directive {
            Directive::Clear => {
                self.entries.clear();
                self.cleared = true;
            }
            Directive::Cvs(action, modifiers) => self.cvs(action, modifiers, false)?,
            Directive::Match(action, modifiers, pattern) => {
                self.push(action, modifiers, pattern, place);
            }
            Directive::Merge(merge) => self.merge(&merge, place)?,
            Directive::DirMerge(merge) => {
                self.exclude_itself(&merge, place);
                let is_named_by_file = matches!(place, Place::File { .. });
                self.dir_merge(DirMerge {
                    rule: merge,
                    is_named_by_file,
                    implied: false,
                });
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        action: Action,
        mut modifiers: Modifiers,
        mut pattern: Vec<u8>,
        place: &Place,
    ) {
        if pattern.len() > MAX_PATTERN {
            self.warnings.push(Error::OverLong {
                place: place.clone(),
            });
            return;
        }
        if self.options.of_module {
            if action == Action::Exclude && pattern.ends_with(b"/") {
                pattern.extend_from_slice(b"***");
            }
            modifiers.absolute |= pattern.contains(&b'/');
        }
        // In a file that a per-directory file merges, patterns are anchored like those of any other merged file.
        let anchor = if self.depth == 0 {
            self.anchor.clone()
        } else {
            Anchor::Root
        };
        self.entries.push(Entry::Match(
            Rule::new(action, modifiers, &pattern).found_at(place, anchor),
        ));
    }

    fn exclude_itself(&mut self, merge: &MergeRule, place: &Place) {
        if merge.excludes_itself {
            self.push(
                Action::Exclude,
                Modifiers::default(),
                merge.basename().to_vec(),
                place,
            );
        }
    }

    /// The global CVS list.
    pub(crate) fn cvs(
        &mut self,
        action: Action,
        modifiers: Modifiers,
        implied: bool,
    ) -> Result<(), Error> {
        let rules = cvs::rules(self.options, action, modifiers)?;
        self.entries.push(Entry::Cvs(CvsList {
            action,
            modifiers,
            rules,
            implied,
        }));
        Ok(())
    }

    pub(crate) fn dir_merge(&mut self, merge: DirMerge) {
        let is_same = |known: &Arc<DirMerge>| known.rule.basename() == merge.rule.basename();
        let mut listed = self.entries.iter().filter_map(Entry::dir_merge);
        if !self.known.iter().any(is_same) && !listed.any(is_same) {
            self.entries.push(Entry::DirMerge(Arc::new(merge)));
        }
    }

    fn merge(&mut self, merge: &MergeRule, place: &Place) -> Result<(), Error> {
        self.exclude_itself(merge, place);
        let title = place.title_of(&merge.name);
        if self.depth == MAX_DEPTH {
            let error = Error::TooDeep {
                place: place.clone(),
            };
            if self.anchor == Anchor::Root {
                return Err(error);
            }
            self.warnings.push(error);
            return Ok(());
        }
        let text = self
            .read(&merge.name)
            .and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|cause| {
                let action = merge.template.action();
                match place {
                    Place::Argument(_) => Error::Unreadable {
                        action,
                        file: title.to_string(),
                        cause: Some(cause),
                    },
                    Place::File { .. } => Error::Unreadable {
                        action,
                        file: place.to_string(),
                        cause: None,
                    },
                }
            })?;
        self.depth += 1;
        let result = self.text(&text, &merge.template, &title);
        self.depth -= 1;
        result
    }

    /// Reads a file that a `merge` names. In a per-directory file rsync takes a name with a slash from its directory,
    /// but one without from the root of the transfer.
    fn read(&mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match &self.anchor {
            Anchor::Directory(dir) if !name.starts_with(b"/") => {
                let dir = if name.contains(&b'/') { &dir[..] } else { b"" };
                self.files.read(MergeFile::InTree(&join(dir, name)))
            }
            Anchor::Above(dir) if name.contains(&b'/') && !name.starts_with(b"/") => {
                self.files.read(MergeFile::Above(&join(dir, name)))
            }
            Anchor::Above(_) if !name.starts_with(b"/") => self.files.read(MergeFile::InTree(name)),
            Anchor::Root | Anchor::Directory(_) | Anchor::Above(_) => {
                self.files.read(MergeFile::Named(name))
            }
        }
    }
}

impl Entry {
    pub(crate) fn dir_merge(&self) -> Option<&Arc<DirMerge>> {
        match self {
            Entry::DirMerge(merge) => Some(merge),
            Entry::Match(_) | Entry::Cvs(_) => None,
        }
    }
}

impl DirMerge {
    /// The `:C` that is half of --cvs-exclude.
    pub(crate) fn of_cvs(defaults: Modifiers) -> Self {
        let template = Template {
            words: true,
            defaults,
            ..Template::new(Syntax::Cvs)
        };
        let name = b".cvsignore".to_vec();
        DirMerge {
            rule: MergeRule {
                name,
                template,
                inherited: false,
                excludes_itself: false,
            },
            is_named_by_file: false,
            implied: true,
        }
    }
}
