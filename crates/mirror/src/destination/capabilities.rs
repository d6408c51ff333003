//! What is asked of a peer until it has shown that it does not do it: an old program, a file system without attributes, or
//! a module with `refuse options`.

use transfer::{Applied, Error, PushOptions, Without};

/// What a peer does not do of all that it would be asked for.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    /// For each of [`WISHES`] the reason, once there is one.
    refusals: [Option<String>; WISHES.len()],
}

/// Something that a peer is asked for, and that there is a way without.
struct Wish {
    /// In what a program or its administrator says against the option.
    refused: &'static [&'static str],
    /// In what a receiver says of a file.
    failing: Option<&'static str>,
    /// What is missing without it, for the operator.
    told: &'static str,
    forgo: fn(&mut PushOptions),
}

const WISHES: [Wish; 14] = [
    Wish {
        failing: Some("set_acl:"),
        ..Wish::of(
            &["acls", "ACLs", "-A:"],
            "access control lists are not kept here",
            |options| options.acls = false,
        )
    },
    Wish {
        failing: Some("rsync_xal_set:"),
        ..Wish::of(
            &["xattrs", "xtended attributes"],
            "extended attributes are not kept here",
            |options| options.xattrs = false,
        )
    },
    Wish::of(
        &["sparse", "(-S)"],
        "holes in files are not kept here",
        |options| options.sparse = false,
    ),
    Wish::of(
        &["refuse --compress"],
        "what is sent here is not compressed",
        |options| options.compress = false,
    ),
    Wish::of(
        &["refuse --links"],
        "symbolic links are not kept here",
        |options| options.without |= Without::LINKS,
    ),
    Wish::of(
        &["refuse --hard-links"],
        "the names of a file with several are kept as files of their own here, and renamed files are sent again",
        |options| options.without |= Without::HARD_LINKS,
    ),
    Wish::of(&["refuse --owner"], "owners are not kept here", |options| {
        options.without |= Without::OWNER;
    }),
    Wish::of(&["refuse --group"], "groups are not kept here", |options| {
        options.without |= Without::GROUP;
    }),
    // Its letter has no name in the programs' tables, and they say so.
    Wish::of(
        &["(-D)", "refuse --devices", "refuse --specials"],
        "devices and special files are not kept here",
        |options| options.without |= Without::DEVICES,
    ),
    Wish::of(&["refuse --times"], "times are not kept here", |options| {
        options.without |= Without::TIMES;
    }),
    Wish::of(
        &["refuse --perms"],
        "permissions are not kept here",
        |options| options.without |= Without::PERMISSIONS,
    ),
    Wish::of(
        &["refuse --checksum"],
        "contents are not compared here: files in doubt are sent again",
        |options| options.without |= Without::CHECKSUM,
    ),
    Wish::of(
        &["refuse --remove-source-files"],
        "this replica does not tell which files fail: over one failure all of a session are tried again",
        |options| options.without |= Without::ACKNOWLEDGEMENT,
    ),
    Wish::of(
        &["refuse --dirs"],
        "directories are listed with their content or not at all here",
        |options| options.without |= Without::DIRS,
    ),
];

impl Wish {
    const fn of(
        refused: &'static [&'static str],
        told: &'static str,
        forgo: fn(&mut PushOptions),
    ) -> Self {
        Self {
            refused,
            failing: None,
            told,
            forgo,
        }
    }

    fn tell(&self, words: &str) -> String {
        format!("{}: {words}", self.told)
    }
}

impl Capabilities {
    /// Asks for what is kept.
    pub(super) fn ask(&self, options: &mut PushOptions) {
        options.acls = true;
        options.xattrs = true;
        options.sparse = true;
        for (wish, _) in self.refused() {
            (wish.forgo)(options);
        }
    }

    /// What a session can do without.
    pub(super) fn without(&self) -> Without {
        let mut options = PushOptions::default();
        self.ask(&mut options);
        options.without
    }

    /// Whether a session failed for what was asked for, which is not asked for again: a program without the option, or
    /// `refuse options` of a module. Returns the news.
    pub(super) fn learn_from(&mut self, error: &Error) -> Option<String> {
        let words = error.to_string();
        let is_refusal = ["refuse", "not supported", "unknown option"]
            .iter()
            .any(|sign| words.contains(sign));
        if !is_refusal {
            return None;
        }
        WISHES
            .iter()
            .zip(&mut self.refusals)
            .find_map(|(wish, refusal)| {
                let is_it = wish.refused.iter().any(|name| words.contains(name));
                is_it.then(|| note(wish, refusal, &words)).flatten()
            })
    }

    /// Takes out of a session's errors that the file system at the far end knows no such thing: it will not next time
    /// either. Returns the news.
    pub(super) fn learn_from_errors(&mut self, applied: &mut Applied) -> Vec<String> {
        let mut news = Vec::new();
        for (wish, refusal) in WISHES.iter().zip(&mut self.refusals) {
            let Some(failing) = wish.failing else {
                continue;
            };
            applied.errors.retain(|line| {
                let is_it = line.contains(failing) && line.contains(UNSUPPORTED);
                if is_it {
                    news.extend(note(wish, refusal, line));
                }
                !is_it
            });
        }
        news
    }

    /// What is not kept, with the reasons.
    pub(super) fn lacks(&self) -> Vec<String> {
        self.refused()
            .map(|(wish, reason)| wish.tell(reason))
            .collect()
    }

    fn refused(&self) -> impl Iterator<Item = (&'static Wish, &str)> {
        let both = WISHES.iter().zip(&self.refusals);
        both.filter_map(|(wish, refusal)| Some((wish, refusal.as_deref()?)))
    }
}

/// How every C library that rsync runs with words `EOPNOTSUPP` in the locale that daemons have.
const UNSUPPORTED: &str = "Operation not supported";

/// Notes the reason of a refusal. Returns the news, unless it is none.
fn note(wish: &Wish, refusal: &mut Option<String>, words: &str) -> Option<String> {
    let is_news = refusal.is_none();
    refusal.get_or_insert_with(|| words.to_owned());
    is_news.then(|| wish.tell(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(capabilities: &Capabilities) -> (bool, bool) {
        let mut options = PushOptions::default();
        capabilities.ask(&mut options);
        (options.acls, options.xattrs)
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        let mut capabilities = Capabilities::default();
        assert_eq!(asks(&capabilities), (true, true));
        let refused = |words: &str| Error::Refused(words.to_owned());
        assert!(
            capabilities
                .learn_from(&refused("auth failed on module m"))
                .is_none()
        );
        let news = capabilities
            .learn_from(&refused("The server is configured to refuse --acls (-A)"))
            .unwrap();
        assert!(
            news.starts_with("access control lists are not kept here: "),
            "{news}"
        );
        assert_eq!(asks(&capabilities), (false, true));
        // Nobody refuses twice what is not asked for; that would be a failure like any other.
        assert!(
            capabilities
                .learn_from(&refused("refuse --acls (-A)"))
                .is_none()
        );
        capabilities
            .learn_from(&refused(
                "extended attributes are not supported on this server",
            ))
            .unwrap();
        assert_eq!(asks(&capabilities), (false, false));
        assert_eq!(capabilities.lacks().len(), 2);
    }

    #[test]
    fn a_file_system_without_them_is_no_failure() {
        let mut capabilities = Capabilities::default();
        let xattr = "rsync: [receiver] rsync_xal_set: fsetxattr(\"/r/.a.x\",\"user.k\") failed: Operation not supported (95)";
        let full = "rsync: [receiver] rsync_xal_set: fsetxattr(\"/r/.a.x\",\"user.k\") failed: No space left on device (28)";
        let mut applied = Applied {
            errors: [xattr, xattr, full].map(str::to_owned).to_vec(),
            ..Applied::default()
        };
        assert_eq!(capabilities.learn_from_errors(&mut applied).len(), 1);
        assert_eq!(applied.errors, [full]);
        assert_eq!(asks(&capabilities), (true, false));
    }
}
