//! Conflicts in rsync's words, implications, and the environment.

use super::*;
use crate::alias::Aliases;
use crate::parse::{Invocation, parse};

fn now() -> Zoned {
    jiff::civil::date(2026, 11, 22)
        .at(12, 0, 0, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .expect("a moment")
}

fn meant(line: &str) -> Result<Meant, Stop> {
    let arguments: Vec<Vec<u8>> = line
        .split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect();
    match parse(&arguments, &Aliases::default())? {
        Invocation::Transfer(given) => Meant::new(*given, &Env::default(), &now()),
        Invocation::Daemon(_) => panic!("a daemon"),
    }
}

#[test]
fn conflicts_in_rsyncs_words() {
    for (line, told) in [
        (
            "--delete s d",
            "rsync: --delete does not work without --recursive (-r) or --dirs (-d).",
        ),
        (
            "--delete-before --delete-after -r s d",
            "rsync: You may not combine multiple --delete-WHEN options.",
        ),
        (
            "--fake-super -XX s d",
            "rsync: --fake-super conflicts with -XX",
        ),
        (
            "--suffix=a/b s d",
            "rsync: --suffix cannot contain slashes: a/b",
        ),
        (
            "--suffix= -b s d",
            "rsync: --suffix cannot be empty without a --backup-dir",
        ),
        (
            "-b --backup-dir= s d",
            "rsync: --suffix cannot be empty when --backup-dir is the same as the dest dir",
        ),
        (
            "--suffix= --backup-dir=./ s d",
            "rsync: --suffix cannot be empty when --backup-dir is the same as the dest dir",
        ),
        (
            "--append -W s d",
            "rsync: --append cannot be used with --whole-file",
        ),
        (
            "--append --partial-dir=x s d",
            "rsync: --append cannot be used with --partial-dir",
        ),
        (
            "--inplace --delay-updates s d",
            "rsync: --inplace cannot be used with --delay-updates",
        ),
        (
            "--files-from=h:- s d",
            "rsync: Invalid --files-from remote filename",
        ),
        (
            "--files-from=h:x s d",
            "--files-from cannot be remote when the transfer is local",
        ),
        (
            "--files-from=i:x h:s d",
            "--files-from hostname is not the same as the transfer hostname",
        ),
        (
            "--confine-root=x s d",
            "rsync: --confine-root must be an absolute path",
        ),
        (
            "--confine-root=/x --insecure-links s d",
            "rsync: --insecure-links cannot be combined with --confine-root",
        ),
        (
            "--password-file=x s d",
            "The --password-file option may only be used when accessing an rsync daemon.",
        ),
        (
            "--contimeout=3 h:s d",
            "The --contimeout option may only be used when connecting to an rsync daemon.",
        ),
        (
            "--tls h:s d",
            "The --tls option may only be used when connecting to an rsync daemon.",
        ),
        (
            "--tls-ca=x h::s d",
            "The --tls-ca option may only be used with --tls.",
        ),
        (
            "--read-batch=a --write-batch=b s d",
            "rsync: --write-batch and --read-batch can not be used together",
        ),
        (
            "--read-batch=a --remove-sent-files d",
            "rsync: --read-batch cannot be used with --remove-sent-files",
        ),
        (
            "--read-batch=a h:d",
            "remote destination is not allowed with --read-batch",
        ),
        (
            "-s --old-args s d",
            "rsync: --secluded-args conflicts with --old-args.",
        ),
        (
            "--chmod=zz s d",
            "rsync: Invalid argument passed to --chmod (zz)",
        ),
        (
            "--stop-at=1999-1-1 s d",
            "rsync: --stop-at time is not in the future: 1999-1-1",
        ),
        ("--cc=foo s d", "unknown checksum name: foo"),
        ("--zc=foo s d", "unknown compress name: foo"),
    ] {
        match meant(line) {
            Err(Stop::Refuse(text, _)) => assert_eq!(text, told, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn options_imply_what_rsync_says() {
    let is = |line: &str, holds: fn(&Meant) -> bool| {
        let meant = meant(line).expect(line);
        assert!(holds(&meant), "{line}: {meant:?}");
    };
    is("-a s d", |m| {
        m.recursive && m.dirs && m.said.links && m.said.specials && !m.relative
    });
    is("-a --no-D s d", |m| !m.said.devices && !m.said.specials);
    is("--no-p -a s d", |m| m.said.perms);
    is("-a --files-from=l s d", |m| {
        !m.recursive && m.dirs && m.relative
    });
    is("-r --files-from=l --no-R s d", |m| {
        m.recursive && !m.relative
    });
    is("s", |m| m.listing && m.dirs && !m.recursive);
    is("-r --del s d", |m| {
        m.deletes && m.delete_when == Some(transfer::DeleteWhen::During)
    });
    is("-r --delete-excluded s d", |m| {
        m.deletes && m.delete_when.is_none()
    });
    is("--old-dirs s d", |m| m.recursive);
    is("-r --del --delete-delay s d", |m| {
        m.delete_when == Some(transfer::DeleteWhen::Delay)
    });
    is("--backup-dir=./x/ s d", |m| {
        m.backup && m.backup_dir.as_deref() == Some(b"x/") && m.suffix.is_empty()
    });
    is("--write-devices s d", |m| m.inplace);
    is("--append s d", |m| m.inplace && !m.partial);
    is("--delay-updates s d", |m| {
        m.partial && m.partial_dir_implied
    });
    is("--partial-dir=a/../b/ s d", |m| {
        m.partial && m.partial_dir.as_deref() == Some(b"b")
    });
    is("--partial-dir=. s d", |m| {
        m.partial && m.partial_dir.is_none()
    });
    is("-zz s d", |m| m.compression == Compression::Zlibx);
    is("-z --zc=none s d", |m| {
        m.compression == Compression::Named(b"none".to_vec())
    });
    is("--zl=3 s d", |m| m.compression == Compression::ByLevel);
    is("-zz --no-z s d", |m| m.compression == Compression::Off);
    is("--cc=none s d", |m| m.whole_file == Some(true));
    is("--cc=auto,auto s d", |m| m.checksum_choice.is_none());
    is("-yy --link-dest=a --link-dest=b s d", |m| m.fuzzy == 3);
    is("--usermap=a:b s d", |m| m.owner && !m.group);
    is("--chown=:g s d", |m| m.group && !m.owner);
    is("--server --usermap=a:b --groupmap=a:b . d", |m| {
        !m.owner && !m.group
    });
    is("-v s d", |m| {
        m.out_format.as_deref() == Some(b"%n%L") && m.info.level("NAME") == 1
    });
    is("-vi s d", |m| m.out_format.as_deref() == Some(b"%i %n%L"));
    is("--info=name0 -vv s d", |m| {
        m.info.level("NAME") == 0 && m.info.level("SKIP") == 1
    });
    is("-P s d", |m| {
        m.info.level("PROGRESS") == 1 && m.info.level("NAME") == 1 && m.info.level("FLIST") == 2
    });
    is("-P --info=progress2 s d", |m| m.info.level("PROGRESS") == 2);
    is("-vv --stats s d", |m| m.info.level("STATS") == 3);
}

#[test]
fn the_environment_gives_way_to_options() {
    let with = |line: &str, env: Env| {
        let arguments: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let Ok(Invocation::Transfer(given)) = parse(&arguments, &Aliases::default()) else {
            panic!("{line}")
        };
        Meant::new(*given, &env, &now()).expect(line)
    };
    assert!(with("s h:d", [("RSYNC_PROTECT_ARGS", "1")].into()).secluded);
    assert!(!with("s h:d", [("RSYNC_PROTECT_ARGS", "yes")].into()).secluded);
    assert!(
        !with(
            "s h:d",
            [("RSYNC_PROTECT_ARGS", "1"), ("RSYNC_OLD_ARGS", "0")].into()
        )
        .secluded
    );
    assert_eq!(
        with("-s s h:d", [("RSYNC_OLD_ARGS", "2")].into()).old_args,
        0
    );
    let dir = |line: &str| with(line, [("RSYNC_PARTIAL_DIR", "pd")].into()).partial_dir;
    assert_eq!(dir("--partial s d").as_deref(), Some(&b"pd"[..]));
    assert_eq!(dir("--partial --inplace s d"), None);
    assert_eq!(dir("s d"), None);
    let charset = |line: &str| {
        with(line, [("RSYNC_ICONV", "u,v")].into())
            .remote_charset()
            .map(<[u8]>::to_vec)
    };
    assert_eq!(charset("s d").as_deref(), Some(&b"v"[..]));
    assert_eq!(charset("--no-iconv s d"), None);
    assert_eq!(charset("--iconv=. s d").as_deref(), Some(&b"."[..]));
    assert_eq!(
        with("s d", [("RSYNC_MAX_ALLOC", "1024m")].into()).max_alloc_text,
        None
    );
    assert_eq!(
        with("s d", [("RSYNC_MAX_ALLOC", "3g")].into()).max_alloc,
        3 << 30
    );
}
