//! Roles, causes and the engine's messages, in rsync's words.

use std::io;

use transfer::{Notice, Role};

/// A message of the engine as rsync writes it: with a cause it also tells who speaks.
pub(crate) fn notice_line(notice: &Notice<'_>) -> Vec<u8> {
    match notice.cause {
        None => notice.text.to_vec(),
        Some(cause) => {
            let role = role_name(notice.role);
            [
                format!("rsync: [{role}] ").as_bytes(),
                notice.text,
                format!(": {}", strerror(cause)).as_bytes(),
            ]
            .concat()
        }
    }
}

/// What `--debug=filter` says of an entry that a rule decided on.
pub(crate) fn filtered(
    role: Role,
    path: &[u8],
    is_dir: bool,
    is_excluded: bool,
    rule: &[u8],
) -> Vec<u8> {
    let verb = match (role, is_excluded) {
        (Role::Sender, true) => "hiding",
        (Role::Sender, false) => "showing",
        (_, true) => "protecting",
        (_, false) => "risking",
    };
    let (role, kind) = (role_name(role), if is_dir { "directory" } else { "file" });
    let head = format!("[{role}] {verb} {kind} ");
    [head.as_bytes(), path, b" because of pattern ", rule].concat()
}

/// The name of a role in messages.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Sender => "sender",
        Role::Generator => "generator",
        Role::Receiver => "receiver",
        Role::ReceivingSide => "Receiver",
    }
}

/// The system's words and number, as rsync has them: `No such file or directory (2)`.
#[must_use]
pub fn strerror(cause: &io::Error) -> String {
    let text = cause.to_string();
    match cause.raw_os_error() {
        Some(number) => {
            let words = text
                .strip_suffix(&format!(" (os error {number})"))
                .unwrap_or(&text)
                .to_owned();
            format!("{words} ({number})")
        }
        None => text,
    }
}
