//! What modules say about the files in them, with the installed daemon beside ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;
use testkit::{DaemonBuilder, RsyncDaemon, is_root, skip};

use super::bench::{daemon, errors, rsync, text, trees};

/// A module over a tree of its own, of the installed daemon or of ours.
struct Served {
    tree: TempDir,
    daemon: RsyncDaemon,
}

/// Both daemons with the same module, ours last.
fn both(fill: impl Fn(&Path), configured: impl Fn(DaemonBuilder) -> DaemonBuilder) -> [Served; 2] {
    let plain: [fn(&Path) -> DaemonBuilder; 2] = [|tree| RsyncDaemon::module("m", tree), daemon];
    plain.map(|plain| {
        let tree = tempfile::tempdir().expect("a directory");
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        fill(tree.path());
        let daemon = configured(plain(tree.path()).munge_symlinks(false)).start();
        Served { tree, daemon }
    })
}

impl Served {
    fn push(&self, options: &[&str], from: &Path, place: &str) -> Output {
        let source = format!("{}/", text(from));
        let url = self.daemon.url(place);
        rsync(&[options, &[&source, &url]].concat())
    }

    fn mode(&self, path: &str) -> u32 {
        let found = fs::symlink_metadata(self.tree.path().join(path));
        found.expect("it is there").mode()
    }
}

#[test]
fn nobody_is_served_names_in_an_unknown_charset() {
    let served = both(|_| {}, |daemon| daemon.set("charset", "nosuch"));
    for Served { daemon, .. } in served {
        let listed = rsync(&[&daemon.url("")]);
        assert_eq!(listed.status.code(), Some(5), "{}", errors(&listed));
        let log = daemon.log();
        let line = "iconv_open(\"UTF-8\", \"nosuch\") failed";
        assert!(log.contains(line), "{line} is not in\n{log}");
        assert!(!log.contains("rsync allowed access"), "{log}");
    }
}

/// A client's `--fake-super` makes no difference to what the module has said of `fake super`.
#[test]
fn the_module_says_what_is_noted() {
    let (source, _) = trees();
    symlink("target", source.path().join("l")).expect("a link");
    for (parameter, is_link) in [("no", true), ("yes", false)] {
        let served = both(|_| {}, |daemon| daemon.set("fake super", parameter));
        for served in served {
            let pushed = served.push(&["-rl", "-M--fake-super"], source.path(), "");
            assert!(pushed.status.success(), "{}", errors(&pushed));
            let made = served.mode("l") & 0o170_000;
            assert_eq!(made == 0o120_000, is_link, "fake super = {parameter}");
        }
    }
}

#[test]
fn what_may_not_be_read_is_listed_all_the_same() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let fill = |tree: &Path| {
        fs::write(tree.join("private"), "text").expect("a file");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(tree.join("private"), mode).expect("ours");
    };
    let served = both(fill, |daemon| {
        let daemon = daemon.set("fake super", "yes");
        daemon.set("uid", "1").set("gid", "1")
    });
    for Served { daemon, .. } in served {
        let listed = rsync(&["-r", &daemon.url("")]);
        let names = String::from_utf8_lossy(&listed.stdout);
        assert!(names.contains(" private\n"), "{names}");
        let to = tempfile::tempdir().expect("a directory");
        let pulled = rsync(&["-a", &daemon.url(""), text(to.path())]);
        assert_eq!(pulled.status.code(), Some(23), "{}", errors(&pulled));
        let line = "send_files failed to open \"private\" (in m): Permission denied (13)";
        assert!(errors(&pulled).contains(line), "{}", errors(&pulled));
    }
}

/// Whatever the client keeps, and of what is there already, too.
#[test]
fn incoming_modes_are_changed() {
    let (source, _) = trees();
    let there = |tree: &Path| {
        fs::create_dir(tree.join("d")).expect("a directory");
        fs::write(tree.join("d/f"), "old text").expect("a file");
        for (path, mode) in [("d", 0o700), ("d/f", 0o600)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).expect("ours");
        }
    };
    there(source.path());
    fs::create_dir(source.path().join("e")).expect("a directory");
    fs::write(source.path().join("e/n"), "").expect("a file");
    let modes = "Dg+s,o+r,Fu+x";
    let paths = ["d", "d/f", "e", "e/n"];
    for options in [&["-r"][..], &["-rE"], &["-rp"], &["-a"]] {
        let served = both(there, |daemon| daemon.set("incoming chmod", modes));
        let [expected, found] = served.map(|served| {
            let pushed = served.push(options, source.path(), "");
            assert!(pushed.status.success(), "{}", errors(&pushed));
            paths.map(|path| served.mode(path))
        });
        assert_eq!(found, expected, "{options:?}");
        assert_ne!(found[0] & 0o2000, 0, "{options:?}");
    }
}

/// In a chroot nothing leads out of the module, and a directory beside the destination is one of it.
#[test]
fn options_may_lead_beside_the_destination_in_a_chroot() {
    if !is_root() {
        return skip("only root can change root");
    }
    let (source, _) = trees();
    fs::write(source.path().join("f"), "new text").expect("a file");
    let fill = |tree: &Path| {
        fs::create_dir(tree.join("in")).expect("a directory");
        fs::write(tree.join("in/f"), "old").expect("a file");
    };
    let served = both(fill, |daemon| {
        let daemon = daemon.set("use chroot", "yes");
        daemon.set("uid", "0").set("gid", "0")
    });
    for served in served {
        let options = ["-a", "--backup", "--backup-dir=../kept"];
        let pushed = served.push(&options, source.path(), "in/");
        assert!(pushed.status.success(), "{}", errors(&pushed));
        let kept = fs::read_to_string(served.tree.path().join("kept/f"));
        assert_eq!(kept.expect("it was kept"), "old");
        assert!(!served.tree.path().join("in/kept").exists());
    }
}

#[test]
fn a_directory_that_could_not_be_made_is_not_logged_as_made() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let (source, _) = trees();
    fs::create_dir(source.path().join("sub")).expect("a directory");
    let served = both(|_| {}, |daemon| daemon.set("uid", "1").set("gid", "1"));
    for served in served {
        let pushed = served.push(&["-r"], source.path(), "");
        assert_eq!(pushed.status.code(), Some(23), "{}", errors(&pushed));
        let log = served.daemon.log();
        assert!(log.contains("mkdir \"sub\" (in m) failed"), "{log}");
        assert!(!log.contains("] sub/\n"), "{log}");
    }
}
