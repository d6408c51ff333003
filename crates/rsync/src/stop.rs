//! Why a command line is not carried out, and what its user sees instead.

use crate::exit::Exit;

/// The end of a run before its transfer began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A text for standard output was asked for; the exit code is 0.
    Show(String),
    /// The command line makes no sense: version and usage on standard error, code 1.
    Usage,
    /// Lines for standard error as they stand, and an exit code.
    Refuse(String, Exit),
}

impl Stop {
    /// A fault that the option parser found, in the form that rsync gives it.
    pub(crate) fn option(text: impl AsRef<str>) -> Self {
        Self::Refuse(format!("rsync: {}", text.as_ref()), Exit::Syntax)
    }

    /// A fault in the meaning of the command line.
    pub(crate) fn syntax(text: impl Into<String>) -> Self {
        Self::Refuse(text.into(), Exit::Syntax)
    }
}

/// The text of an argument in a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
