//! From the meaning of a command line to the engine's options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use transfer::{
    AlternateUse, Alternates, Append, Backup, Cancel, Charsets, Compress, DeleteWhen, MissingArgs,
    Options, Privilege, Recording, RemoveSource, Report,
};
use wire::{Offer, Protocol, Side};

use crate::env::Env;
use crate::exit::Exit;
use crate::given::{BasisKind, Given, SourceRemoval, Super};
use crate::meant::{Compression, Meant};
use crate::output::Format;
use crate::stop::Stop;
use crate::{name_list, rules};

/// The options of a run on this side, which is the receiving one if `we_receive`. `umask` is that of the process.
///
/// # Errors
/// Rules, lists of names and protocol numbers that are none, and what the engine cannot do.
pub(crate) fn options(
    meant: &Meant,
    env: &Env,
    we_receive: bool,
    umask: u32,
    cancel: &Cancel,
) -> Result<Options, Stop> {
    let said = &meant.said;
    let side = if said.server {
        Side::Server
    } else {
        Side::Client
    };
    let newest = protocol(meant.protocol, said.server)?;
    Ok(Options {
        recursive: meant.recursive,
        inc_recursive: meant.is_incremental(we_receive),
        dirs: meant.dirs,
        relative: meant.relative,
        implied_dirs: said.implied_dirs && meant.relative,
        one_file_system: level(said.one_file_system),
        rules: rules::build(meant, env)?,
        files_from: name_list::read(meant)?,
        missing_args: missing_args(said),
        max_size: said.max_size,
        min_size: said.min_size,
        prune_empty_dirs: said.prune_empty_dirs,
        trust_sender: said.trust_sender || meant.old_args > 0,
        links: said.links,
        copy_links: said.copy_links,
        copy_unsafe_links: said.copy_unsafe_links,
        copy_dirlinks: said.copy_dirlinks,
        safe_links: said.safe_links,
        keep_dirlinks: said.keep_dirlinks,
        munge_links: said.munge_links,
        insecure_links: said.insecure_links,
        confine_root: said.confine_root.as_deref().map(path),
        hard_links: said.hard_links > 0,
        devices: said.devices,
        specials: said.specials,
        drop_specials: said.drop_devices,
        copy_devices: said.copy_devices,
        write_devices: said.write_devices,
        perms: said.perms,
        executability: said.executability,
        owner: meant.owner,
        group: meant.group,
        times: said.times,
        atimes: said.atimes > 0,
        open_noatime: said.open_noatime,
        // A backup beside the file changes its directory's time in any case.
        omit_dir_times: said.omit_dir_times || (meant.backup && meant.backup_dir.is_none()),
        omit_link_times: said.omit_link_times,
        acls: said.acls,
        xattrs: level(said.xattrs),
        privilege: privilege(said),
        chmod: meant.chmod.clone(),
        umask,
        numeric_ids: said.numeric_ids,
        usermap: said.usermap.as_ref().map(|map| map.text.clone()),
        groupmap: said.groupmap.as_ref().map(|map| map.text.clone()),
        checksum: said.checksum,
        size_only: said.size_only,
        ignore_times: said.ignore_times,
        modify_window: i64::from(said.modify_window),
        update: said.update,
        existing_only: said.existing,
        ignore_existing: said.ignore_existing,
        alternates: alternates(said),
        fuzzy: level(said.fuzzy),
        whole_file: meant.whole_file,
        block_size: u32::try_from(said.block_size).ok().filter(|&size| size > 0),
        checksum_choice: meant.checksums,
        checksum_offer: offer(env, "RSYNC_CHECKSUM_LIST", side),
        checksum_seed: Some(said.checksum_seed).filter(|&seed| seed != 0),
        compress: compress(meant)?,
        compress_offer: offer(env, "RSYNC_COMPRESS_LIST", side),
        inplace: meant.inplace,
        append: append(said),
        sparse: said.sparse,
        preallocate: said.preallocate,
        partial: meant.partial,
        partial_dir: meant.partial_dir.as_deref().map(path),
        delay_updates: said.delay_updates,
        temp_dir: said.temp_dir.as_deref().map(path),
        fsync: said.fsync,
        mkpath: said.mkpath,
        backup: meant.backup.then(|| Backup {
            dir: meant.backup_dir.as_deref().map(path),
            suffix: meant.suffix.clone(),
        }),
        remove_source: remove_source(said),
        delete: meant
            .deletes
            .then_some(meant.delete_when.unwrap_or(DeleteWhen::Auto)),
        delete_excluded: said.delete_excluded,
        max_delete: said.max_delete.map(|max| u64::try_from(max).unwrap_or(0)),
        force: said.force,
        ignore_errors: said.ignore_errors,
        dry_run: said.dry_run,
        list_only: meant.listing,
        timeout: u64::try_from(said.timeout)
            .ok()
            .filter(|&seconds| seconds > 0)
            .map(Duration::from_secs),
        bandwidth: Some(said.bwlimit * 1024).filter(|&bytes| bytes > 0),
        max_alloc: Some(meant.max_alloc).filter(|&bytes| bytes > 0),
        iconv: charsets(meant, env)?,
        // A client opens its own when the run begins.
        batch: (said.server && said.only_write_batch).then_some(Recording::OnlyWrittenThere),
        newest,
        report: report(meant),
        cancel: cancel.clone(),
        ..Options::new(side)
    })
}

/// The two halves of a local copy both tell what they think of `--protocol`.
///
/// # Errors
/// A number that none of them speaks.
pub(crate) fn check_local_protocol(number: i32) -> Result<(), Stop> {
    let newest = i32::from(Protocol::LATEST.number());
    let text = if !(OLDEST_SPOKEN..=NEWEST_KNOWN).contains(&number) {
        "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)".to_owned()
    } else if number > newest {
        let line = |role: &str| format!("--protocol must be no more than {newest} on the {role}.");
        format!("{}\n{}", line("Server"), line("Client"))
    } else {
        return Ok(());
    };
    Err(Stop::Refuse(text, Exit::Protocol))
}

fn protocol(number: i32, is_server: bool) -> Result<Protocol, Stop> {
    let role = if is_server { "Server" } else { "Client" };
    let newest = Protocol::LATEST.number();
    let refuse = |text: String| Stop::Refuse(text, Exit::Protocol);
    if number < OLDEST_SPOKEN {
        return Err(refuse(format!(
            "--protocol must be at least {OLDEST_SPOKEN} on the {role}."
        )));
    }
    if number > i32::from(newest) {
        return Err(refuse(format!(
            "--protocol must be no more than {newest} on the {role}."
        )));
    }
    let known = u8::try_from(number).ok().and_then(Protocol::new);
    let oldest = Protocol::OLDEST.number();
    known.ok_or_else(|| {
        refuse(format!(
            "rsync: this driftless speaks no protocol before {oldest}"
        ))
    })
}

/// The oldest protocol that rsync permits.
const OLDEST_SPOKEN: i32 = 20;
/// Numbers above this are taken for noise of a shell.
const NEWEST_KNOWN: i32 = 40;

fn missing_args(said: &Given) -> MissingArgs {
    match (said.delete_missing_args, said.ignore_missing_args) {
        (true, _) => MissingArgs::Delete,
        (false, true) => MissingArgs::Ignore,
        (false, false) => MissingArgs::Error,
    }
}

fn privilege(said: &Given) -> Privilege {
    match said.rights {
        None => Privilege::Auto,
        Some(Super::Yes) => Privilege::Super,
        Some(Super::No) => Privilege::Never,
        Some(Super::Fake) => Privilege::Fake,
    }
}

fn alternates(said: &Given) -> Option<Alternates> {
    let use_as = match said.basis_kind? {
        BasisKind::Compare => AlternateUse::Compare,
        BasisKind::Copy => AlternateUse::Copy,
        BasisKind::Link => AlternateUse::Link,
    };
    let dirs = said.basis_dirs.iter().map(|dir| path(dir)).collect();
    Some(Alternates { use_as, dirs })
}

fn append(said: &Given) -> Option<Append> {
    match said.append {
        0 => None,
        1 => Some(Append::Blindly),
        _ => Some(Append::Verified),
    }
}

fn remove_source(said: &Given) -> RemoveSource {
    match said.remove_source_files {
        None => RemoveSource::No,
        Some(SourceRemoval::Synchronised) => RemoveSource::All,
        Some(SourceRemoval::Sent) => RemoveSource::Sent,
    }
}

fn compress(meant: &Meant) -> Result<Option<Compress>, Stop> {
    let choice = match &meant.compression {
        Compression::Off => return Ok(None),
        Compression::Negotiated | Compression::ByLevel => None,
        Compression::Zlib => Some(wire::Compression::Zlib),
        Compression::Zlibx => Some(wire::Compression::Zlibx),
        Compression::Named(name) => {
            wire::parse_choice(name).map_err(|error: wire::NegotiationError| {
                Stop::Refuse(error.to_string(), Exit::Unsupported)
            })?
        }
    };
    if choice == Some(wire::Compression::None) {
        return Ok(None);
    }
    let said = &meant.said;
    Ok(Some(Compress {
        choice,
        level: said.compress_level,
        skip: said.skip_compress.clone(),
        threads: u32::try_from(said.compress_threads).unwrap_or(0),
    }))
}

fn offer<A: wire::Algorithm>(env: &Env, variable: &str, side: Side) -> Offer<A> {
    env.set(variable).map_or_else(
        || Offer::all(side),
        |list| Offer::from_environment(list, side),
    )
}

fn charsets(meant: &Meant, env: &Env) -> Result<Option<Charsets>, Stop> {
    let Some(names) = meant.iconv.as_deref() else {
        return Ok(None);
    };
    let mut parts = names
        .splitn(2, |&byte| byte == b',')
        .map(|name| match name {
            b"." | b"" => of_locale(env),
            name => String::from_utf8_lossy(name).into_owned(),
        });
    let charsets = Charsets {
        local: parts.next().unwrap_or_default(),
        remote: parts.next(),
    };
    let checked = charsets.check();
    checked.map_err(|error| Stop::Refuse(error.to_string(), Exit::Unsupported))?;
    Ok(Some(charsets))
}

/// The charset of the locale: what follows the dot of its name.
fn of_locale(env: &Env) -> String {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|variable| env.set(variable));
    let charset = locale.and_then(|name| name.split(|&byte| byte == b'.').nth(1));
    let charset = charset.map(|name| name.split(|&byte| byte == b'@').next().unwrap_or(name));
    charset.map_or_else(
        || "ANSI_X3.4-1968".to_owned(),
        |name| String::from_utf8_lossy(name).into_owned(),
    )
}

fn report(meant: &Meant) -> Report {
    let level = |word: &str| meant.info.level(word);
    let formats = [&meant.out_format, &meant.said.log_file_format];
    // A client that shows unchanged items asks for them in the format that it tells.
    let asks_for_all =
        |format: &Vec<u8>| meant.said.server && format.windows(2).any(|at| at == b"%I");
    let late = formats
        .into_iter()
        .flatten()
        .any(|text| Format::parse(text).has_any(b"bcC"));
    // Without such a format the client shows nothing of what is left alone: a server says that itself.
    let has_items = |format: &Vec<u8>| Format::parse(format).has_any(b"i");
    let shows_items = meant.out_format.as_ref().is_some_and(has_items);
    let says_unchanged = meant.said.server && level("NAME") > 1 && !shows_items;
    Report {
        // The client hears of items by itself, a log does not.
        items: meant.said.server && meant.said.log_file.is_some(),
        own_items: !meant.said.server && (shows_items || level("NAME") > 0),
        unchanged: meant.said.itemize > 1
            || level("NAME") > 1 && !says_unchanged
            || meant.out_format.as_ref().is_some_and(asks_for_all),
        says_unchanged,
        after_transfer: late,
        progress: level("PROGRESS") > 0 && !meant.said.quiet,
        names: level("NAME") > 0,
        delete_detail: meant.debug.level("DEL") > 0,
        changes: level("MISC") > 0,
        skip_detail: level("SKIP") > 1,
        filters: meant.debug.level("FILTER") > 0,
    }
}

fn level(count: u32) -> u8 {
    u8::try_from(count.min(2)).unwrap_or(2)
}

pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
