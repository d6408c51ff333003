//! Values of text parameters, with their `%VAR%`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use rsync::Env;
use thiserror::Error;

use super::Place;

/// A text as it stands in the file. Its variables are looked up when it is used, so that it can speak of the user who
/// has proved who he is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    value: Option<Arc<[u8]>>,
    place: Option<Place>,
}

/// What a variable brings into a command for a shell must not mean anything to a shell.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("refusing to run shell hook: %{variable}% holds a shell metacharacter")]
pub struct Metacharacter {
    /// The variable's name.
    pub variable: String,
}

impl Text {
    /// A built-in default.
    pub(crate) fn built_in(value: &str) -> Self {
        Self {
            value: Some(value.as_bytes().into()),
            place: None,
        }
    }

    /// What the file says at `place`.
    pub(crate) fn said(value: &[u8], place: Option<Place>) -> Self {
        Self {
            value: Some(value.into()),
            place,
        }
    }

    /// Nobody said anything, which is not the same as saying nothing.
    pub(crate) fn is_unset(&self) -> bool {
        self.value.is_none()
    }

    /// Nothing, said or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw().is_empty()
    }

    /// The text as it stands in the file.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// Where it stands; `None` for a built-in default or an override.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The text with its variables replaced.
    #[must_use]
    pub fn expand(&self, env: &Env) -> Vec<u8> {
        expand(self.raw(), env)
    }

    /// The expanded text; `None` if it is empty.
    #[must_use]
    pub fn value(&self, env: &Env) -> Option<Vec<u8>> {
        Some(self.expand(env)).filter(|text| !text.is_empty())
    }

    /// The expanded text as a command for a shell; `None` if it is empty. What a client can choose, the variables named
    /// `RSYNC_...`, comes in quotes.
    ///
    /// # Errors
    /// `Metacharacter` in one of them.
    pub fn command(&self, env: &Env) -> Result<Option<Vec<u8>>, Metacharacter> {
        const OURS: &str = "RSYNC_";
        let mut command = Vec::new();
        let mut rest = self.raw();
        while let Some((&first, after)) = rest.split_first() {
            let found =
                variable(rest).and_then(|(name, after)| Some((name, env.get(name)?, after)));
            let Some((name, value, after)) = found else {
                command.push(first);
                rest = after;
                continue;
            };
            rest = after;
            if !name.starts_with(OURS) {
                command.extend_from_slice(value);
                continue;
            }
            if value.iter().any(|&byte| is_for_shells(byte)) {
                let variable = name.to_owned();
                return Err(Metacharacter { variable });
            }
            command.extend([b"'", value, b"'"].concat());
        }
        Ok(Some(command).filter(|command| !command.is_empty()))
    }

    /// The expanded text as a path; `None` if it is empty.
    #[must_use]
    pub fn path(&self, env: &Env) -> Option<PathBuf> {
        self.value(env)
            .map(|text| PathBuf::from(OsString::from_vec(text)))
    }
}

/// Replaces each `%VAR%` that `env` has. All else stays, percent signs included: a path must not lose a part because a
/// variable is missing.
pub(crate) fn expand(text: &[u8], env: &Env) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let found = variable(rest).and_then(|(name, after)| Some((env.get(name)?, after)));
        rest = match found {
            Some((value, after)) => {
                expanded.extend_from_slice(value);
                after
            }
            None => {
                expanded.push(first);
                after
            }
        };
    }
    expanded
}

fn is_for_shells(byte: u8) -> bool {
    b"'\"`$\\;&|<>()*?[]# !~{}".contains(&byte) || byte.is_ascii_control()
}

/// The name of the reference that `text` begins with, and what follows the reference.
fn variable(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"%")?;
    let end = text.iter().position(|&byte| byte == b'%')?;
    let name = &text[..end];
    let is_name = name.first().is_some_and(u8::is_ascii_uppercase)
        && name
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let name = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    Some((name, &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rsync 3.5.0 expands these.
    #[test]
    fn references_are_expanded_as_rsync_does() {
        let env = Env::from([("HOME", "/root"), ("P", "p"), ("H_ME", "hm"), ("Ho", "ho")]);
        for (text, expanded) in [
            ("%HOME% %% 100% %home% %HOME", "/root %% 100% %home% %HOME"),
            ("%NOPE% %H%HOME% x%%HOME%", "%NOPE% %H/root x%/root"),
            ("A%%HOME%%B", "A%/root%B"),
            ("%H_ME% %P%HOME%% %Ho% %P % %Q%P%", "hm pHOME%% ho %P % %Qp"),
            ("%1HOME% %%", "%1HOME% %%"),
            ("%HOME%%HOME%", "/root/root"),
            ("", ""),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&expand(text.as_bytes(), &env)),
                expanded
            );
        }
    }

    #[test]
    fn commands_quote_what_clients_choose() {
        let env = Env::from([
            ("HOME", "/a b"),
            ("RSYNC_USER_NAME", "joe"),
            ("RSYNC_HOST_NAME", "$(reboot)"),
        ]);
        let command = |text| Text::built_in(text).command(&env);
        assert_eq!(
            command("echo %RSYNC_USER_NAME% \"%RSYNC_USER_NAME%\" %HOME%"),
            Ok(Some(b"echo 'joe' \"'joe'\" /a b".to_vec()))
        );
        let refused = command("echo %RSYNC_HOST_NAME%").expect_err("a command in a name");
        assert_eq!(
            refused.to_string(),
            "refusing to run shell hook: %RSYNC_HOST_NAME% holds a shell metacharacter"
        );
        assert_eq!(command(""), Ok(None));
    }

    #[test]
    fn an_empty_text_is_no_value() {
        let env = Env::from([("EMPTY", "")]);
        assert_eq!(Text::default().value(&env), None);
        assert_eq!(Text::built_in("%EMPTY%").value(&env), None);
        assert_eq!(Text::built_in("a").value(&env), Some(b"a".to_vec()));
    }
}
