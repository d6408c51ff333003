//! What of a file is neither content nor permission: extended attributes, access control lists, owners, and what
//! `--fake-super` notes instead. The same in every role.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the trees of a test are its own")]

use std::path::Path;
use std::process::Command;

use driftless_transfer::{Options, Privilege};
use testkit::{Original, is_root, skip};
use wire::Side;

use super::bench::Scenario;
use super::local::copied;
use super::pull::pull;
use super::push::push;
use super::serve::serve;

const SOURCE: &str =
    "f a 100 mtime=5\nf b 50 mtime=6\nd d\nf d/c 20 mtime=7\nf e mtime=8\nl s -> a";

#[test]
fn extended_attributes_travel_in_each_role() {
    if lacks_attributes() {
        return;
    }
    let attributes = |dir: &Path| {
        let from = dir.join("from");
        let long = "v".repeat(300);
        for (path, name, value) in [
            ("a", "user.one", "1"),
            ("a", "user.long", &*long),
            ("b", "user.long", &*long),
            ("d", "user.dir", "yes"),
            ("d", "user.long", &*long),
            ("d/c", "user.other", &*"w".repeat(33)),
            ("e", "user.empty", ""),
        ] {
            give(&from.join(path), name, value);
        }
        let to = dir.join("to");
        for (path, name, value) in [
            ("a", "user.one", "2"),
            ("a", "user.gone", "x"),
            ("d", "user.gone", "x"),
            // One that is known already is not asked for.
            ("b", "user.long", &*long),
            ("d/c", "user.other", &*"x".repeat(33)),
        ] {
            if to.join(path).exists() {
                give(&to.join(path), name, value);
            }
        }
    };
    let with = |options: &mut Options| options.xattrs = 1;
    let plain = case("xattrs", "-aX", &attributes, &with);
    in_every_role(plain);
    in_every_role(over(SOURCE, plain));
    let older = "f a 90 mtime=4\nf b 50 mtime=6\nd d\nf d/c 30 mtime=1";
    in_every_role(over(older, plain));
    let links = |options: &mut Options| {
        with(options);
        options.hard_links = true;
    };
    let linked = |dir: &Path| {
        attributes(dir);
        std::fs::hard_link(dir.join("from/a"), dir.join("from/z")).unwrap();
    };
    in_every_role(case("links", "-aXH", &linked, &links));
    let dry = |options: &mut Options| {
        with(options);
        options.dry_run = true;
    };
    in_every_role(over(SOURCE, case("dry run", "-aXn", &attributes, &dry)));
    let filtered = |options: &mut Options| {
        with(options);
        let mut files = filter::NoMergeFiles;
        options.rules.filter(b"-x user.l*", &mut files).unwrap();
        options.rules.filter(b"-x user.gone", &mut files).unwrap();
    };
    let words = "-aX --filter=-x_user.l* --filter=-x_user.gone";
    local(over(
        SOURCE,
        case("filtered", words, &attributes, &filtered),
    ));
}

#[test]
fn access_control_lists() {
    if lacks_attributes() {
        return;
    }
    let lists = |dir: &Path| {
        let from = dir.join("from");
        set_acl(&from.join("a"), "u:1:rw,g:12:rwx");
        set_acl(&from.join("b"), "u:54321:r,m::r");
        set_acl(&from.join("d"), "u:1:rwx,d:u:33:rx,d:g:12:w");
        let to = dir.join("to");
        for (path, list) in [("a", "u:1:r"), ("d/c", "u:2:r"), ("d", "d:u:2:r")] {
            if to.join(path).exists() {
                set_acl(&to.join(path), list);
            }
        }
    };
    let with = |options: &mut Options| options.acls = true;
    in_every_role(case("acls", "-aA", &lists, &with));
    in_every_role(over(SOURCE, case("acls", "-aA", &lists, &with)));
    let both = |options: &mut Options| {
        options.acls = true;
        options.xattrs = 1;
    };
    in_every_role(over(SOURCE, case("acls and xattrs", "-aAX", &lists, &both)));
    // New items take their permissions from the default list of the directory, not from the umask.
    let inherited = |dir: &Path| set_acl(&dir.join("to"), "d:u:1:rwx,d:o::-");
    let plain = |options: &mut Options| options.perms = false;
    local(case("inherited", "-a --no-p", &inherited, &plain));
}

#[test]
fn owners_are_mapped_by_name_and_number() {
    if !is_root() {
        return skip("only root gives files away");
    }
    let owned = |dir: &Path| {
        for (path, uid, gid) in [("a", 1, 2), ("b", 54321, 54322), ("d", 0, 12), ("s", 1, 1)] {
            let path = dir.join("from").join(path);
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
        }
    };
    for (users, groups) in [
        ("daemon:bin,root:sys", "*:12"),
        ("1-3:40,*:50", "bin:sys,12:root"),
        ("dae*:5", ":77"),
        ("nosuch:1,:6", "[r-s]oot:9"),
    ] {
        let mapped = |options: &mut Options| {
            options.usermap = Some(users.into());
            options.groupmap = Some(groups.into());
        };
        let words = format!("-a --usermap={users} --groupmap={groups}");
        in_every_role(case("mapped", &words, &owned, &mapped));
    }
    let numeric = |options: &mut Options| {
        options.numeric_ids = true;
        options.usermap = Some(b"daemon:3,0:4".into());
    };
    let words = "-a --numeric-ids --usermap=daemon:3,0:4";
    local(case("by number", words, &owned, &numeric));
}

#[test]
fn what_root_alone_may_is_noted() {
    if lacks_attributes() {
        return;
    }
    let special = |dir: &Path| {
        let from = dir.join("from");
        Command::new("mkfifo").arg(from.join("p")).status().unwrap();
        for (path, mode) in [("a", 0o4711), ("d", 0o2750), ("b", 0o444)] {
            use std::os::unix::fs::PermissionsExt;
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(from.join(path), permissions).unwrap();
        }
        set_acl(&from.join("e"), "u:1:rw");
        if is_root() {
            std::os::unix::fs::lchown(from.join("b"), Some(7), Some(8)).unwrap();
            // A container's root may not.
            let flags = rustix::fs::XattrFlags::empty();
            let _ = rustix::fs::lsetxattr(from.join("b"), "trusted.t", b"seen", flags);
        }
    };
    let with = |options: &mut Options| {
        options.privilege = Privilege::Fake;
        options.acls = true;
        options.xattrs = 1;
    };
    let here = case("noted", "-aAX --fake-super", &special, &with);
    local(here);
    local(over(SOURCE, here));
    served(Scenario {
        operands: &["from/", "host:to/"],
        ..case("noted", "-aAX -M--fake-super", &special, &with)
    });
    // What was noted by the original comes back from us as it was.
    let noted = |dir: &Path| {
        special(dir);
        let status = Command::new(testkit::require_rsync())
            .args(["-aAX", "--fake-super", "from/", "noted/"])
            .current_dir(dir)
            .status();
        assert!(status.unwrap().success());
        std::fs::remove_dir_all(dir.join("from")).unwrap();
        std::fs::rename(dir.join("noted"), dir.join("from")).unwrap();
    };
    served(Scenario {
        operands: &["host:from/", "to/"],
        ..case("restored", "-aAX -M--fake-super", &noted, &with)
    });
}

type Set<'a> = &'a dyn Fn(&mut Options);

/// A case whose trees `prepare` completes.
fn case<'a>(
    name: &'a str,
    words: &'a str,
    prepare: &'a dyn Fn(&Path),
    set: Set<'a>,
) -> Scenario<'a> {
    Scenario {
        name,
        source: SOURCE,
        destination: "",
        prepare,
        words,
        set,
        operands: &["from/", "to/"],
    }
}

/// The same over what is there already.
fn over<'a>(destination: &'a str, case: Scenario<'a>) -> Scenario<'a> {
    Scenario {
        destination,
        ..case
    }
}

fn in_every_role(case: Scenario<'_>) {
    local(case);
    for protocol in [32, 31, 30] {
        let case = Scenario {
            words: &format!("{} --protocol={protocol}", case.words),
            ..case
        };
        let (up, down): (&[&str], &[&str]) = (&["from/", "host:to/"], &["host:from/", "to/"]);
        let at = |operands| Scenario { operands, ..case };
        at(up).run(Side::Client, |options, sources, target, events| {
            push(options, sources, target, protocol, events)
        });
        at(down).run(Side::Client, |options, sources, target, events| {
            pull(options, sources, target, protocol, events)
        });
        served(at(up));
        served(at(down));
    }
}

fn local(case: Scenario<'_>) {
    case.run(Side::Client, copied);
}

fn served(case: Scenario<'_>) {
    let Scenario {
        words, operands, ..
    } = case;
    case.run(Side::Server, |options, sources, target, events| {
        serve(options, words, operands, &sources[0], target, events)
    });
}

/// Whether there are no extended attributes here, which is said.
fn lacks_attributes() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let lacks = rustix::fs::lsetxattr(dir.path(), "user.probe", b"", flags).is_err();
    if lacks {
        skip("no extended attributes here");
    }
    lacks
}

fn give(path: &Path, name: &str, value: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(path, name, value.as_bytes(), flags).unwrap();
}

fn set_acl(path: &Path, list: &str) {
    let setfacl = Original::Setfacl.require();
    let status = Command::new(setfacl).args(["-m", list]).arg(path).status();
    assert!(status.unwrap().success(), "{}", path.display());
}
