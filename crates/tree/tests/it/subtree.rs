//! Walking and removing whole trees.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use driftless_tree::{Kind, Mounts, Root};
use proptest::prelude::*;

use crate::Fixture;

fn walk(root: &Root, rel: &str) -> Vec<String> {
    root.walk(Path::new(rel), Mounts::Cross, |_, _| true)
        .unwrap()
        .map(|entry| entry.unwrap().path.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_walk_is_in_order_and_starts_with_itself() {
    let fixture = Fixture::new().with(&["a.b", "a/x", "a/b/c", "A", "a-"]);
    symlink("a", fixture.path("link")).unwrap();
    assert_eq!(
        walk(&fixture.root, ""),
        ["", "A", "a", "a/b", "a/b/c", "a/x", "a-", "a.b", "link"]
    );
    assert_eq!(walk(&fixture.root, "a/b"), ["a/b", "a/b/c"]);
    assert_eq!(walk(&fixture.root, "a/x"), ["a/x"]);
    assert_eq!(walk(&fixture.root, "link"), ["link"]);
}

#[test]
fn a_walk_can_be_pruned_before_and_after_the_stat() {
    let fixture = Fixture::new().with(&["no/x", "stop/x", "yes/x", "yes/no"]);
    let not_no = |path: &Path, _: bool| !path.ends_with("no");
    let mut walk = fixture
        .root
        .walk(Path::new(""), Mounts::Cross, not_no)
        .unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = walk.next() {
        let entry = entry.unwrap();
        if entry.path == Path::new("stop") {
            walk.skip_content();
        }
        seen.push(entry.path);
    }
    assert_eq!(seen, ["", "stop", "yes", "yes/x"].map(PathBuf::from));
}

#[test]
fn what_vanishes_under_a_walk_is_an_error_and_not_the_end() {
    let fixture = Fixture::new().with(&["a/x", "b", "c/x", "d"]);
    let missing = fixture
        .root
        .walk(Path::new("none"), Mounts::Cross, |_, _| true)
        .unwrap();
    let missing: Vec<_> = missing.collect();
    assert!(matches!(&missing[..], [Err(error)] if error.vanished()));

    let walk = fixture
        .root
        .walk(Path::new(""), Mounts::Cross, |_, _| true)
        .unwrap();
    let mut seen = Vec::new();
    for entry in walk {
        match entry {
            Ok(entry) => {
                // The listing of the top is taken by now.
                if entry.path == Path::new("a") {
                    std::fs::remove_dir_all(fixture.path("a")).unwrap();
                    std::fs::remove_file(fixture.path("b")).unwrap();
                    std::fs::remove_dir_all(fixture.path("c")).unwrap();
                }
                seen.push(entry.path.display().to_string());
            }
            Err(error) => {
                assert!(error.vanished(), "{error}");
                seen.push(format!("{} {}", error.verb(), error.path().display()));
            }
        }
    }
    assert_eq!(seen, ["", "a", "opendir a", "stat b", "stat c", "d"]);
}

#[test]
fn a_walk_stays_on_its_file_system_when_asked() {
    let slash = Root::open(Path::new("/")).unwrap();
    let dev = |path: &str| {
        slash
            .lstat(Path::new(path))
            .ok()
            .flatten()
            .map(|meta| meta.dev)
    };
    if dev("proc").is_none() || dev("proc") == dev("") {
        testkit::skip("/proc is not mounted");
        return;
    }
    let only_proc = |path: &Path, _: bool| path.starts_with("proc");
    let walk = slash.walk(Path::new(""), Mounts::Stay, only_proc).unwrap();
    let seen: Vec<_> = walk.map(|entry| entry.unwrap().path).collect();
    assert_eq!(seen, ["", "proc"].map(PathBuf::from));
}

#[test]
fn a_tree_is_removed_bottom_up_and_links_are_not_followed() {
    let outside = Fixture::new().with(&["file"]);
    let fixture = Fixture::new().with(&["top/b/x", "top/b/y", "top/a", "other"]);
    symlink(outside.dir.path(), fixture.path("top/c")).unwrap();
    let mut gone = Vec::new();
    let removal = fixture
        .root
        .remove_tree(
            Path::new("top"),
            Mounts::Stay,
            &mut |_, _| false,
            &mut |path, kind| {
                gone.push((path.to_str().unwrap().to_owned(), kind));
            },
        )
        .unwrap();
    assert!(!removal.left && removal.errors.is_empty());
    let gone: Vec<_> = gone
        .iter()
        .map(|(path, kind)| (path.as_str(), *kind))
        .collect();
    assert_eq!(
        gone,
        [
            ("top/c", Kind::Symlink),
            ("top/b/y", Kind::File),
            ("top/b/x", Kind::File),
            ("top/b", Kind::Dir),
            ("top/a", Kind::File),
            ("top", Kind::Dir),
        ]
    );
    assert_eq!(fixture.all(), ["other"]);
    assert_eq!(outside.all(), ["file"]);
}

#[test]
fn a_directory_that_vanishes_far_down_ends_only_its_own_part() {
    let fixture = Fixture::new();
    let deep = vec!["d"; 120].join("/");
    let fixture = fixture.with(&[&format!("{deep}/"), "e"]);
    let mut seen = 0;
    let mut last = PathBuf::new();
    for entry in fixture
        .root
        .walk(Path::new(""), Mounts::Cross, |_, _| true)
        .unwrap()
    {
        let Ok(entry) = entry else { continue };
        seen += 1;
        if entry.path == Path::new(&deep) {
            // All but the first few levels go, and so does the way back by "..".
            std::fs::remove_dir_all(fixture.path(&vec!["d"; 100].join("/"))).unwrap();
        }
        last = entry.path;
    }
    assert_eq!((seen, last.as_path()), (122, Path::new("e")));
}

#[test]
fn directories_of_ours_without_permissions_are_removed_too() {
    use std::os::unix::fs::PermissionsExt;
    if testkit::is_root() {
        testkit::skip("root needs no permissions");
        return;
    }
    let fixture = Fixture::new().with(&["t/shut/x", "t/unwritable/y/z"]);
    for (name, mode) in [("t/shut", 0o000), ("t/unwritable", 0o500), ("t", 0o500)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(fixture.path(name), mode).unwrap();
    }
    let none = &mut |_: &Path, _| false;
    let removal = fixture
        .root
        .remove_tree(Path::new("t"), Mounts::Cross, none, &mut |_, _| {});
    let removal = removal.unwrap();
    assert!(!removal.left, "{:?}", removal.errors);
    assert!(fixture.all().is_empty());
}

#[test]
fn what_is_kept_stays_with_everything_in_and_above_it() {
    let fixture = Fixture::new().with(&["t/a/keep/x", "t/a/y", "t/b/z", "t/f"]);
    let removal = fixture
        .root
        .remove_tree(
            Path::new("t"),
            Mounts::Cross,
            &mut |path, is_dir| is_dir && path.ends_with("keep"),
            &mut |_, _| {},
        )
        .unwrap();
    assert!(removal.left && removal.errors.is_empty());
    assert_eq!(fixture.all(), ["t", "t/a", "t/a/keep", "t/a/keep/x"]);

    let none = &mut |_: &Path, _| false;
    let emptied = fixture
        .root
        .remove_tree(Path::new(""), Mounts::Cross, none, &mut |_, _| {});
    assert!(emptied.unwrap().errors.is_empty());
    assert!(fixture.all().is_empty());
    let gone = fixture
        .root
        .remove_tree(Path::new("t/a"), Mounts::Cross, none, &mut |_, _| {});
    assert!(!gone.unwrap().left);
}

/// Paths of up to four names out of three.
fn paths() -> impl Strategy<Value = Vec<String>> {
    let path = prop::collection::vec("[abc]", 1..5).prop_map(|names| names.join("/"));
    prop::collection::vec(path, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn walks_see_all_and_removals_leave_what_is_kept(files in paths(), kept in "[abc]") {
        let fixture = Fixture::new();
        for file in &files {
            // A file may be in the way of another one's parent: then that one is not made.
            let full = fixture.path(&format!("top/{file}"));
            let _ = std::fs::create_dir_all(full.parent().unwrap());
            if !full.exists() {
                let _ = std::fs::write(full, "");
            }
        }
        let before = fixture.all();
        let seen: BTreeSet<String> = walk(&fixture.root, "").into_iter().skip(1).collect();
        prop_assert_eq!(seen.iter().collect::<Vec<_>>(), before.iter().collect::<Vec<_>>());

        let removal = fixture.root.remove_tree(
            Path::new("top"),
            Mounts::Cross,
            &mut |path, _| path.ends_with(&kept),
            &mut |_, _| {},
        ).unwrap();
        prop_assert!(removal.errors.is_empty());
        // What stays: each path with a kept name in it, and every directory above one.
        let is_kept = |path: &str| path.split('/').any(|name| name == kept);
        let stays = |path: &String| {
            let above = format!("{path}/");
            before.iter().any(|p| is_kept(p) && (p == path || p.starts_with(&above)))
        };
        let expected: Vec<_> = before.iter().filter(|path| stays(path)).cloned().collect();
        prop_assert_eq!(removal.left, !expected.is_empty());
        prop_assert_eq!(fixture.all(), expected);
    }
}
