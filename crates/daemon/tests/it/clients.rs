//! Stock clients of two generations push, pull and list: with a password or without, in a chroot or not, as root or as
//! somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use testkit::{Aspects, DaemonBuilder, Original, compare, is_root, require_rsync, skip};

use super::bench::{daemon, errors, fill, text, trees};

fn run(client: &Path, arguments: &[&str]) -> Output {
    Command::new(client)
        .args(arguments)
        .env("LC_ALL", "C")
        .env_remove("RSYNC_PASSWORD")
        .output()
        .expect("it starts")
}

/// Each way to serve a module that an administrator would choose.
fn served(module: &Path) -> Vec<(&'static str, Option<u32>, DaemonBuilder)> {
    let plain = || daemon(module).set("comment", "for tests");
    let mut all = vec![("plain", None, plain())];
    if is_root() {
        let as_daemon = |builder: DaemonBuilder| builder.set("uid", "1").set("gid", "1");
        all.push(("chroot", None, plain().set("use chroot", "yes")));
        all.push(("uid", Some(1), as_daemon(plain())));
        let both = as_daemon(plain()).set("use chroot", "yes");
        all.push(("chroot and uid", Some(1), both));
    } else {
        skip("only root can change root and user");
    }
    all
}

fn serves(client: &Path) {
    for password in [false, true] {
        let (module, _) = trees();
        for (way, uid, builder) in served(module.path()) {
            let case = format!("{}, {way}, password {password}", client.display());
            let (fresh, other) = trees();
            fill(other.path());
            if uid.is_some() {
                chown(fresh.path(), uid, uid).expect("we are root");
            }
            let builder = builder.set("path", text(fresh.path()));
            let daemon = match password {
                true => builder.auth_user("joe", "secret").start(),
                false => builder.start(),
            };
            let password_file = daemon.password_file();
            let proof = format!("--password-file={}", text(&password_file));
            let proof: Vec<&str> = password.then_some(proof.as_str()).into_iter().collect();

            let source = format!("{}/", text(other.path()));
            let (top, slash, below) = (daemon.url(""), daemon.url("/"), daemon.url("d/"));
            let push = [&["-rlt", "--delete"], &proof[..], &[&source, &top]].concat();
            let pushed = run(client, &push);
            assert!(pushed.status.success(), "{case}: {}", errors(&pushed));
            let aspects = || Aspects::exact().without_times().without_owner();
            compare(other.path(), fresh.path(), &aspects()).expect(&case);
            if let Some(uid) = uid {
                let made = fs::metadata(fresh.path().join("a")).expect("it was pushed");
                assert_eq!(made.uid(), uid, "{case}");
            }

            let back = tempfile::tempdir().expect("a directory");
            let target = format!("{}/", text(back.path()));
            let pull = [&["-rlt"], &proof[..], &[&slash, &target]].concat();
            let pulled = run(client, &pull);
            assert!(pulled.status.success(), "{case}: {}", errors(&pulled));
            compare(other.path(), back.path(), &aspects()).expect(&case);

            let list = [&proof[..], &[&below]].concat();
            let listed = run(client, &list);
            assert!(listed.status.success(), "{case}: {}", errors(&listed));
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(
                listed.lines().any(|line| line.ends_with(" b")),
                "{case}: {listed}"
            );
            let root = format!("rsync://127.0.0.1:{}/", daemon.port());
            let modules = run(client, &[&root]);
            assert_eq!(
                String::from_utf8_lossy(&modules.stdout),
                "m              \tfor tests\n",
                "{case}"
            );
            if password {
                let stranger = run(client, &["-r", &slash, &target]);
                assert_eq!(stranger.status.code(), Some(5), "{case}");
            }
        }
    }
}

#[test]
fn the_installed_client_is_served() {
    serves(&require_rsync());
}

#[test]
fn an_older_client_is_served() {
    match Original::OldRsync.find() {
        Some(client) => serves(&client),
        None => skip("no rsync 3.2.7; DRIFTLESS_OLD_RSYNC can name one"),
    }
}
