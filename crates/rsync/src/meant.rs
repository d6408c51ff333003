//! What a command line means: implications, order effects, conflicts (behaviour.md 1.4 and 1.5).
//!
//! No file is read and nothing is asked of the system here; the environment is an argument.

mod algorithms;
mod keeping;
mod operands;
#[cfg(test)]
mod tests;

use jiff::Zoned;
use transfer::Chmod;

use crate::env::Env;
use crate::exit::Exit;
use crate::flags::Levels;
use crate::given::{self, Dirs, Given, Recursion, StopTime, Super};
use crate::host::Route;
use crate::options::max_alloc;
use crate::stop::{Stop, shown};
use crate::stop_time;

pub(crate) use algorithms::Compression;
use algorithms::{checksums, compression};
use keeping::{Backup, Partial};
pub(crate) use operands::NameList;
use operands::{name_list, operands, server_route};

/// The options with their implications settled.
#[derive(Debug)]
pub(crate) struct Meant {
    /// What was said; a field that also exists here is superseded.
    pub(crate) said: Given,
    pub(crate) route: Route,
    /// Only a list is wanted.
    pub(crate) listing: bool,
    pub(crate) info: Levels,
    pub(crate) debug: Levels,
    /// The format of the line for each changed item; `None` is no line.
    pub(crate) out_format: Option<Vec<u8>>,
    pub(crate) protocol: i32,

    pub(crate) recursive: bool,
    pub(crate) dirs: bool,
    pub(crate) relative: bool,
    pub(crate) files_from: Option<NameList>,
    pub(crate) owner: bool,
    pub(crate) group: bool,
    pub(crate) chmod: Chmod,

    pub(crate) deletes: bool,
    /// The moment that was asked for; `None` leaves it to the protocol.
    pub(crate) delete_when: Option<transfer::DeleteWhen>,
    pub(crate) backup: bool,
    pub(crate) backup_dir: Option<Vec<u8>>,
    pub(crate) suffix: Vec<u8>,

    pub(crate) inplace: bool,
    pub(crate) whole_file: Option<bool>,
    pub(crate) fuzzy: u32,
    pub(crate) partial: bool,
    pub(crate) partial_dir: Option<Vec<u8>>,
    /// The partial directory is the one that `--delay-updates` brings along.
    pub(crate) partial_dir_implied: bool,
    pub(crate) compression: Compression,
    /// As it was written; `None` is `auto`.
    pub(crate) checksum_choice: Option<Vec<u8>>,
    pub(crate) checksums: wire::ChecksumChoice,

    pub(crate) secluded: bool,
    pub(crate) old_args: u32,
    pub(crate) iconv: Option<Vec<u8>>,
    /// As it was written; `None` is the default.
    pub(crate) max_alloc_text: Option<Vec<u8>>,
    pub(crate) max_alloc: u64,
    pub(crate) stop_at: Option<Zoned>,
}

const MAX_ALLOC_DEFAULT: u64 = 1 << 30;
const BATCH_NAME_MAX: usize = 256;
const PATH_MAX: usize = 4096;
const NEWEST_PROTOCOL: i32 = 32;

impl Meant {
    /// Settles what a command line means at `now`.
    ///
    /// # Errors
    /// rsync's words for what does not go together.
    pub(crate) fn new(said: Given, env: &Env, now: &Zoned) -> Result<Self, Stop> {
        let is_client = !said.server;
        check_batches(&said)?;
        let chmod = chmod(&said)?;
        let (old_args, secluded) = arguments(&said, env)?;
        let (max_alloc_text, max_alloc) = allocation(&said, env)?;
        check_conflicts(&said)?;
        let (delete_when, deletes) = deletion(&said)?;
        let backup = Backup::new(&said)?;
        let (checksum_choice, checksums) = checksums(&said)?;
        let compression = compression(&said)?;
        let no_content_sum = checksums.transfer == Some(wire::Checksum::None);
        let whole_file = if no_content_sum {
            Some(true)
        } else {
            said.whole_file
        };
        let inplace = said.inplace || said.append > 0 || said.write_devices;
        let partial = Partial::new(&said, env, inplace)?;
        if said.append > 0 && whole_file == Some(true) {
            return Err(Stop::option("--append cannot be used with --whole-file"));
        }

        let route = if is_client {
            operands(&said, old_args)?
        } else {
            server_route(&said)?
        };
        let is_local = is_client && route.host().is_none();
        if is_local && said.checksum && checksums.file == Some(wire::Checksum::None) {
            // Of other copies the sender minds.
            let text = "Invalid checksum-choice for --checksum: none (0)".to_owned();
            return Err(Stop::Refuse(text, Exit::Unsupported));
        }
        let files_from = said
            .files_from
            .as_deref()
            .map(|name| name_list(name, &said, &route))
            .transpose()?;
        let listing = said.list_only || (is_client && route.is_listing());
        let (recursive, dirs) = depth(&said, files_from.is_some(), listing);
        if deletes && !dirs && is_client {
            return Err(Stop::option(
                "--delete does not work without --recursive (-r) or --dirs (-d).",
            ));
        }
        let stop_at = stop_at(&said, now)?;
        let (info, debug, out_format) = reporting(&said);
        Ok(Self {
            listing,
            info,
            debug,
            out_format,
            protocol: said.protocol.unwrap_or(NEWEST_PROTOCOL),
            recursive,
            dirs,
            relative: said.relative.unwrap_or(files_from.is_some()),
            files_from,
            // A client that means owners says so: one before 3.2.4 does not when it maps them.
            owner: said.owner || is_client && said.usermap.is_some(),
            group: said.group || is_client && said.groupmap.is_some(),
            chmod,
            deletes,
            delete_when,
            backup: said.backup || said.backup_dir.is_some(),
            backup_dir: backup.dir,
            suffix: backup.suffix,
            inplace,
            whole_file,
            fuzzy: if said.fuzzy > 1 {
                1 + to_count(said.basis_dirs.len())
            } else {
                said.fuzzy
            },
            partial: partial.keeps,
            partial_dir: partial.dir,
            partial_dir_implied: partial.implied,
            compression,
            checksum_choice,
            checksums,
            secluded,
            old_args,
            iconv: charsets(&said, env),
            max_alloc_text,
            max_alloc,
            stop_at,
            route,
            said,
        })
    }

    /// The charset that the other side is told.
    pub(crate) fn remote_charset(&self) -> Option<&[u8]> {
        let charsets = self.iconv.as_deref()?;
        Some(
            charsets
                .splitn(2, |&byte| byte == b',')
                .nth(1)
                .unwrap_or(charsets),
        )
    }

    /// Whether this side permits the list to come directory by directory (behaviour.md 1.12).
    pub(crate) fn is_incremental(&self, we_receive: bool) -> bool {
        let said = &self.said;
        let needs_whole =
            said.delete_before || said.delete_after || said.delay_updates || said.prune_empty_dirs;
        self.recursive && said.incremental && !said.qsort && !(we_receive && needs_whole)
    }
}

fn to_count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn check_batches(said: &Given) -> Result<(), Stop> {
    let names = [&said.write_batch, &said.read_batch];
    if names.iter().all(|name| name.is_some()) {
        return Err(Stop::option(
            "--write-batch and --read-batch can not be used together",
        ));
    }
    if said.read_batch.is_some() {
        if said.files_from.is_some() {
            return Err(Stop::option(
                "--read-batch cannot be used with --files-from",
            ));
        }
        if let Some(removal) = said.remove_source_files {
            let option = removal.option();
            return Err(Stop::option(format!(
                "--read-batch cannot be used with {option}"
            )));
        }
    }
    if names
        .into_iter()
        .flatten()
        .any(|name| name.len() > BATCH_NAME_MAX)
    {
        return Err(Stop::option(format!(
            "the batch-file name must be {BATCH_NAME_MAX} characters or less."
        )));
    }
    Ok(())
}

fn check_conflicts(said: &Given) -> Result<(), Stop> {
    if said.rights == Some(Super::Fake) && said.xattrs > 1 {
        return Err(Stop::option("--fake-super conflicts with -XX"));
    }
    if let Some(root) = &said.confine_root {
        if !root.starts_with(b"/") {
            return Err(Stop::option("--confine-root must be an absolute path"));
        }
        if said.insecure_links {
            return Err(Stop::option(
                "--insecure-links cannot be combined with --confine-root",
            ));
        }
    }
    for (option, path) in [
        ("--temp-dir", &said.temp_dir),
        ("--backup-dir", &said.backup_dir),
    ] {
        if path
            .as_ref()
            .is_some_and(|path| path.len() >= PATH_MAX - 10)
        {
            return Err(Stop::option(format!("the {option} path is WAY too long.")));
        }
    }
    Ok(())
}

fn chmod(said: &Given) -> Result<Chmod, Stop> {
    let mut chmod = Chmod::default();
    for text in &said.chmod {
        let bad = |_| {
            Stop::option(format!(
                "Invalid argument passed to --chmod ({})",
                shown(text)
            ))
        };
        chmod.add(text).map_err(bad)?;
    }
    Ok(chmod)
}

/// How often `--old-args` holds, and whether arguments are secluded: options first, then the environment.
fn arguments(said: &Given, env: &Env) -> Result<(u32, bool), Stop> {
    if said.server {
        return Ok((0, said.secluded_args == Some(true)));
    }
    match (said.old_args, said.secluded_args) {
        (Some(1..), Some(true)) => Err(Stop::option("--secluded-args conflicts with --old-args.")),
        (Some(old), secluded) => Ok((old, secluded == Some(true))),
        (None, Some(secluded)) => Ok((0, secluded)),
        (None, None) => match env.number("RSYNC_OLD_ARGS") {
            Some(old) => Ok((old, false)),
            None => Ok((
                0,
                env.number("RSYNC_PROTECT_ARGS")
                    .is_some_and(|number| number != 0),
            )),
        },
    }
}

/// The text of `--max-alloc` if it is not the default, and its bytes.
fn allocation(said: &Given, env: &Env) -> Result<(Option<Vec<u8>>, u64), Stop> {
    let text = said
        .max_alloc
        .as_deref()
        .or_else(|| env.set("RSYNC_MAX_ALLOC"));
    let bytes = text.map_or(Ok(MAX_ALLOC_DEFAULT), max_alloc)?;
    Ok((
        text.filter(|_| bytes != MAX_ALLOC_DEFAULT)
            .map(<[u8]>::to_vec),
        bytes,
    ))
}

fn deletion(said: &Given) -> Result<(Option<transfer::DeleteWhen>, bool), Stop> {
    use transfer::DeleteWhen::{After, Before, Delay, During};
    let during = said.delete_during.map(|during| match during {
        given::During::AtOnce => During,
        given::During::Delayed => Delay,
    });
    let moments = [
        said.delete_before.then_some(Before),
        during,
        said.delete_after.then_some(After),
    ];
    let mut asked = moments.into_iter().flatten();
    let when = asked.next();
    if asked.next().is_some() {
        return Err(Stop::option(
            "You may not combine multiple --delete-WHEN options.",
        ));
    }
    Ok((when, said.delete || said.delete_excluded || when.is_some()))
}

/// Whether directories are entered, and whether they are listed at all.
fn depth(said: &Given, has_names: bool, is_listing: bool) -> (bool, bool) {
    let recursive = match said.recursive {
        _ if said.dirs == Dirs::Old => true,
        Recursion::Asked => true,
        Recursion::Implied => !has_names,
        Recursion::Off => false,
    };
    let dirs = match said.dirs {
        Dirs::Asked | Dirs::Old => true,
        Dirs::No => recursive,
        Dirs::Auto => recursive || has_names || is_listing,
    };
    (recursive, dirs)
}

fn stop_at(said: &Given, now: &Zoned) -> Result<Option<Zoned>, Stop> {
    match &said.stop_at {
        None => Ok(None),
        Some(StopTime::AfterMinutes(minutes)) => Ok(now
            .checked_add(jiff::SignedDuration::from_mins(i64::from(*minutes)))
            .ok()),
        Some(StopTime::At(text)) => stop_time::resolve(text, now).map(Some),
    }
}

/// The charsets of `--iconv`; a client that does not seclude its arguments may have them from its environment.
fn charsets(said: &Given, env: &Env) -> Option<Vec<u8>> {
    let inherits = !said.server && said.secluded_args != Some(true);
    let inherited = || env.set("RSYNC_ICONV").filter(|_| inherits);
    let charsets = said.iconv.clone();
    let charsets = charsets.or_else(|| inherited().map(<[u8]>::to_vec));
    charsets.filter(|charsets| charsets != b"-")
}

/// The levels of information, and the format of the item lines.
fn reporting(said: &Given) -> (Levels, Levels, Option<Vec<u8>>) {
    let (mut info, mut debug) = (said.info.clone(), said.debug.clone());
    info.imply_verbosity(said.verbose);
    debug.imply_verbosity(said.verbose);
    if said.stats {
        info.imply("STATS", if said.verbose > 1 { 3 } else { 2 });
    }
    let format = said
        .out_format
        .clone()
        .or_else(|| (said.itemize > 0).then(|| b"%i %n%L".to_vec()));
    if said.progress && !said.server {
        if format.is_none() {
            info.imply("NAME", 1);
        }
        info.imply("FLIST", 2);
        info.imply("PROGRESS", 1);
    }
    let format =
        format.or_else(|| (info.level("NAME") > 0 && !said.server).then(|| b"%n%L".to_vec()));
    (info, debug, format)
}
