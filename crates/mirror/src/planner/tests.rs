//! What a look comes to, for trees and ledgers made by hand.

#![allow(clippy::disallowed_methods, reason = "the tests make their own trees")]

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::draft::{BATCH_BYTES, Draft, DraftItem};
use super::parents::Parents;
use super::*;
use crate::dirty::Look;
use crate::exclusions::Exclusions;
use crate::ledger::{Confirmed, Held, State};
use crate::settings::FilterRule;

/// A source and the ledger of a replica that holds all of it.
struct Bench {
    directory: TempDir,
    source: Source,
    ledger: Ledger,
}

impl Bench {
    /// A tree of files; a path that ends in a slash is a directory.
    fn new(paths: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match path.as_os_str().as_bytes().last() {
                Some(b'/') => fs::create_dir_all(path).unwrap(),
                _ => fs::write(path, "content").unwrap(),
            }
        }
        let source = Source::open(directory.path(), Exclusions::default(), &[]).unwrap();
        let ledger = State::in_memory().ledger("replica").unwrap();
        let mut bench = Self {
            directory,
            source,
            ledger,
        };
        bench.confirm_all();
        bench
    }

    /// Writes down that the replica holds everything as it is now.
    fn confirm_all(&mut self) {
        let plan = self.plan_with(Abilities::ALL, &[("", Look::BELOW)]);
        let items = plan.quick.noted().chain(plan.exact.noted());
        let held = items.map(|(item, note)| {
            (
                item.path.clone(),
                Held {
                    version: item.meta,
                    doubtful: false,
                    whole: note.whole,
                },
            )
        });
        let confirmed = Confirmed {
            held: held.collect(),
            gone: plan.quick.batch.gone.clone(),
            landed: Vec::new(),
        };
        self.ledger.confirm(&confirmed).unwrap();
    }

    fn plan(&self, looks: &[(&str, Look)]) -> Plan {
        self.plan_with(Abilities::ALL, looks)
    }

    fn plan_with(&self, abilities: Abilities, looks: &[(&str, Look)]) -> Plan {
        let taken = |(path, look): &(&str, Look)| Taken {
            path: path.into(),
            look: *look,
            since: Instant::now(),
        };
        plan(
            &self.source,
            &self.ledger,
            abilities,
            &[],
            looks.iter().map(taken).collect(),
        )
        .unwrap()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }
}

fn updates(errand: &Errand) -> Vec<&str> {
    errand
        .updates()
        .map(|path| path.to_str().unwrap())
        .collect()
}

fn paths(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn what_the_replica_holds_needs_nothing() {
    let bench = Bench::new(&["d/f", "d/e/", "g"]);
    let plan = bench.plan(&[("", Look::BELOW), ("d/f", Look::AT)]);
    assert!(plan.quick.batch.is_empty() && plan.exact.batch.is_empty());
}

#[test]
fn a_new_file_comes_with_the_directories_above_it() {
    let bench = Bench::new(&["d/e/f"]);
    fs::write(bench.at("d/e/new"), "new").unwrap();
    let plan = bench.plan(&[("d/e/new", Look::AT)]);
    assert_eq!(updates(&plan.quick), ["d/e/new"]);
    let listed: Vec<_> = plan
        .quick
        .batch
        .items
        .iter()
        .map(|item| item.path.to_str().unwrap())
        .collect();
    assert_eq!(listed, ["", "d", "d/e", "d/e/new"]);
    assert!(plan.quick.batch.whole.is_empty());
}

#[test]
fn what_is_in_a_new_directory_is_known_where_the_replica_is() {
    let mut bench = Bench::new(&["a/file"]);
    fs::create_dir_all(bench.at("a/new/below")).unwrap();
    let looks = [("a/new", Look::BELOW)];
    let plan = bench.plan(&looks);
    assert_eq!(plan.quick.batch.whole.len(), 2);
    assert!(plan.deletions.is_none());
    bench.ledger.doubt_directories([Path::new("a")]).unwrap();
    assert!(bench.plan(&looks).deletions.unknown);
}

#[test]
fn only_the_topmost_missing_name_is_removed() {
    let bench = Bench::new(&["d/e/f", "d/e/g", "d/h"]);
    fs::remove_dir_all(bench.at("d/e")).unwrap();
    let plan = bench.plan(&[("d/e/f", Look::AT), ("d/e/g", Look::AT), ("d/e", Look::AT)]);
    assert_eq!(paths(&plan.quick.batch.gone), ["d/e"]);
}

#[test]
fn without_removal_by_name_the_directory_is_listed_whole() {
    let bench = Bench::new(&["d/f", "d/g", "h"]);
    fs::remove_file(bench.at("d/f")).unwrap();
    let abilities = Abilities {
        removes_by_name: false,
        ..Abilities::ALL
    };
    let plan = bench.plan_with(abilities, &[("d/f", Look::AT)]);
    assert!(plan.quick.batch.gone.is_empty());
    assert_eq!(plan.quick.batch.whole, HashSet::from([PathBuf::from("d")]));
    assert!(plan.quick.batch.item(Path::new("d/g")).is_some());
    assert_eq!(paths(&plan.forgotten), ["d/f"]);
}

#[test]
fn a_name_whose_directory_became_a_file_is_never_removed_by_its_stale_row() {
    let bench = Bench::new(&["d/f"]);
    fs::remove_dir_all(bench.at("d")).unwrap();
    fs::write(bench.at("d"), "a file now").unwrap();
    let plan = bench.plan(&[("d/f", Look::AT)]);
    assert!(plan.quick.batch.gone.is_empty());
    // The replica has the directory until the file comes: so they go together.
    assert_eq!(updates(&plan.quick), ["d"]);
    assert_eq!(paths(&plan.forgotten), ["d/f"]);
}

#[test]
fn what_the_quick_check_would_miss_is_compared_by_content() {
    let bench = Bench::new(&["f", "g"]);
    let mtime = fs::metadata(bench.at("f")).unwrap().modified().unwrap();
    for name in ["f", "g"] {
        fs::write(bench.at(name), "CONTENT").unwrap();
    }
    fs::File::options()
        .write(true)
        .open(bench.at("f"))
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    let later = mtime + Duration::from_secs(5);
    fs::File::options()
        .write(true)
        .open(bench.at("g"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    let plan = bench.plan(&[("f", Look::AT), ("g", Look::AT)]);
    assert_eq!(
        (updates(&plan.quick), updates(&plan.exact)),
        (vec!["g"], vec!["f"])
    );
    assert!(plan.exact.batch.exact && !plan.quick.batch.exact);
}

#[test]
fn nor_is_it_missed_in_a_directory_that_is_listed_whole() {
    let mut bench = Bench::new(&["d/f", "d/g"]);
    let mtime = fs::metadata(bench.at("d/f")).unwrap().modified().unwrap();
    fs::write(bench.at("d/f"), "CONTENT").unwrap();
    let open = fs::File::options().write(true).open(bench.at("d/f"));
    open.unwrap().set_modified(mtime).unwrap();
    bench.ledger.doubt_directories([Path::new("d")]).unwrap();
    let plan = bench.plan(&[("", Look::BELOW)]);
    assert_eq!(updates(&plan.exact), ["d/f"]);
}

#[test]
fn a_row_in_doubt_says_nothing_of_what_the_replica_holds() {
    let mut bench = Bench::new(&["f"]);
    let mut held = bench.ledger.held(Path::new("f")).unwrap().unwrap();
    held.version.mtime.sec -= 5;
    held.doubtful = true;
    let confirmed = Confirmed {
        held: vec![("f".into(), held)],
        ..Confirmed::default()
    };
    bench.ledger.confirm(&confirmed).unwrap();
    assert_eq!(updates(&bench.plan(&[("f", Look::AT)]).exact), ["f"]);
    bench.ledger.doubt_directories([Path::new("")]).unwrap();
    assert_eq!(updates(&bench.plan(&[("", Look::AT)]).exact), ["f"]);
}

#[test]
fn a_replica_that_compares_seconds_misses_more() {
    let bench = Bench::new(&["f"]);
    let mtime = fs::metadata(bench.at("f")).unwrap().modified().unwrap();
    let second = mtime
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let other = SystemTime::UNIX_EPOCH + Duration::new(second, 1);
    fs::File::options()
        .write(true)
        .open(bench.at("f"))
        .unwrap()
        .set_modified(other)
        .unwrap();
    let seconds = Abilities {
        compares_nanoseconds: false,
        ..Abilities::ALL
    };
    assert_eq!(
        updates(&bench.plan_with(seconds, &[("f", Look::AT)]).exact),
        ["f"]
    );
    assert_eq!(updates(&bench.plan(&[("f", Look::AT)]).quick), ["f"]);
}

#[test]
fn a_renamed_directory_moves_no_data() {
    let bench = Bench::new(&["d/f", "d/e/g", "h"]);
    fs::rename(bench.at("d"), bench.at("moved")).unwrap();
    let plan = bench.plan(&[("d", Look::AT), ("moved", Look::BELOW)]);
    let mut renamed: Vec<_> = plan
        .quick
        .batch
        .renamed
        .iter()
        .map(|renamed| (&renamed.old.path, &renamed.new))
        .collect();
    renamed.sort();
    let path = PathBuf::from;
    assert_eq!(
        renamed,
        [
            (&path("d/e/g"), &path("moved/e/g")),
            (&path("d/f"), &path("moved/f"))
        ]
    );
    assert_eq!(paths(&plan.quick.batch.gone), ["d"]);
    let former: Vec<_> = plan
        .quick
        .batch
        .former_dirs
        .iter()
        .map(|dir| dir.path.clone())
        .collect();
    assert_eq!(paths(&former), ["d", "d/e"]);
}

#[test]
fn a_renamed_directory_is_removed_when_all_of_it_has_come() {
    let mut bench = Bench::new(&["d/last/f"]);
    // As much as one batch takes; all of it is a hole.
    let full = fs::File::create(bench.at("d/full")).unwrap();
    full.set_len(BATCH_BYTES).unwrap();
    bench.confirm_all();
    fs::rename(bench.at("d"), bench.at("moved")).unwrap();
    let first = bench.plan(&[("d", Look::AT), ("moved", Look::BELOW)]);
    assert_eq!(paths(&first.quick.batch.gone), [""; 0]);
    assert!(first.deletions.is_none());
    let mut left: Vec<_> = first.postponed.iter().collect();
    left.sort_by_key(|taken| &taken.path);
    let looks: Vec<_> = left
        .iter()
        .map(|taken| (taken.path.to_str().unwrap(), taken.look))
        .collect();
    assert_eq!(looks, [("d", Look::AT), ("moved/last", Look::BELOW)]);
    let second = bench.plan(&looks);
    assert_eq!(paths(&second.quick.batch.gone), ["d"]);
    assert_eq!(second.quick.batch.renamed.len(), 1);
    assert!(second.postponed.is_empty());
}

#[test]
fn what_goes_while_a_plan_is_made_is_removed_and_looked_at_again() {
    let mut bench = Bench::new(&["d/f", "d/e/g", "h"]);
    let dir = [Path::new("d")];
    bench.ledger.doubt_directories(dir).unwrap();
    let source = Arc::new(bench.source.as_opened());
    let mut draft = Draft::new(&source, &bench.ledger, Abilities::ALL);
    let mut look_at = |path: &str| {
        let taken = Taken {
            path: path.into(),
            look: Look::AT,
            since: Instant::now(),
        };
        draft.examine(&taken, &mut Vec::new()).unwrap();
    };
    fs::write(bench.at("h"), "new content").unwrap();
    for path in ["d", "h"] {
        look_at(path);
    }
    fs::remove_file(bench.at("d/f")).unwrap();
    fs::remove_dir_all(bench.at("d/e")).unwrap();
    fs::remove_file(bench.at("h")).unwrap();
    for path in ["d/e", "d/f", "h"] {
        look_at(path);
    }
    let plan = draft.finish(Vec::new()).unwrap();
    let listed = plan.quick.batch.items.iter().map(|item| item.path.clone());
    assert_eq!(paths(&listed.collect::<Vec<_>>()), ["", "d"]);
    assert_eq!(plan.quick.batch.whole, HashSet::from(["d".into()]));
    assert_eq!(paths(&plan.quick.batch.gone), ["h"]);
    assert_eq!(paths(&plan.forgotten), ["d/e", "d/f"]);
    let again: BTreeSet<&Path> = plan
        .parted
        .iter()
        .map(|taken| taken.path.as_path())
        .collect();
    assert_eq!(again, ["d/e", "d/f", "h"].map(Path::new).into());
}

#[test]
fn a_directory_that_goes_while_a_plan_is_made_is_not_taken_for_listed() {
    let mut bench = Bench::new(&["d/f", "d/g"]);
    bench.ledger.doubt_directories([Path::new("d")]).unwrap();
    let source = Arc::new(bench.source.as_opened());
    let mut draft = Draft::new(&source, &bench.ledger, Abilities::ALL);
    for (path, look) in [("d", Look::AT), ("d/f", Look::EXACT)] {
        let taken = Taken {
            path: path.into(),
            look,
            since: Instant::now(),
        };
        draft.examine(&taken, &mut Vec::new()).unwrap();
    }
    fs::remove_dir_all(bench.at("d")).unwrap();
    let plan = draft.finish(Vec::new()).unwrap();
    // Nobody brings it over, so nobody confirms it; but the replica keeps it for being listed.
    assert!(plan.exact.batch.item(Path::new("d/f")).is_none());
    assert!(plan.quick.batch.item(Path::new("d/f")).is_some());
    assert!(plan.quick.batch.whole.is_empty());
    let mut noted = plan.quick.noted();
    let (_, dir) = noted.find(|(item, _)| item.path == Path::new("d")).unwrap();
    assert!(!dir.whole);
    let again: Vec<_> = plan.parted.iter().map(|taken| &taken.path).collect();
    assert_eq!(again, [Path::new("d")]);
}

#[test]
fn an_item_of_another_session_is_shown_where_its_directory_is_listed_whole() {
    let mut bench = Bench::new(&["d/f", "d/g"]);
    bench.ledger.doubt_directories([Path::new("d")]).unwrap();
    let plan = bench.plan(&[("d", Look::AT), ("d/f", Look::EXACT)]);
    assert_eq!(updates(&plan.exact), ["d/f"]);
    assert!(plan.quick.batch.whole.contains(Path::new("d")));
    assert!(
        plan.quick.batch.item(Path::new("d/f")).is_some(),
        "or it would be removed"
    );
    let is_elsewhere = |path: &str| {
        let mut noted = plan.quick.noted();
        let found = noted.find(|(item, _)| item.path == Path::new(path));
        found.is_some_and(|(_, note)| note.is_elsewhere)
    };
    assert!(is_elsewhere("d/f"));
    assert!(!is_elsewhere("d/g"));
}

#[test]
fn a_directory_has_the_time_of_what_was_seen_in_it() {
    let bench = Bench::new(&["d/f"]);
    let mut meta = bench.source.lstat(Path::new("d")).unwrap().unwrap();
    let now = meta.mtime;
    // Its stat was taken before a file came into it, which was then seen there.
    meta.mtime.sec -= 1;
    let item = Item {
        path: "d".into(),
        meta,
        target: None,
    };
    let note = Note {
        doubtful: false,
        whole: true,
        is_update: true,
        is_elsewhere: false,
    };
    let drafted = DraftItem {
        item,
        note,
        exact: false,
    };
    let mut parents = Parents::new(&bench.source, &bench.ledger);
    let errand = parents.complete(vec![drafted], BTreeSet::new()).unwrap();
    let listed = errand.batch.item(Path::new("d")).unwrap();
    assert_eq!(listed.meta.mtime, now);
}

#[test]
fn all_names_of_a_file_go_together() {
    let mut bench = Bench::new(&["a", "d/other"]);
    fs::hard_link(bench.at("a"), bench.at("d/b")).unwrap();
    bench.confirm_all();
    fs::set_permissions(bench.at("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let plan = bench.plan(&[("a", Look::AT)]);
    assert_eq!(updates(&plan.exact), ["a", "d/b"]);
}

#[test]
fn what_is_left_out_is_neither_sent_nor_removed() {
    let directory = tempfile::tempdir().unwrap();
    let rules = Exclusions::of(&[FilterRule::Exclude(b"*.bak".to_vec())]).unwrap();
    fs::write(directory.path().join("x.bak"), "kept to ourselves").unwrap();
    let source = Source::open(directory.path(), rules, &[]).unwrap();
    let ledger = State::in_memory().ledger("replica").unwrap();
    let look = Taken {
        path: PathBuf::new(),
        look: Look::BELOW,
        since: Instant::now(),
    };
    let plan = plan(&source, &ledger, Abilities::ALL, &[], vec![look]).unwrap();
    assert_eq!(updates(&plan.quick), [""]);
}

#[test]
fn names_that_only_a_broken_session_has_linked_part_too() {
    let mut bench = Bench::new(&["one", "other"]);
    fs::remove_file(bench.at("other")).unwrap();
    fs::hard_link(bench.at("one"), bench.at("other")).unwrap();
    fs::hard_link(bench.at("one"), bench.at("third")).unwrap();
    let all = ["one", "other", "third"].map(|path| (path, Look::AT));
    let plan = bench.plan(&all);
    // The content of the second name may have been the same before.
    let held = plan.exact.expected_links(&bench.ledger).unwrap();
    let told: BTreeSet<&str> = held
        .iter()
        .map(|(path, _)| path.to_str().unwrap())
        .collect();
    // The row of the first says so already.
    assert_eq!(told, BTreeSet::from(["other", "third"]));
    let expected = Confirmed {
        held,
        ..Confirmed::default()
    };
    bench.ledger.confirm(&expected).unwrap();
    // The session breaks here, whatever it has done.
    fs::write(bench.at("new"), "content").unwrap();
    fs::rename(bench.at("new"), bench.at("third")).unwrap();
    let plan = bench.plan(&[("third", Look::EXACT)]);
    assert_eq!(paths(&plan.quick.batch.gone), ["third"]);
    assert_eq!(plan.parted.len(), 1);
}

#[test]
fn a_name_that_leaves_its_file_goes_first_where_the_new_version_looks_like_that() {
    let mut bench = Bench::new(&["d/a", "d/c"]);
    let path = |name: &str| bench.directory.path().join(name);
    fs::hard_link(path("d/a"), path("d/b")).unwrap();
    std::os::unix::fs::symlink("target", path("d/l")).unwrap();
    fs::hard_link(path("d/l"), path("d/m")).unwrap();
    bench.confirm_all();
    let path = |name: &str| bench.directory.path().join(name);
    let modified = fs::metadata(path("d/a")).unwrap().modified().unwrap();
    for (name, time) in [("d/a", modified), ("d/c", SystemTime::UNIX_EPOCH)] {
        fs::write(path("new"), "CONTENT").unwrap();
        let new = fs::File::options().write(true).open(path("new")).unwrap();
        new.set_modified(time).unwrap();
        fs::rename(path("new"), path(name)).unwrap();
    }
    fs::remove_file(path("d/m")).unwrap();
    std::os::unix::fs::symlink("target", path("d/m")).unwrap();
    let looks = [
        ("d/a", Look::AT),
        ("d/c", Look::AT),
        ("d/l", Look::AT),
        ("d/m", Look::AT),
    ];
    let parted = |plan: &Plan| -> BTreeSet<String> {
        let paths = plan.parted.iter().map(|taken| taken.path.display());
        paths.map(|path| path.to_string()).collect()
    };
    let plan = bench.plan(&looks);
    assert_eq!(paths(&plan.quick.batch.gone), ["d/a", "d/m"]);
    assert_eq!(parted(&plan), ["d/a", "d/m"].map(str::to_owned).into());
    assert!(plan.quick.batch.item(Path::new("d/c")).is_some());
    assert!(plan.quick.batch.item(Path::new("d/m")).is_none());
    // A directory listed whole does not show them.
    bench.ledger.doubt_directories([Path::new("d")]).unwrap();
    let plan = bench.plan(&[("d", Look::AT)]);
    assert_eq!(parted(&plan), ["d/a", "d/m"].map(str::to_owned).into());
    assert!(plan.quick.batch.whole.contains(Path::new("d")));
    for name in ["d/a", "d/m"] {
        assert!(plan.quick.batch.item(Path::new(name)).is_none(), "{name}");
        assert!(plan.forgotten.contains(&PathBuf::from(name)), "{name}");
    }
}
