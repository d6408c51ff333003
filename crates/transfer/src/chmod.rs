//! Changes of modes in the language of `--chmod` (behaviour.md 7.9).

/// A list of changes, applied in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chmod {
    changes: Vec<Change>,
}

/// The text is not in the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid --chmod value")]
pub struct BadChmod;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    kind: Affects,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affects {
    All,
    Directories,
    Others,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The whole mode.
    Absolute(u32),
    Symbolic(Symbolic),
}

/// `CLASSES OPERATOR PERMISSIONS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Symbolic {
    /// One bit for each class: 0o111 for all three.
    classes: u32,
    /// Nobody was named: the umask applies.
    masked: bool,
    operator: u8,
    /// One class's worth of `rwx`.
    bits: u32,
    /// `X`.
    conditional: bool,
    /// Set-id and sticky bits.
    special: u32,
    /// A class to take the bits from, as its shift.
    copied_from: Option<u32>,
}

impl Chmod {
    /// Adds the changes of a comma-separated list.
    ///
    /// # Errors
    /// [`BadChmod`]; nothing is added then.
    pub fn add(&mut self, text: &[u8]) -> Result<(), BadChmod> {
        let changes: Result<Vec<_>, _> = text
            .split(|&byte| byte == b',')
            .map(Change::parse)
            .collect();
        self.changes.extend(changes?);
        Ok(())
    }

    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The permissions (07777) that come of `mode`.
    #[must_use]
    pub fn apply(&self, mode: u32, is_dir: bool, umask: u32) -> u32 {
        let wanted = |change: &&Change| match change.kind {
            Affects::All => true,
            Affects::Directories => is_dir,
            Affects::Others => !is_dir,
        };
        self.changes
            .iter()
            .filter(wanted)
            .fold(mode & 0o7777, |mode, change| {
                change.apply(mode, is_dir, umask)
            })
    }
}

impl Change {
    fn parse(text: &[u8]) -> Result<Self, BadChmod> {
        let (kind, rest) = match text {
            [b'D', b'F', ..] | [b'F', b'D', ..] => return Err(BadChmod),
            [b'D', rest @ ..] => (Affects::Directories, rest),
            [b'F', rest @ ..] => (Affects::Others, rest),
            rest => (Affects::All, rest),
        };
        let what = match rest.first() {
            Some(b'0'..=b'7') => octal(rest).map(What::Absolute)?,
            _ => What::Symbolic(Symbolic::parse(rest)?),
        };
        Ok(Self { kind, what })
    }

    fn apply(&self, mode: u32, is_dir: bool, umask: u32) -> u32 {
        match self.what {
            What::Absolute(mode) => mode,
            What::Symbolic(change) => change.apply(mode, is_dir, umask),
        }
    }
}

impl Symbolic {
    fn parse(text: &[u8]) -> Result<Self, BadChmod> {
        let at = text
            .iter()
            .position(|byte| b"+-=".contains(byte))
            .ok_or(BadChmod)?;
        let (who, operator, permissions) = (&text[..at], text[at], &text[at + 1..]);
        let mut classes = 0;
        for letter in who {
            classes |= match letter {
                b'u' => 0o100,
                b'g' => 0o010,
                b'o' => 0o001,
                b'a' => 0o111,
                _ => return Err(BadChmod),
            };
        }
        let masked = classes == 0;
        let (mut bits, mut conditional, mut special, mut copied_from) = (0, false, 0, None);
        for letter in permissions {
            match letter {
                b'r' => bits |= 4,
                b'w' => bits |= 2,
                b'x' => bits |= 1,
                b'X' => conditional = true,
                b's' if masked => special |= 0o4000,
                b's' => special |= set_ids(classes),
                b't' => special |= 0o1000,
                b'u' | b'g' | b'o' if permissions.len() == 1 => {
                    copied_from = Some(match letter {
                        b'u' => 6,
                        b'g' => 3,
                        _ => 0,
                    });
                }
                _ => return Err(BadChmod),
            }
        }
        let classes = if masked { 0o111 } else { classes };
        Ok(Self {
            classes,
            masked,
            operator,
            bits,
            conditional,
            special,
            copied_from,
        })
    }

    fn apply(self, mode: u32, is_dir: bool, umask: u32) -> u32 {
        let may_execute = self.conditional && (is_dir || mode & 0o111 != 0);
        let bits = self
            .copied_from
            .map_or(self.bits, |shift| mode >> shift & 7)
            | u32::from(may_execute);
        let mut bits = self.classes * bits;
        if self.masked {
            bits &= !umask;
        }
        match self.operator {
            b'+' => mode | bits | self.special,
            b'-' => mode & !(bits | self.special),
            _ => {
                let cleared = match self.copied_from {
                    Some(_) => set_ids(self.classes) | ((self.classes & 1) * 0o1000),
                    None if self.special == 0 => 0,
                    None if self.masked => self.special,
                    None => set_ids(self.classes) | self.special,
                };
                mode & !((self.classes * 7) | cleared) | bits | self.special
            }
        }
    }
}

/// The set-id bits that these classes have.
fn set_ids(classes: u32) -> u32 {
    ((classes >> 6 & 1) * 0o4000) | ((classes >> 3 & 1) * 0o2000)
}

fn octal(text: &[u8]) -> Result<u32, BadChmod> {
    if text.len() > 4 || !text.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(BadChmod);
    }
    Ok(text
        .iter()
        .fold(0, |mode, byte| mode * 8 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, mode: u32, is_dir: bool) -> u32 {
        let mut chmod = Chmod::default();
        chmod.add(text.as_bytes()).expect(text);
        chmod.apply(mode, is_dir, 0o022)
    }

    #[test]
    fn changes_apply_as_rsync_applies_them() {
        for (text, mode, is_dir, expected) in [
            ("u+x", 0o644, false, 0o744),
            ("go=", 0o755, false, 0o700),
            ("+w", 0o444, false, 0o644),
            ("a+w", 0o444, false, 0o666),
            ("Dg+s,F-x", 0o755, true, 0o2755),
            ("Dg+s,F-x", 0o755, false, 0o644),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o644, true, 0o755),
            ("a+X", 0o744, false, 0o755),
            ("a+s", 0o755, false, 0o6755),
            ("600", 0o4755, false, 0o600),
            ("D2755,F0644", 0o700, true, 0o2755),
            ("g=u", 0o740, false, 0o770),
            ("u=rw", 0o4755, false, 0o4655),
            ("u=rws", 0o755, false, 0o4655),
            ("+t", 0o755, true, 0o1755),
            // As rsync 3.5.0 does it.
            ("g=u", 0o7644, false, 0o5664),
            ("o=g", 0o7644, false, 0o6644),
            ("=u", 0o7644, false, 0o644),
            ("a=t", 0o7644, false, 0o1000),
            ("a=s", 0o7644, false, 0o7000),
            ("=s", 0o7644, false, 0o7000),
        ] {
            assert_eq!(changed(text, mode, is_dir), expected, "{text} {mode:o}");
        }
    }

    #[test]
    fn what_is_not_in_the_language() {
        for text in [
            "", "DFx", "u", "q+x", "u+q", "u=go", "u=rg", "99", "77777", "u+x,,",
        ] {
            assert_eq!(
                Chmod::default().add(text.as_bytes()),
                Err(BadChmod),
                "{text}"
            );
        }
    }
}
