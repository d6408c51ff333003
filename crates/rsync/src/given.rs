//! What the user said: the options of one command line, before any of them is weighed against another.

use crate::flags::{DEBUG, INFO, Levels};

/// The options as they were given, in the state the last of them left.
///
/// Counters count, values are checked for their own form only. What options mean for each other is decided by
/// `meant`.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What is left when the options are taken away, in order.
    pub operands: Vec<Vec<u8>>,
    /// All words as they were typed.
    pub(crate) words: Vec<Vec<u8>>,

    // What is said and printed.
    pub(crate) version: u32,
    pub(crate) verbose: u32,
    pub(crate) quiet: bool,
    pub(crate) info: Levels,
    pub(crate) debug: Levels,
    pub(crate) stderr: Option<Stderr>,
    pub(crate) motd: bool,
    pub(crate) stats: bool,
    pub(crate) human: u32,
    pub(crate) eight_bit: bool,
    pub(crate) progress: bool,
    pub(crate) itemize: u32,
    pub(crate) out_format: Option<Vec<u8>>,
    pub(crate) log_file: Option<Vec<u8>>,
    pub(crate) log_file_format: Option<Vec<u8>>,
    pub(crate) outbuf: Option<Buffering>,
    pub(crate) list_only: bool,

    // Which files take part.
    pub(crate) recursive: Recursion,
    pub(crate) incremental: bool,
    pub(crate) dirs: Dirs,
    pub(crate) relative: Option<bool>,
    pub(crate) implied_dirs: bool,
    pub(crate) one_file_system: u32,
    pub(crate) update: bool,
    pub(crate) existing: bool,
    pub(crate) ignore_existing: bool,
    pub(crate) max_size: Option<u64>,
    pub(crate) min_size: Option<u64>,
    pub(crate) prune_empty_dirs: bool,
    pub(crate) ignore_missing_args: bool,
    pub(crate) delete_missing_args: bool,
    pub(crate) cvs_exclude: bool,
    pub(crate) rules: Vec<RuleOption>,
    pub(crate) per_dir_filters: u32,
    pub(crate) files_from: Option<Vec<u8>>,
    pub(crate) from0: bool,
    pub(crate) qsort: bool,

    // Which of their attributes.
    pub(crate) links: bool,
    pub(crate) copy_links: bool,
    pub(crate) copy_unsafe_links: bool,
    pub(crate) safe_links: bool,
    pub(crate) insecure_links: bool,
    pub(crate) munge_links: bool,
    pub(crate) copy_dirlinks: bool,
    pub(crate) keep_dirlinks: bool,
    pub(crate) hard_links: u32,
    pub(crate) perms: bool,
    pub(crate) executability: bool,
    pub(crate) chmod: Vec<Vec<u8>>,
    pub(crate) acls: bool,
    pub(crate) xattrs: u32,
    pub(crate) owner: bool,
    pub(crate) group: bool,
    pub(crate) devices: bool,
    pub(crate) specials: bool,
    pub(crate) copy_devices: bool,
    pub(crate) write_devices: bool,
    pub(crate) drop_devices: bool,
    pub(crate) times: bool,
    pub(crate) atimes: u32,
    pub(crate) open_noatime: bool,
    pub(crate) omit_dir_times: bool,
    pub(crate) omit_link_times: bool,
    pub(crate) rights: Option<Super>,
    pub(crate) numeric_ids: bool,
    pub(crate) usermap: Option<IdMap>,
    pub(crate) groupmap: Option<IdMap>,
    pub(crate) confine_root: Option<Vec<u8>>,
    pub(crate) copy_as: Option<Vec<u8>>,

    // How they are compared and written.
    pub(crate) checksum: bool,
    pub(crate) checksum_choice: Option<Vec<u8>>,
    pub(crate) checksum_seed: i32,
    pub(crate) ignore_times: bool,
    pub(crate) size_only: bool,
    pub(crate) modify_window: i32,
    pub(crate) whole_file: Option<bool>,
    pub(crate) block_size: u64,
    pub(crate) fuzzy: u32,
    pub(crate) basis_kind: Option<BasisKind>,
    pub(crate) basis_dirs: Vec<Vec<u8>>,
    pub(crate) inplace: bool,
    pub(crate) append: u32,
    pub(crate) sparse: bool,
    pub(crate) preallocate: bool,
    pub(crate) fsync: bool,
    pub(crate) dry_run: bool,
    pub(crate) backup: bool,
    pub(crate) backup_dir: Option<Vec<u8>>,
    pub(crate) suffix: Option<Vec<u8>>,
    pub(crate) temp_dir: Option<Vec<u8>>,
    pub(crate) partial: bool,
    pub(crate) partial_dir: Option<Vec<u8>>,
    pub(crate) delay_updates: bool,
    pub(crate) mkpath: bool,
    pub(crate) compress: u32,
    pub(crate) compress_choice: Option<Vec<u8>>,
    pub(crate) compress_level: Option<i32>,
    pub(crate) compress_threads: i32,
    pub(crate) skip_compress: Option<Vec<u8>>,

    // What is deleted.
    pub(crate) delete: bool,
    pub(crate) delete_before: bool,
    pub(crate) delete_during: Option<During>,
    pub(crate) delete_after: bool,
    pub(crate) delete_excluded: bool,
    pub(crate) remove_source_files: Option<SourceRemoval>,
    pub(crate) force: bool,
    pub(crate) ignore_errors: bool,
    pub(crate) max_delete: Option<i32>,

    // How the other side is reached.
    pub(crate) server: bool,
    pub(crate) sender: bool,
    pub(crate) rsh: Option<Vec<u8>>,
    pub(crate) rsync_path: Option<Vec<u8>>,
    pub(crate) remote_options: Vec<Vec<u8>>,
    pub(crate) old_args: Option<u32>,
    pub(crate) secluded_args: Option<bool>,
    pub(crate) trust_sender: bool,
    pub(crate) blocking_io: Option<bool>,
    pub(crate) address: Option<Vec<u8>>,
    pub(crate) port: i32,
    pub(crate) sockopts: Option<Vec<u8>>,
    pub(crate) family: Option<Family>,
    pub(crate) password_file: Option<Vec<u8>>,
    pub(crate) early_input: Option<Vec<u8>>,
    pub(crate) timeout: i32,
    pub(crate) contimeout: i32,
    pub(crate) tls: bool,
    pub(crate) tls_ca: Option<Vec<u8>>,
    pub(crate) bwlimit: u64,
    pub(crate) stop_at: Option<StopTime>,
    pub(crate) protocol: Option<i32>,
    pub(crate) iconv: Option<Vec<u8>>,
    pub(crate) max_alloc: Option<Vec<u8>>,
    pub(crate) write_batch: Option<Vec<u8>>,
    pub(crate) only_write_batch: bool,
    pub(crate) read_batch: Option<Vec<u8>>,
}

impl Given {
    /// Nothing given.
    pub(crate) fn nothing() -> Self {
        Self {
            info: Levels::new(INFO),
            debug: Levels::new(DEBUG),
            motd: true,
            human: 1,
            incremental: true,
            implied_dirs: true,
            ..Self::default()
        }
    }

    /// Notes an option that adds rules.
    pub(crate) fn add_rules(&mut self, source: Option<RuleSource>) {
        let from0 = self.from0;
        self.rules
            .extend(source.map(|source| RuleOption { source, from0 }));
    }
}

/// Where messages of the other processes come out (`--stderr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stderr {
    Errors,
    All,
    Client,
}

/// When output is handed on (`--outbuf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffering {
    None,
    Line,
    Block,
}

/// Recursion that only `-a` implied gives way to `--files-from`, an explicit `-r` does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recursion {
    #[default]
    Off,
    Implied,
    Asked,
}

/// `--dirs`, `--no-dirs`, neither, or `--old-dirs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dirs {
    #[default]
    Auto,
    No,
    Asked,
    Old,
}

/// `--super`, `--no-super` and `--fake-super` share one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Super {
    No,
    Yes,
    Fake,
}

/// The kind of the alternate destinations; one command line knows only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BasisKind {
    Compare,
    Copy,
    Link,
}

impl BasisKind {
    /// The option's long name, with its dashes.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Compare => "--compare-dest",
            Self::Copy => "--copy-dest",
            Self::Link => "--link-dest",
        }
    }
}

/// `--delete-during` and `--delete-delay` share one setting; the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum During {
    AtOnce,
    Delayed,
}

/// What the sender removes once the receiver has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceRemoval {
    /// `--remove-source-files`: also what was up to date.
    Synchronised,
    /// The old `--remove-sent-files`: only what was sent.
    Sent,
}

impl SourceRemoval {
    /// The option's long name, with its dashes.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Synchronised => "--remove-source-files",
            Self::Sent => "--remove-sent-files",
        }
    }
}

/// The address family asked for with `-4` or `-6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// A map of ids, and whether `--chown` made it (each may be given once, and not both).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    pub(crate) text: Vec<u8>,
    pub(crate) by_chown: bool,
}

/// `--stop-after` or `--stop-at`: checked when read, resolved against the clock when the run starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopTime {
    AfterMinutes(u32),
    At(Vec<u8>),
}

/// One option that adds filter rules. They keep the order of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleOption {
    pub(crate) source: RuleSource,
    /// What `--from0` said up to here: it holds for the files of later options only.
    pub(crate) from0: bool,
}

/// Where an option's rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleSource {
    Filter(Vec<u8>),
    Exclude(Vec<u8>),
    Include(Vec<u8>),
    /// A file of patterns.
    ExcludeFrom(Vec<u8>),
    IncludeFrom(Vec<u8>),
}
