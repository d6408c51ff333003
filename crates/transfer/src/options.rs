//! What was asked of a transfer: every option of rsync that concerns one, as one plain struct.
//!
//! The command line, the daemon and programs that embed the engine fill it in; the engine only reads it. Implications
//! between options (behaviour.md 1.4) are resolved by whoever fills it in: a field says what is to be done, not what
//! was typed.

mod protocol;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wire::{Checksum, ChecksumChoice, Compression, Offer, Protocol, Side};

use crate::Cancel;
use crate::accounts::{Accounts, SystemAccounts};
use crate::charset::Charset;
use crate::chmod::Chmod;
use crate::module::Module;

/// What was asked of a transfer.
#[derive(Debug)]
pub struct Options {
    // Which entries take part.
    /// Go down into directories (`--recursive`).
    pub recursive: bool,
    /// Permit the list to be sent directory by directory (`--inc-recursive`). Whether it is depends on the other
    /// options and on the peer (behaviour.md 1.12).
    pub inc_recursive: bool,
    /// Send directories that are named, without their content (`--dirs`). Implied by `recursive`.
    pub dirs: bool,
    /// Use whole paths of arguments as names (`--relative`).
    pub relative: bool,
    /// Send the attributes of the parents that `relative` implies (`--implied-dirs`).
    pub implied_dirs: bool,
    /// Stay on one file system; 2 leaves mount points out altogether (`--one-file-system`).
    pub one_file_system: u8,
    /// Filter rules of the command line; a server adds those that its client sends.
    pub rules: filter::Rules,
    /// The daemon's module that everything is to be found in.
    pub module: Option<Module>,
    /// Rules of a daemon's module, which hide files from any client.
    pub module_rules: filter::Rules,
    /// The names to transfer, in place of everything below the source (`--files-from`).
    pub files_from: Option<FilesFrom>,
    /// What to do about arguments that do not exist.
    pub missing_args: MissingArgs,
    /// The largest regular file to transfer, in bytes (`--max-size`).
    pub max_size: Option<u64>,
    /// The smallest regular file to transfer, in bytes (`--min-size`).
    pub min_size: Option<u64>,
    /// Leave out directories that would be empty (`--prune-empty-dirs`).
    pub prune_empty_dirs: bool,
    /// Accept whatever names the sender lists (`--trust-sender`).
    pub trust_sender: bool,

    // Symbolic links and special files.
    /// Copy symbolic links as such (`--links`).
    pub links: bool,
    /// Send what symbolic links lead to (`--copy-links`).
    pub copy_links: bool,
    /// Send what symbolic links lead to that point out of the tree (`--copy-unsafe-links`).
    pub copy_unsafe_links: bool,
    /// Send directories that symbolic links lead to (`--copy-dirlinks`).
    pub copy_dirlinks: bool,
    /// Pass over symbolic links that point out of the tree (`--safe-links`).
    pub safe_links: bool,
    /// Let a symbolic link to a directory stand for the directory at the destination (`--keep-dirlinks`).
    pub keep_dirlinks: bool,
    /// Make symbolic links unusable at the destination, and usable again when they are sent (`--munge-links`).
    pub munge_links: bool,
    /// Follow links that lead out of the destination (`--insecure-links`).
    pub insecure_links: bool,
    /// Refuse directories that options name, lists of names and merge files that are not in this directory
    /// (`--confine-root`). A daemon has its module for that.
    pub confine_root: Option<PathBuf>,
    /// Keep hard links (`--hard-links`).
    pub hard_links: bool,
    /// Copy device nodes (`--devices`).
    pub devices: bool,
    /// Copy FIFOs and sockets (`--specials`).
    pub specials: bool,
    /// Never create devices and special files, although they are listed (`--drop-D`).
    pub drop_specials: bool,
    /// Send the content of devices as that of files (`--copy-devices`).
    pub copy_devices: bool,
    /// Write file content into existing devices (`--write-devices`).
    pub write_devices: bool,

    // Attributes.
    /// Keep permissions (`--perms`).
    pub perms: bool,
    /// Keep executability (`--executability`).
    pub executability: bool,
    /// Keep owners (`--owner`).
    pub owner: bool,
    /// Keep groups (`--group`).
    pub group: bool,
    /// Keep modification times (`--times`).
    pub times: bool,
    /// Keep access times (`--atimes`).
    pub atimes: bool,
    /// Keep creation times (`--crtimes`).
    pub crtimes: bool,
    /// Do not change access times of files that are read (`--open-noatime`).
    pub open_noatime: bool,
    /// Leave the times of directories alone (`--omit-dir-times`).
    pub omit_dir_times: bool,
    /// Leave the times of symbolic links alone (`--omit-link-times`).
    pub omit_link_times: bool,
    /// Keep ACLs (`--acls`).
    pub acls: bool,
    /// Keep extended attributes; 2 includes rsync's own (`--xattrs`).
    pub xattrs: u8,
    /// Whether to do what only root may.
    pub privilege: Privilege,
    /// Changes of modes, made on the sender's list and on a received one (`--chmod`).
    pub chmod: Chmod,
    /// Changes of the modes that the receiving side arrives at, kept or not; what is there already gets them as well
    /// (`incoming chmod` of a daemon's module).
    pub incoming_chmod: Chmod,
    /// The umask of the process, for modes that are not kept.
    pub umask: u32,
    /// Map owners by number only (`--numeric-ids`).
    pub numeric_ids: bool,
    /// The same for this end alone, of which the other knows nothing: names travel, but mean nothing (wire-files.md 7.2).
    pub ignore_names: bool,
    /// Who knows the names of users and groups. Those of this machine unless something else is said.
    pub accounts: Arc<dyn Accounts>,
    /// The value of `--usermap`, or what `--chown` means. Checked by the receiving side, as its names are needed.
    pub usermap: Option<Vec<u8>>,
    /// The value of `--groupmap`, or what `--chown` means.
    pub groupmap: Option<Vec<u8>>,

    // What counts as unchanged.
    /// Compare content, not size and time (`--checksum`).
    pub checksum: bool,
    /// Compare sizes only (`--size-only`).
    pub size_only: bool,
    /// Take no file for unchanged (`--ignore-times`).
    pub ignore_times: bool,
    /// Seconds by which equal times may differ; below 0 nanoseconds count too (`--modify-window`).
    pub modify_window: i64,
    /// Leave files alone that are newer at the destination (`--update`).
    pub update: bool,
    /// Create nothing (`--existing`).
    pub existing_only: bool,
    /// Leave everything alone that exists (`--ignore-existing`).
    pub ignore_existing: bool,
    /// Alternate directories (`--compare-dest`, `--copy-dest`, `--link-dest`).
    pub alternates: Option<Alternates>,
    /// Look for a similar file where the destination has none; 2 looks in alternates too (`--fuzzy`).
    pub fuzzy: u8,

    // How content travels and is written.
    /// Send whole files (`--whole-file`); `None` is for local copies only.
    pub whole_file: Option<bool>,
    /// The length of blocks in bytes, instead of one that suits the file (`--block-size`).
    pub block_size: Option<u32>,
    /// The checksums to use, instead of those that both ends prefer (`--checksum-choice`).
    pub checksum_choice: ChecksumChoice,
    /// The checksums that may be negotiated (`RSYNC_CHECKSUM_LIST`).
    pub checksum_offer: Offer<Checksum>,
    /// The seed of block checksums, instead of a random one (`--checksum-seed`).
    pub checksum_seed: Option<i32>,
    /// Compress file content (`--compress`, `--compress-choice`).
    pub compress: Option<Compress>,
    /// The compressors that may be negotiated (`RSYNC_COMPRESS_LIST`).
    pub compress_offer: Offer<Compression>,
    /// Write into the destination's files themselves (`--inplace`).
    pub inplace: bool,
    /// Send only what is longer than the destination's file (`--append`, `--append-verify`).
    pub append: Option<Append>,
    /// Leave holes for runs of zeros (`--sparse`).
    pub sparse: bool,
    /// Allocate files before writing them (`--preallocate`).
    pub preallocate: bool,
    /// Keep what has arrived of an interrupted file (`--partial`).
    pub partial: bool,
    /// Where to keep it, beside the file or absolute (`--partial-dir`).
    pub partial_dir: Option<PathBuf>,
    /// Put all updated files in place at the end (`--delay-updates`).
    pub delay_updates: bool,
    /// Where to write temporary files (`--temp-dir`).
    pub temp_dir: Option<PathBuf>,
    /// Flush each file to disk before it is put in place (`--fsync`).
    pub fsync: bool,
    /// Create missing parents of the destination (`--mkpath`).
    pub mkpath: bool,
    /// Keep what is replaced or removed (`--backup`).
    pub backup: Option<Backup>,
    /// Remove what has been sent (`--remove-source-files`).
    pub remove_source: RemoveSource,

    // Deletion.
    /// Remove what the sender does not have, and when (`--delete`).
    pub delete: Option<DeleteWhen>,
    /// Remove what the rules hide from the sender, too (`--delete-excluded`).
    pub delete_excluded: bool,
    /// The most items to remove (`--max-delete`).
    pub max_delete: Option<u64>,
    /// Remove directories with content that are in the way of other types (`--force`).
    pub force: bool,
    /// Remove even if the sender could not read everything (`--ignore-errors`).
    pub ignore_errors: bool,

    // The run.
    /// Change nothing (`--dry-run`).
    pub dry_run: bool,
    /// Only list what the sender has (`--list-only`, or no destination).
    pub list_only: bool,
    /// Leave out what cannot be read, without a word (`ignore nonreadable` of a daemon's module).
    pub skip_unreadable: bool,
    /// Give up when the peer has been silent for so long (`--timeout`).
    pub timeout: Option<Duration>,
    /// Bytes a second, on average (`--bwlimit`).
    pub bandwidth: Option<u64>,
    /// The most bytes for one allocation (`--max-alloc`).
    pub max_alloc: Option<u64>,
    /// The charsets to convert names between (`--iconv`): the local one, and the one that travels.
    pub iconv: Option<Charsets>,
    /// Record the session, or replay one.
    pub batch: Option<Recording>,
    /// The newest protocol to speak (`--protocol`).
    pub newest: Protocol,
    /// What the caller wants to hear about.
    pub report: Report,
    /// A request to stop.
    pub cancel: Cancel,
}

/// Which events are worth the trouble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries that are up to date, too (`-ii`, `-vv`).
    pub unchanged: bool,
    /// Entries that are left alone, as events of the side that decides: the other side hears nothing of them.
    pub says_unchanged: bool,
    /// Files after their transfer, because bytes or checksums are to be shown, instead of before it.
    pub after_transfer: bool,
    /// Bytes while a file is being transferred.
    pub progress: bool,
    /// What is said between the lines (`--info=NAME`): unsafe links, verification warnings.
    pub names: bool,
    /// A server's items, which its client tells its user itself: for a log of its own.
    pub items: bool,
    /// What a receiving client does without data, where the protocol has no words in which the sender would echo it.
    pub own_items: bool,
    /// Why a file that exists is left alone is to be found out in detail (`--info=SKIP2`).
    pub skip_detail: bool,
    /// In which trees is deleted before or after everything else (`--debug=DEL`).
    pub delete_detail: bool,
    /// Which options were changed to match a batch (`--info=MISC`).
    pub changes: bool,
    /// Which rule decides about a name (`--debug=FILTER`).
    pub filters: bool,
}

/// Names to transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesFrom {
    /// These, relative to the source.
    Names(Vec<Vec<u8>>),
    /// The client sends them.
    Peer,
}

/// What becomes of arguments that do not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingArgs {
    /// An error for each.
    #[default]
    Error,
    /// Nothing (`--ignore-missing-args`).
    Ignore,
    /// They are removed at the destination (`--delete-missing-args`).
    Delete,
}

/// Whether the receiving side tries what only root may do: owners, devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Privilege {
    /// If the process is root.
    #[default]
    Auto,
    /// Always (`--super`).
    Super,
    /// Never (`--no-super`).
    Never,
    /// Keep it in an extended attribute instead (`--fake-super`).
    Fake,
}

/// Alternate directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternates {
    /// What to do with a file that is there already.
    pub use_as: AlternateUse,
    /// The directories, most important first; relative ones are below the destination.
    pub dirs: Vec<PathBuf>,
}

/// What an unchanged file of an alternate directory is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlternateUse {
    /// It need not be at the destination (`--compare-dest`).
    Compare,
    /// It is copied (`--copy-dest`).
    Copy,
    /// It is linked (`--link-dest`).
    Link,
}

/// How to compress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compress {
    /// The compressor; `None` is the one that both ends prefer.
    pub choice: Option<Compression>,
    /// The level, in the compressor's own terms.
    pub level: Option<i32>,
    /// Suffixes that are not worth compressing, in the form of `--skip-compress`.
    pub skip: Option<Vec<u8>>,
    /// Threads that compress long files, if the compressor can use several (`--compress-threads`); 0 is one within a
    /// daemon, and else as many as there are processors, at most four.
    pub threads: u32,
}

/// What `--append` trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// That the destination's file is a beginning of the source's.
    Blindly,
    /// Nothing: the whole is verified afterwards.
    Verified,
}

/// Where what is replaced or removed is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// A directory to keep it in; otherwise it stays beside the new one (`--backup-dir`).
    pub dir: Option<PathBuf>,
    /// What is added to its name (`--suffix`).
    pub suffix: Vec<u8>,
}

/// What is removed from the source once the destination has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RemoveSource {
    /// Nothing.
    #[default]
    No,
    /// What was transferred, and what needed no transfer (`--remove-source-files`).
    All,
    /// What was transferred (`--remove-sent-files`).
    Sent,
}

/// When the receiving side removes what the sender does not have (behaviour.md 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWhen {
    /// At the moment that suits the protocol: during the transfer, but before it with old peers.
    Auto,
    /// Before anything is transferred.
    Before,
    /// In each directory before it is dealt with.
    During,
    /// Found during, done after.
    Delay,
    /// After everything was transferred.
    After,
}

/// Two charsets, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charsets {
    /// That of local names.
    pub local: String,
    /// That of the peer's, where the client chooses it.
    pub remote: Option<String>,
}

/// A session on file (wire-session.md 10).
#[derive(Debug, Clone)]
pub enum Recording {
    /// Write one beside the transfer (`--write-batch`).
    Write(Arc<File>),
    /// Write one instead of the transfer (`--only-write-batch`).
    OnlyWrite(Arc<File>),
    /// The client writes one instead of the transfer.
    OnlyWrittenThere,
    /// The sender is on file (`--read-batch`).
    Read(Arc<File>),
}

impl Charsets {
    /// Whether names can be converted from and to the local one.
    ///
    /// # Errors
    /// [`Error::Fatal`](crate::Error::Fatal) with rsync's words if not.
    pub fn check(&self) -> Result<(), crate::Error> {
        Charset::named(&self.local, crate::Role::Sender).map(drop)
    }
}

impl Options {
    /// Files named one by one, nothing kept, nothing removed: what rsync does without any option.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self {
            recursive: false,
            inc_recursive: true,
            dirs: false,
            relative: false,
            implied_dirs: true,
            one_file_system: 0,
            rules: filter::Rules::default(),
            module: None,
            module_rules: filter::Rules::default(),
            files_from: None,
            missing_args: MissingArgs::Error,
            max_size: None,
            min_size: None,
            prune_empty_dirs: false,
            trust_sender: false,
            links: false,
            copy_links: false,
            copy_unsafe_links: false,
            copy_dirlinks: false,
            safe_links: false,
            keep_dirlinks: false,
            munge_links: false,
            insecure_links: false,
            confine_root: None,
            hard_links: false,
            devices: false,
            specials: false,
            drop_specials: false,
            copy_devices: false,
            write_devices: false,
            perms: false,
            executability: false,
            owner: false,
            group: false,
            times: false,
            atimes: false,
            crtimes: false,
            open_noatime: false,
            omit_dir_times: false,
            omit_link_times: false,
            acls: false,
            xattrs: 0,
            privilege: Privilege::Auto,
            chmod: Chmod::default(),
            incoming_chmod: Chmod::default(),
            umask: 0o022,
            numeric_ids: false,
            ignore_names: false,
            accounts: Arc::new(SystemAccounts),
            usermap: None,
            groupmap: None,
            checksum: false,
            size_only: false,
            ignore_times: false,
            modify_window: 0,
            update: false,
            existing_only: false,
            ignore_existing: false,
            alternates: None,
            fuzzy: 0,
            whole_file: None,
            block_size: None,
            checksum_choice: ChecksumChoice::default(),
            checksum_offer: Offer::all(side),
            checksum_seed: None,
            compress: None,
            compress_offer: Offer::all(side),
            inplace: false,
            append: None,
            sparse: false,
            preallocate: false,
            partial: false,
            partial_dir: None,
            delay_updates: false,
            temp_dir: None,
            fsync: false,
            mkpath: false,
            backup: None,
            remove_source: RemoveSource::No,
            delete: None,
            delete_excluded: false,
            max_delete: None,
            force: false,
            ignore_errors: false,
            dry_run: false,
            list_only: false,
            skip_unreadable: false,
            timeout: None,
            bandwidth: None,
            max_alloc: None,
            iconv: None,
            batch: None,
            newest: Protocol::LATEST,
            report: Report::default(),
            cancel: Cancel::default(),
        }
    }

    /// What `--archive` stands for.
    #[must_use]
    pub fn archive(side: Side) -> Self {
        Self {
            recursive: true,
            links: true,
            perms: true,
            times: true,
            group: true,
            owner: true,
            devices: true,
            specials: true,
            ..Self::new(side)
        }
    }

    /// Refuses options whose work is not done here, rather than to pass over them.
    pub(crate) fn check_supported(&self) -> Result<(), crate::Error> {
        if self.crtimes {
            return Err(crate::Error::Unsupported("--crtimes"));
        }
        Charset::of(self, crate::Role::Sender).map(drop)
    }

    /// Whether names of owners count here.
    pub(crate) fn minds_names(&self) -> bool {
        !self.numeric_ids && !self.ignore_names
    }

    /// Whether what only root may do is done, or noted as done.
    pub(crate) fn acts_as_root(&self) -> bool {
        match self.privilege {
            Privilege::Auto => rustix::process::geteuid().is_root(),
            Privilege::Super | Privilege::Fake => true,
            Privilege::Never => false,
        }
    }

    /// The most bytes that a peer may make us hold at once for one purpose.
    pub(crate) fn allocation_limit(&self) -> usize {
        let limit = self.max_alloc.and_then(|bytes| usize::try_from(bytes).ok());
        limit.unwrap_or(usize::MAX)
    }

    /// Whether directories are listed at all.
    #[must_use]
    pub(crate) fn lists_dirs(&self) -> bool {
        self.recursive || self.dirs
    }
}
