//! Who may use a module, and how he proves who he is: `auth users`, `secrets file`, `auth digest` (behaviour.md 8.5).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use filter::Glob;
use nix::unistd::{Group, User};
use thiserror::Error;
use wire::Digest;

/// What a client says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The user it claims to be.
    pub user: &'a [u8],
    /// Its answer to the challenge.
    pub response: &'a [u8],
    /// The challenge that it was sent.
    pub challenge: &'a [u8],
    /// The digest that was agreed.
    pub digest: Digest,
}

/// What a user may do who has proved who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// What the module says.
    AsModule,
    /// He can only read.
    ReadOnly,
    /// He can read and write.
    ReadWrite,
}

/// Why a user is turned away: rsync's words for the log. A client must not hear them.
#[derive(Debug, Error)]
pub(crate) enum Denial {
    /// A name that would be a comment in the secrets file.
    #[error("invalid username")]
    InvalidUser,
    /// He is not listed.
    #[error("no matching rule")]
    NoRule,
    /// The first rule that matches says so.
    #[error("denied by rule")]
    ByRule,
    /// There is no secrets file, or it cannot be read.
    #[error("no secrets file")]
    NoSecrets(#[source] io::Error),
    /// The secrets file cannot be trusted.
    #[error("ignoring secrets file")]
    UntrustedSecrets(#[source] UntrustedSecrets),
    /// The secrets file does not have him.
    #[error("secret not found")]
    NoSecret,
    /// He does not know the password.
    #[error("password mismatch")]
    Mismatch,
}

/// What is wrong with the owner or mode of a secrets file; the texts are rsync's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum UntrustedSecrets {
    /// Others can read or write it.
    #[error("secrets file must not be other-accessible (see strict modes option)")]
    Mode,
    /// It is not root's, who runs the daemon.
    #[error("secrets file must be owned by root when running as root (see strict modes)")]
    Owner,
}

/// Why no digest will do; the texts are rsync's for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DigestTooWeak {
    /// The client cannot do better.
    #[error(
        "negotiated auth digest {chosen} is weaker than the required 'auth digest = {required}'"
    )]
    Weak {
        /// What was agreed.
        chosen: Digest,
        /// What the module asks for.
        required: Digest,
    },
    /// No digest has this name.
    #[error("the configured 'auth digest = {0}' is not a supported digest on this build")]
    Unknown(String),
}

/// Checks the agreed digest against the value of `auth digest`, before a challenge is sent.
///
/// # Errors
/// [`DigestTooWeak`].
pub(crate) fn check_digest(auth_digest: &[u8], chosen: Digest) -> Result<(), DigestTooWeak> {
    if auth_digest.is_empty() {
        return Ok(());
    }
    let unknown = || DigestTooWeak::Unknown(String::from_utf8_lossy(auth_digest).into_owned());
    let required = Digest::from_name(auth_digest).ok_or_else(unknown)?;
    if chosen < required {
        return Err(DigestTooWeak::Weak { chosen, required });
    }
    Ok(())
}

/// Checks a claim by the values of `auth users`, `secrets file` and `strict modes`. `groups` tells the groups of a user of
/// this machine, for rules like `@group`.
///
/// # Errors
/// [`Denial`].
pub(crate) fn authenticate(
    auth_users: &[u8],
    secrets_file: Option<&Path>,
    strict_modes: bool,
    claim: &Claim<'_>,
    groups: &dyn Fn(&[u8]) -> Vec<Vec<u8>>,
) -> Result<Access, Denial> {
    let (access, group) = find_rule(auth_users, claim.user, groups)?;
    if claim.user.starts_with(b"#") {
        return Err(Denial::InvalidUser);
    }
    let file = secrets_file.ok_or_else(|| Denial::NoSecrets(io::ErrorKind::NotFound.into()))?;
    let secrets = read_secrets(file, strict_modes)?;
    check_password(&secrets, group.as_deref(), claim)?;
    Ok(access)
}

/// The names of the groups that a user of this machine is in; none if there is no such user.
#[must_use]
pub(crate) fn system_groups(user: &[u8]) -> Vec<Vec<u8>> {
    let name = std::str::from_utf8(user).unwrap_or_default();
    let Ok(Some(user)) = User::from_name(name) else {
        return Vec::new();
    };
    let groups = std::ffi::CString::new(user.name)
        .ok()
        .and_then(|name| nix::unistd::getgrouplist(&name, user.gid).ok());
    groups
        .unwrap_or_default()
        .into_iter()
        .filter_map(|gid| Group::from_gid(gid).ok().flatten())
        .map(|group| group.name.into_bytes())
        .collect()
}

/// Reads a secrets file, if its owner and mode are as they should be.
///
/// # Errors
/// [`Denial::NoSecrets`] and [`Denial::UntrustedSecrets`].
pub(crate) fn read_secrets(file: &Path, strict_modes: bool) -> Result<Vec<u8>, Denial> {
    let mut text = Vec::new();
    open_secrets(file, strict_modes)?
        .read_to_end(&mut text)
        .map_err(Denial::NoSecrets)?;
    Ok(text)
}

/// Whether a user has a password of his own.
#[must_use]
pub(crate) fn has_secret(secrets: &[u8], user: &[u8]) -> bool {
    passwords(secrets).any(|(name, _)| name == user)
}

fn open_secrets(file: &Path, strict_modes: bool) -> Result<File, Denial> {
    let opened = tree::open_trusted_file(file).map_err(Denial::NoSecrets)?;
    if strict_modes {
        let meta = opened.metadata().map_err(Denial::NoSecrets)?;
        if meta.mode() & 0o006 != 0 {
            return Err(Denial::UntrustedSecrets(UntrustedSecrets::Mode));
        }
        if rustix::process::geteuid().is_root() && meta.uid() != 0 {
            return Err(Denial::UntrustedSecrets(UntrustedSecrets::Owner));
        }
    }
    Ok(opened)
}

/// A rule of `auth users`, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule<'a> {
    /// The pattern of users, or of groups.
    pub pattern: &'a [u8],
    /// The pattern is one of groups.
    pub is_group: bool,
    /// What it says of those that match; `None` turns them away.
    pub access: Option<Access>,
}

/// The rules of `auth users`: divided by blanks and commas, or by commas only if the list begins with one.
#[must_use]
pub(crate) fn rules(auth_users: &[u8]) -> Vec<Rule<'_>> {
    let only_commas = auth_users.starts_with(b",");
    auth_users
        .split(|&byte| byte == b',' || (!only_commas && byte.is_ascii_whitespace()))
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
        .map(Rule::parse)
        .collect()
}

impl<'a> Rule<'a> {
    fn parse(word: &'a [u8]) -> Self {
        let colon = word.iter().position(|&byte| byte == b':');
        let (name, suffix) = word.split_at(colon.unwrap_or(word.len()));
        let suffix = suffix.get(1..).unwrap_or_default().trim_ascii_start();
        let (pattern, is_group) = match name {
            [b'@', group @ ..] => (group, true),
            user => (user, false),
        };
        // The first letters decide, and a word that means nothing means nothing.
        let access = match suffix.to_ascii_lowercase().as_slice() {
            [b'd', ..] => None,
            [b'r', b'o', ..] => Some(Access::ReadOnly),
            [b'r', b'w', ..] => Some(Access::ReadWrite),
            _ => Some(Access::AsModule),
        };
        Self {
            pattern,
            is_group,
            access,
        }
    }
}

/// What the first rule for a user says, and the group that it was for.
fn find_rule(
    auth_users: &[u8],
    user: &[u8],
    groups: &dyn Fn(&[u8]) -> Vec<Vec<u8>>,
) -> Result<(Access, Option<Vec<u8>>), Denial> {
    let mut known_groups = None;
    for rule in rules(auth_users) {
        let glob = Glob::new(rule.pattern);
        let group = if rule.is_group {
            let groups = known_groups.get_or_insert_with(|| groups(user));
            let Some(group) = groups.iter().find(|group| glob.is_match(group)) else {
                continue;
            };
            Some(group.clone())
        } else if glob.is_match(user) {
            None
        } else {
            continue;
        };
        return Ok((rule.access.ok_or(Denial::ByRule)?, group));
    }
    Err(Denial::NoRule)
}

/// The first line for the user and the first one for the group are tried, whichever comes first.
fn check_password(secrets: &[u8], group: Option<&[u8]>, claim: &Claim<'_>) -> Result<(), Denial> {
    let mut user = Some(claim.user).filter(|user| !user.starts_with(b"@"));
    let mut group = group;
    let mut denial = Denial::NoSecret;
    for (name, password) in passwords(secrets) {
        let wanted = match name.strip_prefix(b"@") {
            Some(name) if group == Some(name) => &mut group,
            None if user == Some(name) => &mut user,
            _ => continue,
        };
        *wanted = None;
        if claim
            .digest
            .verify(password, claim.challenge, claim.response)
        {
            return Ok(());
        }
        denial = Denial::Mismatch;
    }
    Err(denial)
}

/// The lines of a secrets file: `user` or `@group`, and the password.
fn passwords(secrets: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    secrets.split(|&byte| byte == b'\n').filter_map(|line| {
        let end = line.iter().rposition(|&byte| byte != b'\r')?;
        let line = &line[..=end];
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], &line[colon + 1..]))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn secrets_file(text: &str, mode: u32) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secrets");
        fs::write(&file, text).expect("written");
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("permitted");
        (dir, file)
    }

    /// What comes of `user` with the password `pw`, as text; `root` is in the group `wheel`.
    fn told(auth_users: &str, secrets: &str, user: &str) -> String {
        let (_dir, file) = secrets_file(secrets, 0o600);
        let response = Digest::Sha256.response(b"pw", b"challenge");
        let claim = Claim {
            user: user.as_bytes(),
            response: response.as_bytes(),
            challenge: b"challenge",
            digest: Digest::Sha256,
        };
        let groups = |user: &[u8]| match user {
            b"root" => vec![b"root".to_vec(), b"wheel".to_vec()],
            _ => Vec::new(),
        };
        match authenticate(auth_users.as_bytes(), Some(&file), true, &claim, &groups) {
            Ok(access) => format!("{access:?}"),
            Err(denial) => denial.to_string(),
        }
    }

    /// Each line was seen in rsync 3.5.0.
    #[test]
    fn rules_and_secrets() {
        const JOE: &str = "joe:pw\n";
        for (auth_users, secrets, user, expected) in [
            ("joe", JOE, "joe", "AsModule"),
            ("ann, joe", JOE, "joe", "AsModule"),
            ("ann", JOE, "joe", "no matching rule"),
            (",", JOE, "joe", "no matching rule"),
            ("JOE", JOE, "joe", "no matching rule"),
            ("joe:ro", JOE, "joe", "ReadOnly"),
            ("joe:rox", JOE, "joe", "ReadOnly"),
            ("joe:RW", JOE, "joe", "ReadWrite"),
            ("joe:rw:deny", JOE, "joe", "ReadWrite"),
            ("joe:r", JOE, "joe", "AsModule"),
            ("joe:", JOE, "joe", "AsModule"),
            ("joe:d", JOE, "joe", "denied by rule"),
            ("ann joe:deny *", JOE, "joe", "denied by rule"),
            ("j?e:rw", JOE, "joe", "ReadWrite"),
            (", joe", JOE, "joe", "AsModule"),
            (", joe :rw", JOE, "joe", "no matching rule"),
            (", joe x, *:ro", "joe x:pw\n", "joe x", "AsModule"),
            ("@wheel:rw", "@wheel:pw\n", "root", "ReadWrite"),
            ("@w*", "@wheel:pw\n", "root", "AsModule"),
            ("@wheel", "root:pw\n", "root", "AsModule"),
            ("@wheel", "root:no\n@wheel:pw\n", "root", "AsModule"),
            ("@wheel", "@wheel:no\nroot:pw\n", "root", "AsModule"),
            (
                "@wheel",
                "@wheel:no\n@wheel:pw\n",
                "root",
                "password mismatch",
            ),
            ("@wheel", JOE, "joe", "no matching rule"),
            ("root", "@wheel:pw\n", "root", "secret not found"),
            (
                "*",
                "#joe:pw\n joe:pw\njoe :pw\njoe\n",
                "joe",
                "secret not found",
            ),
            ("*", "#joe:pw\n", "#joe", "invalid username"),
            ("*", "@root:pw\n", "@root", "secret not found"),
            ("joe", "joe:no\njoe:pw\n", "joe", "password mismatch"),
            ("joe", "joe:pw:x\n", "joe", "password mismatch"),
            ("joe", "joe:pw \n", "joe", "password mismatch"),
            ("joe", "bad line\n:empty\njoe:pw\r\n", "joe", "AsModule"),
            ("joe", "joe:pw", "joe", "AsModule"),
            ("joe", "", "joe", "secret not found"),
        ] {
            assert_eq!(
                told(auth_users, secrets, user),
                expected,
                "{auth_users} {secrets:?}"
            );
        }
    }

    #[test]
    fn others_must_not_read_secrets() {
        for (mode, strict, trusted) in [
            (0o600, true, true),
            (0o640, true, true),
            (0o601, true, true),
            (0o604, true, false),
            (0o602, true, false),
            (0o666, false, true),
        ] {
            let (_dir, file) = secrets_file("", mode);
            assert_eq!(open_secrets(&file, strict).is_ok(), trusted, "{mode:o}");
        }
    }

    #[test]
    fn without_secrets_nobody_gets_in() {
        let missing = open_secrets(Path::new("/nonexistent"), true).expect_err("no file");
        assert_eq!(missing.to_string(), "no secrets file");
        let claim = Claim {
            user: b"joe",
            response: b"",
            challenge: b"",
            digest: Digest::Md5,
        };
        let unset = authenticate(b"*", None, true, &claim, &|_| Vec::new());
        assert_eq!(unset.expect_err("no file").to_string(), "no secrets file");
    }

    #[test]
    fn a_weaker_digest_than_required_is_refused() {
        let told = |required: &str, chosen| match check_digest(required.as_bytes(), chosen) {
            Ok(()) => String::new(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(told("", Digest::OldMd4), "");
        assert_eq!(told("SHA1", Digest::Sha512), "");
        assert_eq!(told("sha256", Digest::Sha256), "");
        assert_eq!(
            told("sha256", Digest::Md5),
            "negotiated auth digest md5 is weaker than the required 'auth digest = sha256'"
        );
        assert_eq!(
            told("sha1 md5", Digest::Sha512),
            "the configured 'auth digest = sha1 md5' is not a supported digest on this build"
        );
    }

    #[test]
    fn groups_of_this_machine() {
        assert!(system_groups(b"root").contains(&b"root".to_vec()));
        assert!(system_groups(b"no such user").is_empty());
        assert!(system_groups(b"\xff").is_empty());
    }

    proptest! {
        /// Whatever the files say, nobody gets in without the password.
        #[test]
        fn any_rules_and_secrets(rules in "[@,: *?\\[a-z]{0,30}", secrets in "[@:#\r\na-z]{0,60}") {
            let claim = Claim { user: b"a", response: b"x", challenge: b"c", digest: Digest::Sha1 };
            let groups = |_: &[u8]| vec![b"b".to_vec()];
            let _ = find_rule(rules.as_bytes(), claim.user, &groups);
            prop_assert!(check_password(secrets.as_bytes(), Some(b"b"), &claim).is_err());
        }
    }
}
