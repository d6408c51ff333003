//! Removing whole trees.

use std::os::unix::fs::symlink;
use std::path::Path;

use driftless_tree::Kind;
use proptest::prelude::*;

use crate::Fixture;

#[test]
fn a_tree_is_removed_bottom_up_and_links_are_not_followed() {
    let outside = Fixture::new().with(&["file"]);
    let fixture = Fixture::new().with(&["top/b/x", "top/b/y", "top/a", "other"]);
    symlink(outside.dir.path(), fixture.path("top/c")).unwrap();
    let mut gone = Vec::new();
    let removal = fixture
        .root
        .remove_tree(Path::new("top"), &mut |_, _| false, &mut |path, kind| {
            gone.push((path.to_str().unwrap().to_owned(), kind));
        })
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
fn a_directory_that_vanishes_far_down_is_removed() {
    let deep = vec!["d"; 120].join("/");
    let fixture = Fixture::new().with(&[&format!("{deep}/"), "a"]);
    let removal = fixture
        .root
        .remove_tree(Path::new(""), &mut |_, _| false, &mut |path, _| {
            if path == Path::new(&deep) {
                // More levels go than stay open.
                std::fs::remove_dir_all(fixture.path(&vec!["d"; 50].join("/"))).unwrap();
            }
        });
    let removal = removal.unwrap();
    assert!(removal.errors.is_empty(), "{:?}", removal.errors);
    assert!(fixture.all().is_empty());
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
        .remove_tree(Path::new("t"), none, &mut |_, _| {});
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
            &mut |path, is_dir| is_dir && path.ends_with("keep"),
            &mut |_, _| {},
        )
        .unwrap();
    assert!(removal.left && removal.errors.is_empty());
    assert_eq!(fixture.all(), ["t", "t/a", "t/a/keep", "t/a/keep/x"]);

    let none = &mut |_: &Path, _| false;
    let emptied = fixture
        .root
        .remove_tree(Path::new(""), none, &mut |_, _| {});
    assert!(emptied.unwrap().errors.is_empty());
    assert!(fixture.all().is_empty());
    let gone = fixture
        .root
        .remove_tree(Path::new("t/a"), none, &mut |_, _| {});
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
    fn removals_leave_what_is_kept(files in paths(), kept in "[abc]") {
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

        let removal = fixture.root.remove_tree(
            Path::new("top"),
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
