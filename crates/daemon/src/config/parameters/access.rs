//! Who may use a module.

use super::{Field, Parameter, module};

#[rustfmt::skip]
pub(super) const ROWS: &[Parameter] = &[
    module("auth users", Field::Text(|m| &mut m.auth_users), "",
        "the users that may connect, after they have authenticated",
        "Rules separated by blanks and commas, or by commas only if the list begins with one. A rule is a user's name, a wildcard pattern of names, or `@` and the name of a group of the system that the user must be in. It may end in `:deny`, `:ro` or `:rw`, which turns the user away or sets `read only` for him. The first rule that matches counts.\n\nUsers need no account. If it is not given, everybody can use the module without a password."),
    module("secrets file", Field::Text(|m| &mut m.secrets_file), "",
        "the passwords of users and groups",
        "Lines `USER:PASSWORD` and `@GROUP:PASSWORD`; a `#` begins a comment. The password of a group is for users who were let in by a rule for that group. See `strict modes` for who may read the file."),
    module("strict modes", Field::Boolean(|m| &mut m.strict_modes), "yes",
        "refuse a secrets file that others can read",
        "The secrets file must not be readable or writable by others, and must belong to root if the daemon runs as root. If it is not so, nobody can log in."),
    module("auth digest", Field::Text(|m| &mut m.auth_digest), "",
        "the weakest digest that may prove knowledge of a password",
        "One of `sha512`, `sha256`, `sha1`, `md5` and `md4`, from strong to weak. Clients that cannot do better are turned away: with `sha256`, those older than rsync 3.2.7. If it is not given, every digest will do."),
    module("hosts allow", Field::Text(|m| &mut m.hosts_allow), "",
        "the hosts that may connect",
        "Patterns separated by blanks and commas: an address, an address with a netmask (`192.168.1.0/24`, `192.168.1.0/255.255.255.0`, `2001:db8::/32`), a host name, a wildcard pattern of host names, or `@` and a netgroup.\n\nA host that matches may connect. One that does not may connect only if there is a `hosts deny` that it does not match either. If neither is given, every host may connect."),
    module("hosts deny", Field::Text(|m| &mut m.hosts_deny), "",
        "the hosts that may not connect",
        "Patterns as for `hosts allow`, which is looked at first. A host name that cannot be resolved counts as a match, for safety."),
    module("reverse lookup", Field::Boolean(|m| &mut m.reverse_lookup), "yes",
        "look up the names of clients",
        "The client's address is resolved to a name, for host patterns and the log. Otherwise its name is `UNDETERMINED`. If it is on in the global section, the lookup is made for each connection."),
    module("forward lookup", Field::Boolean(|m| &mut m.forward_lookup), "yes",
        "look up the addresses of names in host patterns",
        "A host name in `hosts allow` or `hosts deny` is resolved to addresses, one of which may be the client's."),
];
