//! Our own format's keys: what may stand in a file, as it stands there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where to serve the status page: `HOST:PORT`, or a port of this machine alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The file with the token that the page asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_token_file: Option<PathBuf>,
    /// How to log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogFormat>,
    /// The trees to mirror.
    #[serde(default, rename = "tree")]
    pub trees: Vec<TreeConfig>,
}

/// How a running mirror logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// A tree and its replicas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TreeConfig {
    /// What it is called; its path by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The directory.
    pub source: PathBuf,
    /// Where to keep what each replica holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PathBuf>,
    /// The control socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<PathBuf>,
    /// Rules of rsync's filter language, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
    /// Patterns to leave out, after the rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Regular expressions on whole paths below the source; what matches is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_regex: Vec<String>,
    /// How long to wait after a change for what comes with it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_ms: Option<u64>,
    /// Directories to watch at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_watches: Option<u64>,
    /// Let an empty source empty the replicas.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_empty_source: bool,
    /// The share of a replica's files that a batch may delete unasked, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delete_share: Option<u8>,
    /// A batch that deletes fewer files than this never waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delete_files: Option<u64>,
    /// When to compare the whole tree with what the replicas are known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescan: Option<String>,
    /// When to compare the replicas themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// What a verification compares: contents, or sizes and times only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_by: Option<VerifyBy>,
    /// How many bytes a second a verification may compare, with k, M or G.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_rate: Option<String>,
    /// A file that always lists what is failing now, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<PathBuf>,
    /// The replicas.
    #[serde(default, rename = "replica", skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaConfig>,
    /// What to do after changes.
    #[serde(default, rename = "hook", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookConfig>,
}

/// What a verification compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyBy {
    /// Every byte, by checksums.
    Content,
    /// Sizes and times.
    Times,
}

/// A replica.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplicaConfig {
    /// What it is called; its place by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A path, `[USER@]HOST::MODULE[/PATH]`, `rsync://[USER@]HOST[:PORT]/MODULE[/PATH]` or `[USER@]HOST:PATH`.
    pub to: String,
    /// Remove what the source no longer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<bool>,
    /// The file with a daemon's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Talk to the daemon over TLS.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls: bool,
    /// With `tls`, the file with the certificates that are believed, in PEM, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// How long a peer may make no progress, in seconds; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The newest protocol to speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// The command that leads to the host, its words; ssh by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// The rsync program at the far end of a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rsync: Option<String>,
    /// A directory of the replica that keeps what was overwritten or deleted, by days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash: Option<String>,
    /// Compress what is sent to a daemon or through a shell.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compress: bool,
    /// How many bytes of content a second may be sent there, with k, M or G.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<String>,
    /// How many sessions may bring over a large batch side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u8>,
}

/// A hook; exactly one of `command`, `shell`, `http`, `socket` and `purge` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HookConfig {
    /// A program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A script for /bin/sh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// An `http://` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `HOST:PORT` or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// Send absolute paths to the socket, each over a connection of its own, instead of JSON.
    #[serde(default, skip_serializing_if = "is_false")]
    pub plain: bool,
    /// A content delivery network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeConfig>,
    /// Replicas whose changes count; all by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// Regular expressions on whole absolute paths, one of which must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// How long to wait for more changes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// A content delivery network's interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PurgeConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// The name in the request.
    pub domain: String,
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The URL of the tree's root.
    pub base: String,
    /// A regular expression that makes the URL's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}
