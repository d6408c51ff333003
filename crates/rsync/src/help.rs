//! `--help` and `--version`: the same shape as rsync's, so that what parses those keeps working.

use crate::exit::RSYNC_VERSION;
use crate::table::{self, Opt, Takes};

/// The column in which the help's explanations begin.
const COLUMN: usize = 25;

/// The widest line of a list in the version text.
const WIDTH: usize = 75;

/// The text of `--help`, which also follows a command line that makes no sense.
pub(crate) fn usage() -> String {
    let mut text = version();
    text += "
rsync is a file transfer program capable of efficient remote update
via a fast differencing algorithm.

Usage: rsync [OPTION]... SRC [SRC]... DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST:DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST::DEST
  or   rsync [OPTION]... SRC [SRC]... rsync://[USER@]HOST[:PORT]/DEST
  or   rsync [OPTION]... [USER@]HOST:SRC [DEST]
  or   rsync [OPTION]... [USER@]HOST::SRC [DEST]
  or   rsync [OPTION]... rsync://[USER@]HOST[:PORT]/SRC [DEST]
The ':' usages connect via remote shell, while '::' & 'rsync://' usages connect
to an rsync daemon, and require SRC or DEST to start with a module name.

Options
";
    for row in table::rows() {
        text += &option_lines(row);
    }
    text += "
Use \"rsync --daemon --help\" to see the daemon-mode command-line options.
Please see the rsync(1) and rsyncd.conf(5) manpages for full documentation.
";
    text
}

/// The help's lines for one option.
fn option_lines(row: &Opt) -> String {
    let own = (!row.brief.is_empty()).then(|| (spelled(row), row.brief));
    let also = row
        .also
        .iter()
        .map(|&(left, right)| (left.to_owned(), right));
    own.into_iter()
        .chain(also)
        .map(|(left, right)| line(&left, right))
        .collect()
}

/// One line of a help text.
pub(crate) fn line(left: &str, right: &str) -> String {
    format!("{left:<COLUMN$}{right}\n")
}

fn spelled(row: &Opt) -> String {
    let value = match row.takes {
        Takes::Nothing => String::new(),
        Takes::Text(value) | Takes::Number(value) => format!("={value}"),
    };
    match (row.long, row.short.map(char::from)) {
        ("", Some(letter)) => format!("-{letter}"),
        (long, Some(letter)) => format!("--{long}{value}, -{letter}"),
        (long, None) => format!("--{long}{value}"),
    }
}

const COPYRIGHT: &str = "(C) 2026 by the driftless authors.";
const LICENSE: &str = "MIT OR Apache-2.0";
const CHECKSUMS: &[&str] = &["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none"];
const COMPRESSORS: &[&str] = &["zstd", "lz4", "zlibx", "zlib", "none"];
const DIGESTS: &[&str] = &["sha512", "sha256", "sha1", "md5", "md4"];

/// What the program can do: the JSON's key, the text's words, and whether it can.
#[rustfmt::skip]
const CAPABILITIES: &[(&str, &str, Can)] = &[
    ("file_bits", "files", Can::Bits), ("inum_bits", "inums", Can::Bits), ("timestamp_bits", "timestamps", Can::Bits),
    ("long_int_bits", "long ints", Can::Bits), ("socketpairs", "socketpairs", Can::Yes), ("symlinks", "symlinks", Can::Yes),
    ("symtimes", "symtimes", Can::Yes), ("hardlinks", "hardlinks", Can::Yes),
    ("hardlink_specials", "hardlink-specials", Can::Yes), ("hardlink_symlinks", "hardlink-symlinks", Can::Yes),
    ("IPv6", "IPv6", Can::Yes), ("atimes", "atimes", Can::Yes), ("batchfiles", "batchfiles", Can::Yes),
    ("inplace", "inplace", Can::Yes), ("append", "append", Can::Yes), ("ACLs", "ACLs", Can::Yes),
    ("ACL_at", "ACL-at", Can::Yes), ("xattrs", "xattrs", Can::Yes), ("secluded_args", "secluded-args", Can::Optional),
    ("iconv", "iconv", Can::Yes), ("prealloc", "prealloc", Can::Yes), ("stop_at", "stop-at", Can::Yes),
    ("crtimes", "crtimes", Can::No),
];

const OPTIMIZATIONS: &[(&str, &str, Can)] = &[
    ("SIMD_roll", "SIMD-roll", Can::Yes),
    ("asm_roll", "asm-roll", Can::No),
    ("openssl_crypto", "openssl-crypto", Can::No),
    ("asm_MD5", "asm-MD5", Can::No),
];

#[derive(Clone, Copy)]
enum Can {
    Yes,
    No,
    /// Yes, if asked for.
    Optional,
    /// 64 of them.
    Bits,
}

impl Can {
    fn text(self, words: &str) -> String {
        match self {
            Self::Yes => words.to_owned(),
            Self::No => format!("no {words}"),
            Self::Optional => format!("optional {words}"),
            Self::Bits => format!("64-bit {words}"),
        }
    }

    fn json(self, key: &str) -> String {
        let value = match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Optional => "\"optional\"",
            Self::Bits => "64",
        };
        format!("\"{key}\": {value}")
    }
}

/// The text of `--version`.
pub(crate) fn version() -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let listed = |items: &[(&str, &str, Can)]| {
        wrapped(
            items
                .iter()
                .map(|(_, words, can)| can.text(words))
                .collect::<Vec<_>>()
                .as_slice(),
        )
    };
    let names = |items: &[&str]| {
        format!(
            "    {}\n",
            items.join(" ").replace("xxh64", "xxh64 (xxhash)")
        )
    };
    format!(
        "rsync  version {RSYNC_VERSION}  protocol version 32
driftless {ours}, compatible with it.  Copyright {COPYRIGHT}
Capabilities:
{}Optimizations:
{}Checksum list:
{}Compress list:
{}Daemon auth list:
{}
driftless comes with NO WARRANTY.  This is free software, and you are
welcome to redistribute it under the terms of the MIT License or the
Apache License 2.0.
",
        listed(CAPABILITIES),
        listed(OPTIMIZATIONS),
        names(CHECKSUMS),
        names(COMPRESSORS),
        names(DIGESTS),
    )
}

/// Items with commas, in lines of limited length.
fn wrapped(items: &[String]) -> String {
    let mut lines = vec![String::new()];
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        let line = lines
            .last_mut()
            .filter(|line| 4 + line.len() + 1 + item.len() + comma.len() < WIDTH);
        match line {
            Some(line) if line.is_empty() => *line = format!("{item}{comma}"),
            Some(line) => *line = format!("{line} {item}{comma}"),
            None => lines.push(format!("{item}{comma}")),
        }
    }
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

/// The text of `--version --version`.
pub(crate) fn version_json() -> String {
    let object = |items: &[(&str, &str, Can)]| {
        let items: Vec<String> = items.iter().map(|(key, _, can)| can.json(key)).collect();
        wrapped(&items)
    };
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        format!("[\n    {}\n  ]", names.join(", "))
    };
    format!(
        "{{
  \"program\": \"rsync\",
  \"version\": \"{RSYNC_VERSION}\",
  \"implementation\": \"driftless {}\",
  \"protocol\": \"32.0\",
  \"copyright\": \"{COPYRIGHT}\",
  \"capabilities\": {{
{}  }},
  \"optimizations\": {{
{}  }},
  \"checksum_list\": {},
  \"compress_list\": {},
  \"daemon_auth_list\": {},
  \"license\": \"{LICENSE}\",
  \"caveat\": \"driftless comes with NO WARRANTY\"
}}
",
        env!("CARGO_PKG_VERSION"),
        object(CAPABILITIES),
        object(OPTIMIZATIONS),
        list(CHECKSUMS),
        list(COMPRESSORS),
        list(DIGESTS),
    )
}
