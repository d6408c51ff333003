//! Everything that a file can be or have reaches every kind of destination, and so does a change of nothing else.

use std::ffi::CString;
use std::os::unix::fs::{MetadataExt, chown};

use rustix::fs::{XattrFlags, lremovexattr, lsetxattr};
use testkit::{Tree, is_root, skip};

use crate::bench::{Bench, SOON, for_each_kind_of_destination};

/// The access control list `u::rw-,u:4711:r--,g::r--,m::r--,o::r--` as the kernel keeps it: version 2, and then tag,
/// permissions and id of each entry.
const LIST: [(u16, u16, u32); 5] = [
    (0x01, 6, u32::MAX),
    (0x02, 4, 4711),
    (0x04, 4, u32::MAX),
    (0x10, 4, u32::MAX),
    (0x20, 4, u32::MAX),
];
const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn set(tree: &Tree, path: &str, name: &str, value: impl AsRef<[u8]>) -> bool {
    lsetxattr(tree.path(path), name, value.as_ref(), XattrFlags::empty()).is_ok()
}

fn remove(tree: &Tree, path: &str, name: &str) {
    lremovexattr(tree.path(path), name).unwrap();
}

for_each_kind_of_destination! {
    fn hard_links(bench: Bench) {
        bench.source.file("dir/one", 5000);
        bench.source.hard_link("two", "dir/one");
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        bench.source.hard_link("dir/deep/three", "two");
        bench.wait_identical(&mirror);
        bench.source.append("two", "seen under every name");
        bench.wait_identical(&mirror);
        bench.source.remove("dir/one");
        bench.finish(mirror);
    }

    fn symbolic_links(bench: Bench) {
        bench.source.symlink("link", "no/where");
        let mirror = bench.live();
        bench.source.remove("link");
        bench.source.symlink("link", "another");
        bench.source.symlink("dir/up", "../link");
        bench.finish(mirror);
    }

    fn special_files_as_root(bench: Bench) {
        if !is_root() {
            return skip("making device files needs root");
        }
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let make = |path: &str, kind, device| {
            let path = bench.source.path(path).into_os_string().into_encoded_bytes();
            let path = CString::new(path).unwrap();
            mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device).unwrap();
        };
        bench.source.directory("dir");
        make("null", FileType::CharacterDevice, makedev(1, 3));
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        make("disk", FileType::BlockDevice, makedev(259, 70_000));
        make("dir/socket", FileType::Socket, 0);
        bench.source.fifo("dir/pipe");
        bench.wait_identical(&mirror);
        bench.source.chmod("null", 0o600);
        bench.source.remove("disk");
        bench.finish(mirror);
    }

    fn owners_as_root(bench: Bench) {
        if !is_root() {
            return skip("changing owners needs root");
        }
        bench.source.add("f file 10\nf dir/inner 10\nl link -> file");
        chown(bench.source.path("file"), Some(1), Some(2)).unwrap();
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        chown(bench.source.path("file"), Some(4711), None).unwrap();
        chown(bench.source.path("dir"), Some(4711), Some(4712)).unwrap();
        std::os::unix::fs::lchown(bench.source.path("link"), Some(4711), Some(1)).unwrap();
        bench.finish(mirror);
    }

    fn modes_and_times_alone(bench: Bench) {
        use std::time::{Duration, UNIX_EPOCH};
        bench.source.add("f file 10\nf dir/inner 10\nd empty");
        let mirror = bench.live();
        bench.source.chmod("file", 0o4640);
        bench.source.chmod("empty", 0o1777);
        bench.source.touch("dir/inner", UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789));
        bench.source.touch("dir", UNIX_EPOCH + Duration::new(1_100_000_000, 999_999_999));
        bench.finish(mirror);
    }

    fn sparse_files_stay_sparse(bench: Bench) {
        use std::os::unix::fs::FileExt;
        let grow = |path: &str| {
            bench.source.write(path, "begin");
            bench.source.truncate(path, 8 << 20);
            let file = std::fs::File::options().write(true).open(bench.source.path(path)).unwrap();
            file.write_all_at(b"middle", 5 << 20).unwrap();
        };
        grow("sparse");
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        grow("dir/another");
        bench.finish(mirror);
        let takes = |tree: &Tree, path: &str| {
            std::fs::metadata(tree.path(path)).unwrap().blocks() * 512
        };
        for path in ["sparse", "dir/another"] {
            let (source, replica) = (takes(&bench.source, path), takes(&bench.replica, path));
            assert!(replica <= source + (256 << 10), "{path}: {source} and {replica} bytes");
        }
    }

    fn dot_files_and_backups(bench: Bench) {
        bench.source.write(".htaccess", "before");
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        for name in [".htaccess", ".env", "dir/.user.ini", ".hidden/file", "kept~", "4913"] {
            bench.source.write(name, "content");
        }
        bench.wait_identical(&mirror);
        bench.source.remove(".env");
        bench.source.remove("kept~");
        bench.finish(mirror);
    }

    fn empty_directories(bench: Bench) {
        bench.source.directory("a/b/c");
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        bench.source.directory("new/deep");
        bench.wait_identical(&mirror);
        bench.source.remove("a/b/c");
        bench.source.remove("new");
        bench.finish(mirror);
    }

    fn extended_attributes(bench: Bench) {
        let bench = bench.with_xattrs();
        let tree = &bench.source;
        tree.add("f file 100\nf dir/inner 10\nf plain 10\nd void");
        // Longer than what a list of files holds: the far end has to ask for it.
        let long = "long ".repeat(100);
        if !set(tree, "file", "user.first", "value") {
            return skip("the file system keeps no extended attributes");
        }
        set(tree, "dir", "user.of.a.directory", "value");
        set(tree, "dir/inner", "user.long", &long);
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        // Nothing but the attribute changes.
        set(tree, "file", "user.first", "another");
        set(tree, "void", "user.new", "");
        set(tree, "plain", "user.long", &long);
        bench.wait_identical(&mirror);
        set(tree, "dir/inner", "user.long", long.to_uppercase());
        remove(tree, "dir", "user.of.a.directory");
        remove(tree, "file", "user.first");
        bench.wait_identical(&mirror);
        tree.write("file", "the content too");
        set(tree, "file", "user.second", "value");
        bench.finish(mirror);
    }

    fn access_control_lists(bench: Bench) {
        let bench = bench.with_xattrs();
        let tree = &bench.source;
        tree.add("f file 100\nf dir/inner 10\nd void");
        if !set(tree, "file", ACCESS, list(&LIST)) {
            return skip("the file system keeps no access control lists");
        }
        let mirror = bench.live();
        bench.assert_identical(&mirror);
        set(tree, "dir/inner", ACCESS, list(&LIST));
        bench.wait_identical(&mirror);
        // What a directory passes on shows in no stat.
        set(tree, "dir", DEFAULT, list(&LIST));
        bench.wait_identical(&mirror);
        tree.write("dir/heir", "has it from its directory");
        tree.directory("dir/below");
        bench.wait_identical(&mirror);
        remove(tree, "file", ACCESS);
        remove(tree, "dir", DEFAULT);
        bench.finish(mirror);
    }

    fn attributes_that_changed_meanwhile(bench: Bench) {
        let bench = bench.with_xattrs();
        let tree = &bench.source;
        tree.add("f file 100\nf dir/inner 10");
        if !set(tree, "file", "user.gone", "value") || !set(tree, "dir", DEFAULT, list(&LIST)) {
            return skip("the file system keeps no extended attributes");
        }
        let mirror = bench.live().stop();
        bench.assert_identical(&mirror);
        remove(tree, "file", "user.gone");
        remove(tree, "dir", DEFAULT);
        set(tree, "dir/inner", "user.new", "value");
        let mirror = bench.live();
        bench.finish(mirror);
    }
}

/// A module whose administrator forbids them gets everything else, and the status says what it does not get.
#[test]
fn a_module_that_refuses_attributes() {
    let bench =
        Bench::with_daemon_as(|daemon| daemon.munge_symlinks(false).refuse_options("acls xattrs"));
    bench.source.write("file", "content");
    set(&bench.source, "file", "user.first", "value");
    let mut mirror = bench.live();
    mirror.wait_for("access control lists are not kept here");
    mirror.wait_for("extended attributes are not kept here");
    bench.assert_identical(&mirror);
    let (_, status) = bench.command(&["status"]);
    assert!(status.contains("in-step"), "{status}");
    assert!(
        status.contains("extended attributes are not kept here: "),
        "{status}"
    );
    bench.source.write("file", "another content");
    bench.wait_identical(&mirror);
    assert_eq!(
        mirror.said().matches("are not kept here").count(),
        2,
        "{}",
        mirror.said()
    );
    bench.finish(mirror);
}

/// The same for a file system that knows no attributes: the far end reports each file, and nothing would change by
/// trying again.
#[test]
fn a_file_system_without_attributes() {
    let bench = Bench::with_daemon();
    let Some(_mounted) = Ramfs::over(&bench.replica) else {
        return skip("mounting a file system needs root");
    };
    bench.source.write("file", "content");
    bench.source.write("other", "content");
    if !set(&bench.source, "file", "user.first", "value") {
        return skip("the file system keeps no extended attributes");
    }
    let mut mirror = bench.live();
    mirror.wait_for("extended attributes are not kept here");
    bench.assert_identical(&mirror);
    bench.source.write("file", "another content");
    bench.wait_identical(&mirror);
    testkit::eventually(SOON, || match bench.command(&["status"]).1 {
        said if said.contains("in-step") && !said.contains("fails") => Ok(()),
        said => Err(said),
    });
    bench.finish(mirror);
}

/// A file system without attributes, as long as it lives.
struct Ramfs(std::path::PathBuf);

impl Ramfs {
    fn over(tree: &Tree) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "ramfs", "none"])
            .arg(tree.root())
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(tree.root().to_owned()))
    }
}

impl Drop for Ramfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
