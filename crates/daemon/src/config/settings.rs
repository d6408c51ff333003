//! The parameters as typed fields.

use super::{Facility, Text};

/// Parameters of the daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `motd file`
    pub motd_file: Text,
    /// `pid file`
    pub pid_file: Text,
    /// `port`; 0 is the default, 873.
    pub port: i32,
    /// `address`
    pub address: Text,
    /// `socket options`
    pub socket_options: Text,
    /// `listen backlog`
    pub listen_backlog: i32,
    /// `daemon chroot`
    pub daemon_chroot: Text,
    /// `daemon uid`
    pub daemon_uid: Text,
    /// `daemon gid`
    pub daemon_gid: Text,
    /// `proxy protocol`
    pub proxy_protocol: bool,
    /// `proxy protocol hosts`
    pub proxy_protocol_hosts: Text,
    /// `tls cert` (ours)
    pub tls_cert: Text,
    /// `tls key` (ours)
    pub tls_key: Text,
    /// `tls port` (ours); 0 is the default, 874.
    pub tls_port: i32,
}

/// Parameters of a module, or their defaults in the global section. What is `None` was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `comment`
    pub comment: Text,
    /// `path`, without slashes at its end.
    pub path: Text,
    /// `use chroot`
    pub use_chroot: Option<bool>,
    /// `numeric ids`
    pub numeric_ids: Option<bool>,
    /// `munge symlinks`
    pub munge_symlinks: Option<bool>,
    /// `open noatime`
    pub open_noatime: Option<bool>,
    /// `insecure links`
    pub insecure_links: bool,
    /// `sandbox` (ours)
    pub sandbox: bool,
    /// `name converter`
    pub name_converter: Text,
    /// `charset`
    pub charset: Text,
    /// `max connections`; 0 is no limit, a negative number closes the module.
    pub max_connections: i32,
    /// `lock file`
    pub lock_file: Text,
    /// `log file`
    pub log_file: Text,
    /// `log style` (ours)
    pub log_style: LogStyle,
    /// `log format`
    pub log_format: Text,
    /// `transfer logging`
    pub transfer_logging: bool,
    /// `syslog facility`
    pub syslog_facility: Facility,
    /// `syslog tag`
    pub syslog_tag: Text,
    /// `max verbosity`
    pub max_verbosity: i32,
    /// `read only`
    pub read_only: bool,
    /// `write only`
    pub write_only: bool,
    /// `list`
    pub list: bool,
    /// `uid`
    pub uid: Text,
    /// `gid`
    pub gid: Text,
    /// `fake super`
    pub fake_super: bool,
    /// `filter`
    pub filter: Text,
    /// `exclude`
    pub exclude: Text,
    /// `include`
    pub include: Text,
    /// `exclude from`
    pub exclude_from: Text,
    /// `include from`
    pub include_from: Text,
    /// `incoming chmod`
    pub incoming_chmod: Text,
    /// `outgoing chmod`
    pub outgoing_chmod: Text,
    /// `auth users`
    pub auth_users: Text,
    /// `secrets file`
    pub secrets_file: Text,
    /// `auth digest`
    pub auth_digest: Text,
    /// `strict modes`
    pub strict_modes: bool,
    /// `hosts allow`
    pub hosts_allow: Text,
    /// `hosts deny`
    pub hosts_deny: Text,
    /// `reverse lookup`
    pub reverse_lookup: bool,
    /// `forward lookup`
    pub forward_lookup: bool,
    /// `ignore errors`
    pub ignore_errors: bool,
    /// `ignore nonreadable`
    pub ignore_nonreadable: bool,
    /// `timeout` in seconds; 0 is none.
    pub timeout: i32,
    /// `refuse options`
    pub refuse_options: Text,
    /// `dont compress`
    pub dont_compress: Text,
    /// `early exec`
    pub early_exec: Text,
    /// `pre-xfer exec`
    pub pre_xfer_exec: Text,
    /// `post-xfer exec`
    pub post_xfer_exec: Text,
    /// `temp dir`, without slashes at its end.
    pub temp_dir: Text,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStyle {
    /// As rsync does.
    #[default]
    Text,
    /// An object of JSON.
    Json,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            motd_file: Text::default(),
            pid_file: Text::default(),
            port: 0,
            address: Text::default(),
            socket_options: Text::default(),
            listen_backlog: 5,
            daemon_chroot: Text::default(),
            daemon_uid: Text::default(),
            daemon_gid: Text::default(),
            proxy_protocol: false,
            proxy_protocol_hosts: Text::default(),
            tls_cert: Text::default(),
            tls_key: Text::default(),
            tls_port: 0,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let unset = Text::default;
        Self {
            comment: unset(),
            path: unset(),
            use_chroot: None,
            numeric_ids: None,
            munge_symlinks: None,
            open_noatime: None,
            insecure_links: false,
            sandbox: true,
            name_converter: unset(),
            charset: unset(),
            max_connections: 0,
            lock_file: Text::built_in("/var/run/rsyncd.lock"),
            log_file: unset(),
            log_style: LogStyle::Text,
            log_format: Text::built_in("%o %h [%a] %m (%u) %f %l"),
            transfer_logging: false,
            syslog_facility: Facility::DAEMON,
            syslog_tag: Text::built_in("rsyncd"),
            max_verbosity: 1,
            read_only: true,
            write_only: false,
            list: true,
            uid: unset(),
            gid: unset(),
            fake_super: false,
            filter: unset(),
            exclude: unset(),
            include: unset(),
            exclude_from: unset(),
            include_from: unset(),
            incoming_chmod: unset(),
            outgoing_chmod: unset(),
            auth_users: unset(),
            secrets_file: unset(),
            auth_digest: unset(),
            strict_modes: true,
            hosts_allow: unset(),
            hosts_deny: unset(),
            reverse_lookup: true,
            forward_lookup: true,
            ignore_errors: false,
            ignore_nonreadable: false,
            timeout: 0,
            refuse_options: unset(),
            dont_compress: unset(),
            early_exec: unset(),
            pre_xfer_exec: unset(),
            post_xfer_exec: unset(),
            temp_dir: unset(),
        }
    }
}
