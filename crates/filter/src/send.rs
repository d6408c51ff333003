//! The text of rules that go to the peer (wire-session 6.2 to 6.5).

use crate::error::Error;
use crate::load::{CvsList, DirMerge, Entry};
use crate::rule::{Action, MergeRule, Modifiers, Rule, Sides, Syntax};
use crate::rules::{Rules, Side};

/// What rules the peer's protocol can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Before 29: `+ ` and `- ` only.
    Old,
    /// 29: names and modifiers.
    Modern,
    /// From 30 on: also `p`.
    Perishable,
}

impl Dialect {
    /// The dialect of a protocol version.
    pub fn of_protocol(version: u32) -> Self {
        match version {
            ..29 => Dialect::Old,
            29 => Dialect::Modern,
            30.. => Dialect::Perishable,
        }
    }
}

impl Rules {
    /// The rules that a client, being `we`, sends to its server: those that count on the other side. Whether a list is
    /// sent at all is the session's to know (wire-session 6.1).
    ///
    /// # Errors
    /// [`Error::TooModern`] if the dialect cannot express a rule.
    pub fn for_wire(&self, we: Side, dialect: Dialect) -> Result<Vec<Vec<u8>>, Error> {
        self.write(Writer {
            rules: self,
            we,
            dialect,
            tells_all: false,
            texts: Vec::new(),
        })
    }

    /// All rules, whatever side they are for, as a `--filter` file of a batch's script holds them.
    ///
    /// # Errors
    /// [`Error::TooModern`] if the dialect cannot express a rule.
    pub fn for_script(&self, dialect: Dialect) -> Result<Vec<Vec<u8>>, Error> {
        self.write(Writer {
            rules: self,
            we: Side::Sender,
            dialect,
            tells_all: true,
            texts: Vec::new(),
        })
    }

    fn write(&self, mut writer: Writer<'_>) -> Result<Vec<Vec<u8>>, Error> {
        for entry in &self.entries {
            match entry {
                Entry::Match(rule) => writer.rule(rule)?,
                Entry::DirMerge(merge) => writer.dir_merge(merge)?,
                Entry::Cvs(list) => writer.cvs(list)?,
            }
        }
        Ok(writer.texts)
    }
}

/// What a rule is about, as far as its letters tell.
#[derive(Clone, Copy)]
enum Of<'a> {
    Names,
    CvsList,
    File(&'a MergeRule),
}

struct Writer<'a> {
    rules: &'a Rules,
    we: Side,
    dialect: Dialect,
    /// Rules for either side are written.
    tells_all: bool,
    texts: Vec<Vec<u8>>,
}

impl Writer<'_> {
    fn rule(&mut self, rule: &Rule) -> Result<(), Error> {
        if self.dialect == Dialect::Old {
            return self.old_rule(rule);
        }
        if !self.tells_all && !self.rules.is_for(rule, self.we.other()) {
            return Ok(());
        }
        let modifiers = Modifiers {
            sides: self.rules.effective(rule.modifiers.sides),
            ..rule.modifiers
        };
        let mut text = vec![sign(rule.action)];
        self.modifiers(&mut text, &modifiers, Of::Names)?;
        text.push(b' ');
        push_pattern(&mut text, rule);
        self.texts.push(text);
        Ok(())
    }

    fn old_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        let Modifiers {
            absolute,
            negate,
            xattr,
            sides,
            ..
        } = rule.modifiers;
        // Such a server knows no sides. It would delete what the rule protects.
        let must_protect = self.we == Side::Sender
            && self.rules.options.delete_excluded
            && sides == Sides::RECEIVER;
        if absolute || negate || xattr || must_protect {
            return Err(Error::TooModern);
        }
        if !self.tells_all && !self.rules.is_for(rule, self.we.other()) {
            return Ok(());
        }
        self.perishable(&rule.modifiers)?;
        let mut text = match rule.action {
            Action::Include => b"+ ".to_vec(),
            Action::Exclude
                if [b"- ", b"+ "]
                    .iter()
                    .any(|sign| rule.pattern().text().starts_with(*sign)) =>
            {
                b"- ".to_vec()
            }
            Action::Exclude => Vec::new(),
        };
        push_pattern(&mut text, rule);
        self.texts.push(text);
        Ok(())
    }

    fn dir_merge(&mut self, merge: &DirMerge) -> Result<(), Error> {
        // A sender that is told of --cvs-exclude adds this by itself, as does every old server.
        let peer_adds_it =
            merge.implied && (self.we == Side::Receiver || self.dialect == Dialect::Old);
        if peer_adds_it || !self.tells_all && !self.rules.is_merge_for(merge, self.we.other()) {
            return Ok(());
        }
        if self.dialect == Dialect::Old {
            return Err(Error::TooModern);
        }
        let mut text = vec![b':'];
        self.modifiers(
            &mut text,
            &merge.rule.template.defaults,
            Of::File(&merge.rule),
        )?;
        text.push(b' ');
        text.extend_from_slice(&merge.rule.name);
        self.texts.push(text);
        Ok(())
    }

    fn cvs(&mut self, list: &CvsList) -> Result<(), Error> {
        if self.we == Side::Sender || (self.dialect == Dialect::Old && !list.implied) {
            return list.rules.iter().try_for_each(|rule| self.rule(rule));
        }
        // The remote sender has its own names to ignore.
        let sides = self.rules.effective(list.modifiers.sides);
        if list.implied || !sides.includes(Side::Sender) {
            return Ok(());
        }
        let mut text = vec![sign(list.action)];
        self.modifiers(
            &mut text,
            &Modifiers {
                sides,
                ..list.modifiers
            },
            Of::CvsList,
        )?;
        text.push(b' ');
        self.texts.push(text);
        Ok(())
    }

    /// The letters, in the order that rsync writes them.
    fn modifiers(
        &self,
        text: &mut Vec<u8>,
        modifiers: &Modifiers,
        of: Of<'_>,
    ) -> Result<(), Error> {
        let mut letter = |letter: u8, is_set: bool| text.extend(is_set.then_some(letter));
        letter(b'/', modifiers.absolute);
        letter(b'!', modifiers.negate);
        match of {
            Of::Names => {}
            Of::CvsList => letter(b'C', true),
            Of::File(file) if file.template.syntax == Syntax::Cvs => letter(b'C', true),
            Of::File(file) => {
                letter(b'n', !file.inherited);
                letter(b'w', file.template.words);
                letter(b'+', file.template.syntax == Syntax::Bare(Action::Include));
                letter(b'-', file.template.syntax == Syntax::Bare(Action::Exclude));
            }
        }
        letter(b'x', modifiers.xattr);
        letter(b's', modifiers.sides.sender);
        letter(b'r', modifiers.sides.receiver);
        letter(b'p', self.perishable(modifiers)?);
        Ok(())
    }

    fn perishable(&self, modifiers: &Modifiers) -> Result<bool, Error> {
        match self.dialect {
            Dialect::Perishable => Ok(modifiers.perishable),
            // Only a receiver makes use of the letter: it may be left out for a sender.
            _ if !modifiers.perishable
                || modifiers.perishable_if_known
                || self.we == Side::Receiver =>
            {
                Ok(false)
            }
            _ => Err(Error::TooModern),
        }
    }
}

fn sign(action: Action) -> u8 {
    match action {
        Action::Include => b'+',
        Action::Exclude => b'-',
    }
}

fn push_pattern(text: &mut Vec<u8>, rule: &Rule) {
    text.extend_from_slice(rule.pattern().text());
    if rule.pattern().directories_only() {
        text.push(b'/');
    }
}
