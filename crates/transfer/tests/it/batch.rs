//! Batches of a mirror, applied to a directory and by a stock daemon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use driftless_transfer::{
    Applied, Batch, Cancel, Connection, Credentials, Item, LocalReplica, PushOptions, Rights, Terms,
};
use testkit::{RsyncDaemon, Tree};
use tree::Root;
use wire::Protocol;

/// A source and a replica below a temporary directory.
struct Bench {
    source: Tree,
    replica: Tree,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(source: &str, replica: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            source: Tree::build(directory.path().join("source"), source),
            replica: Tree::build(directory.path().join("replica"), replica),
            _directory: directory,
        }
    }

    /// The versions of all of `paths` and of the directories above them, and the root listed whole.
    fn batch(&self, paths: &[&str]) -> Batch {
        let source = Root::open(self.source.root()).unwrap();
        let with_parents = paths.iter().flat_map(|path| Path::new(path).ancestors());
        let all: BTreeSet<&Path> = with_parents.collect();
        let item = |path: &Path| Item {
            path: path.to_owned(),
            meta: source.lstat(path).unwrap().unwrap(),
            target: None,
        };
        Batch {
            items: all.into_iter().map(item).collect(),
            whole: HashSet::from(["".into()]),
            ..Batch::default()
        }
    }

    fn apply_here(&self, batch: &Batch) -> Applied {
        let roots = [&self.source, &self.replica].map(|tree| Root::open(tree.root()).unwrap());
        let place = LocalReplica {
            source: &roots[0],
            replica: &roots[1],
            protects: &|_, _| false,
            trash: None,
            rights: &Rights::of_this_process(),
            cancel: &Cancel::default(),
        };
        place.apply(batch, &mut |_| {}).unwrap()
    }

    fn apply_by_daemon(&self, batch: &Batch) -> Applied {
        let daemon = RsyncDaemon::module("replica", self.replica.root()).start();
        let terms = Terms {
            patience: None,
            newest: Protocol::LATEST,
            cancel: Cancel::default(),
        };
        let address = daemon.url("").parse().unwrap();
        let connection = Connection::open(&address, &Credentials::default(), &terms).unwrap();
        let options = PushOptions {
            deletes: true,
            ..PushOptions::default()
        };
        let source = Root::open(self.source.root()).unwrap();
        let pushed = connection.push(&source, batch, &options, &mut |_| {});
        pushed.result.unwrap()
    }
}

/// In both ways.
const APPLY: [fn(&Bench, &Batch) -> Applied; 2] = [Bench::apply_here, Bench::apply_by_daemon];

#[test]
fn names_that_begin_like_a_directory_stay() {
    for apply in APPLY {
        let spec = "f name/file\nf name-1\nf name.txt\nf name\\stwo\nf name0";
        let bench = Bench::new(spec, &format!("{spec}\nf stranger"));
        let names = ["name/file", "name-1", "name.txt", "name two", "name0"];
        let batch = bench.batch(&names);
        for name in names {
            assert!(batch.item(Path::new(name)).is_some(), "{name}");
        }
        let applied = apply(&bench, &batch);
        assert_eq!(applied.extra, [Path::new("stranger")]);
        assert!(names.iter().all(|name| bench.replica.exists(name)));
    }
}

#[test]
fn a_name_is_not_linked_to_one_that_has_gone_meanwhile() {
    for before in ["", "f a 7"] {
        for apply in APPLY {
            let bench = Bench::new("f a 1000\nh b a\nh c a", before);
            let batch = bench.batch(&["a", "b", "c"]);
            bench.source.remove("a");
            let applied = apply(&bench, &batch);
            assert!(applied.is_clean(), "{:?}", applied.errors);
            assert!(applied.changed.contains(Path::new("a")));
            for name in ["b", "c"] {
                let is_held = || bench.replica.read(name) == bench.source.read(name);
                let is_in_doubt = applied.changed.contains(Path::new(name));
                assert!(is_in_doubt || is_held(), "{name}, {before:?} before");
            }
        }
    }
}

#[test]
fn a_file_that_has_become_a_directory_is_no_failure() {
    for apply in APPLY {
        let bench = Bench::new("f a 1000\nf b 1000", "");
        let batch = bench.batch(&["a", "b"]);
        bench.source.remove("a");
        bench.source.directory("a");
        let applied = apply(&bench, &batch);
        assert!(applied.is_clean(), "{:?}", applied.errors);
        assert!(applied.changed.contains(Path::new("a")));
        assert_eq!(bench.replica.read("b"), bench.source.read("b"));
    }
}

#[test]
fn links_that_were_one_and_are_two_have_times_of_their_own() {
    let bench = Bench::new("p a mtime=1000\np b mtime=2000", "p a\nh b a");
    bench.apply_here(&bench.batch(&["a", "b"]));
    for name in ["a", "b"] {
        assert_eq!(
            bench.replica.mtime(name),
            bench.source.mtime(name),
            "{name}"
        );
    }
}
