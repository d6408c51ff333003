//! Access control lists, extended attributes and holes at a peer: asked for until it has shown that it does not keep them.

use transfer::{Applied, Error, PushOptions};

/// What a peer keeps beside what a stat shows.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    acls: Kept,
    xattrs: Kept,
    holes: Kept,
}

/// Why a peer does not keep something, once it has said so.
#[derive(Debug, Default)]
struct Kept {
    refusal: Option<String>,
}

/// How each is called by those who refuse it, and how by us.
const ACLS: Names = Names {
    refused: ["acls", "-a:"],
    failing: Some("set_acl:"),
    told: "access control lists are not kept here",
};
const XATTRS: Names = Names {
    refused: ["xattrs", "extended attributes"],
    failing: Some("rsync_xal_set:"),
    told: "extended attributes are not kept here",
};
const HOLES: Names = Names {
    refused: ["sparse", "(-s)"],
    failing: None,
    told: "holes in files are not kept here",
};

struct Names {
    /// In what a program or its administrator says against the option, in lower case.
    refused: [&'static str; 2],
    /// In what a receiver says of a file.
    failing: Option<&'static str>,
    told: &'static str,
}

impl Attributes {
    /// Asks for what is kept.
    pub(super) fn ask(&self, options: &mut PushOptions) {
        options.acls = self.acls.refusal.is_none();
        options.xattrs = self.xattrs.refusal.is_none();
        options.sparse = self.holes.refusal.is_none();
    }

    /// Whether a session failed for what was asked for, which is not asked for again: a program without the option, or
    /// `refuse options` of a module. Returns the news.
    pub(super) fn learn_from(&mut self, error: &Error) -> Option<String> {
        let words = error.to_string();
        let small = words.to_lowercase();
        let is_refusal = ["refuse", "not supported", "unknown option"]
            .iter()
            .any(|sign| small.contains(sign));
        if !is_refusal {
            return None;
        }
        self.kinds().into_iter().find_map(|(kept, names)| {
            let is_it = names.refused.iter().any(|name| small.contains(name));
            is_it.then(|| kept.refuse(names, &words)).flatten()
        })
    }

    /// Takes out of a session's errors that the file system at the far end knows no such thing: it will not next time
    /// either. Returns the news.
    pub(super) fn learn_from_errors(&mut self, applied: &mut Applied) -> Vec<String> {
        let mut news = Vec::new();
        for (kept, names) in self.kinds() {
            let Some(failing) = names.failing else {
                continue;
            };
            applied.errors.retain(|line| {
                let is_it = line.contains(failing) && line.contains(UNSUPPORTED);
                if is_it {
                    news.extend(kept.refuse(names, line));
                }
                !is_it
            });
        }
        news
    }

    /// What is not kept, with the reasons.
    pub(super) fn lacks(&self) -> Vec<String> {
        let kinds = [
            (&self.acls, &ACLS),
            (&self.xattrs, &XATTRS),
            (&self.holes, &HOLES),
        ];
        kinds
            .into_iter()
            .filter_map(|(kept, names)| Some(names.tell(kept.refusal.as_deref()?)))
            .collect()
    }

    fn kinds(&mut self) -> [(&mut Kept, &'static Names); 3] {
        [
            (&mut self.acls, &ACLS),
            (&mut self.xattrs, &XATTRS),
            (&mut self.holes, &HOLES),
        ]
    }
}

/// How every C library that rsync runs with words `EOPNOTSUPP` in the locale that daemons have.
const UNSUPPORTED: &str = "Operation not supported";

impl Kept {
    fn refuse(&mut self, names: &Names, words: &str) -> Option<String> {
        let is_news = self.refusal.is_none();
        self.refusal.get_or_insert_with(|| words.to_owned());
        is_news.then(|| names.tell(words))
    }
}

impl Names {
    fn tell(&self, words: &str) -> String {
        format!("{}: {words}", self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(attributes: &Attributes) -> (bool, bool) {
        let mut options = PushOptions::default();
        attributes.ask(&mut options);
        (options.acls, options.xattrs)
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        let mut attributes = Attributes::default();
        assert_eq!(asks(&attributes), (true, true));
        let refused = |words: &str| Error::Refused(words.to_owned());
        assert!(
            attributes
                .learn_from(&refused("auth failed on module m"))
                .is_none()
        );
        let news = attributes
            .learn_from(&refused("The server is configured to refuse --acls (-A)"))
            .unwrap();
        assert!(
            news.starts_with("access control lists are not kept here: "),
            "{news}"
        );
        assert_eq!(asks(&attributes), (false, true));
        // Nobody refuses twice what is not asked for; that would be a failure like any other.
        assert!(
            attributes
                .learn_from(&refused("refuse --acls (-A)"))
                .is_none()
        );
        attributes
            .learn_from(&refused(
                "extended attributes are not supported on this server",
            ))
            .unwrap();
        assert_eq!(asks(&attributes), (false, false));
        assert_eq!(attributes.lacks().len(), 2);
    }

    #[test]
    fn a_file_system_without_them_is_no_failure() {
        let mut attributes = Attributes::default();
        let xattr = "rsync: [receiver] rsync_xal_set: fsetxattr(\"/r/.a.x\",\"user.k\") failed: Operation not supported (95)";
        let full = "rsync: [receiver] rsync_xal_set: fsetxattr(\"/r/.a.x\",\"user.k\") failed: No space left on device (28)";
        let mut applied = Applied {
            errors: [xattr, xattr, full].map(str::to_owned).to_vec(),
            ..Applied::default()
        };
        assert_eq!(attributes.learn_from_errors(&mut applied).len(), 1);
        assert_eq!(applied.errors, [full]);
        assert_eq!(asks(&attributes), (true, false));
    }
}
