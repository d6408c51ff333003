//! With which rights a module is served, and what it can reach.

use super::{Field, Parameter, module};

#[rustfmt::skip]
pub(super) const ROWS: &[Parameter] = &[
    module("uid", Field::Text(|m| &mut m.uid), "",
        "the user that serves the module",
        "The name or number of the user that a daemon run by root changes to; `nobody` if it is not given. A daemon that is not run by root stays who it is. `%RSYNC_USER_NAME%` is the user who has authenticated."),
    module("gid", Field::Text(|m| &mut m.gid), "",
        "the groups that serve the module",
        "The names or numbers of groups, separated by blanks and commas, or by commas only if the list begins with one. The first becomes the group, the others are supplementary; a `*` in the first place stands for all groups of the `uid`. If it is not given, a daemon run by root changes to the group `nobody` or `nogroup`."),
    module("use chroot", Field::Tristate(|m| &mut m.use_chroot), "unset",
        "make the module's path the root directory",
        "The process that serves the module changes its root directory to the module's path, so that nothing else exists for it. This takes root's rights. Unset, the daemon tries, and goes on without if it cannot; a `/./` in the path makes it necessary.\n\nIn a chroot names of users and groups cannot be looked up: see `name converter` and `numeric ids`."),
    module("sandbox", Field::Boolean(|m| &mut m.sandbox), "yes",
        "let the kernel confine the module to its path",
        "Where the kernel has Landlock (version 2 or later of its interface), the process that serves the module cannot reach any file outside the module's path, with or without a chroot, even if it is tricked. Temporary, partial and backup directories are within the module anyway. It is off for modules with `insecure links`.").ours(),
    module("munge symlinks", Field::Tristate(|m| &mut m.munge_symlinks), "unset",
        "make symbolic links of clients lead nowhere",
        "Symbolic links are stored with `/rsyncd-munged/` before their value, and sent without it, so that an uploaded link cannot be followed. Unset, this is done unless the module's path is the root directory of a chroot. If the directory `/rsyncd-munged` exists, such a module is not served."),
    module("insecure links", Field::Boolean(|m| &mut m.insecure_links), "no",
        "follow symbolic links of anybody",
        "Paths are resolved as the kernel does, through links whoever made them and wherever they lead. Whoever can make a link in the module can then reach files outside: it is meant for hosts without untrusted users."),
    module("name converter", Field::Text(|m| &mut m.name_converter), "",
        "a program that knows the names of users and groups",
        "The program is started for each transfer, outside of any chroot, and asked with lines `uid N`, `gid N`, `usr NAME` and `grp NAME` on its standard input, each of which it answers with a line: a name, a number, or nothing. It has the variables described for `pre-xfer exec`."),
];
