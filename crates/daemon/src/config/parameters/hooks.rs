//! Commands that are run for each connection.

use super::{Field, Parameter, module};

#[rustfmt::skip]
pub(super) const ROWS: &[Parameter] = &[
    module("early exec", Field::Text(|m| &mut m.early_exec), "",
        "a command to run when a module was chosen",
        "A command for the shell, run after the client has authenticated and before anything else is known of its request. It reads on its standard input what the client gave with `--early-input`. If it fails, the client is turned away."),
    module("pre-xfer exec", Field::Text(|m| &mut m.pre_xfer_exec), "",
        "a command to run before the transfer",
        "A command for the shell, run when the request is known, outside of any chroot and with the rights of the daemon. If it fails, the transfer does not take place and the client is shown what the command has written to its standard output.\n\nAll commands have these variables: `RSYNC_MODULE_NAME`, `RSYNC_MODULE_PATH`, `RSYNC_HOST_ADDR`, `RSYNC_HOST_NAME`, `RSYNC_USER_NAME` and `RSYNC_PID`; this one also `RSYNC_REQUEST` (what was asked for) and `RSYNC_ARG0`, `RSYNC_ARG1` and so on (the arguments). A `%VAR%` of which the value means something to a shell is not passed on: the command is not run. Use `\"$VAR\"` in place of it.\n\n`RSYNC_SHELL` in the daemon's environment names another shell; `RSYNC_NO_XFER_EXEC` turns all commands off."),
    module("post-xfer exec", Field::Text(|m| &mut m.post_xfer_exec), "",
        "a command to run after the transfer",
        "A command for the shell, run when the process that served the client has ended, however it ended. In addition to the variables of `pre-xfer exec` it has `RSYNC_EXIT_STATUS`, the exit code or -1, and `RSYNC_RAW_STATUS`, as from waitpid(2)."),
];
