//! Every protocol a daemon may speak: the older ones lack deletion by name, nanoseconds, or both.

use testkit::{Aspects, Editor, Times, Tree, compare, eventually};

use crate::bench::{Bench, Mirror, SOON};

fn mirrors_every_kind_of_change(protocol: &str, times: Times) {
    let bench = Bench::with_daemon();
    let (source, replica) = (&bench.source, &bench.replica);
    let same = |mirror: &Mirror| {
        let aspects = Aspects::exact().times(times);
        let is_same = || compare(source.root(), replica.root(), &aspects);
        eventually(SOON, || {
            is_same().map_err(|differences| format!("{differences}\n{}", mirror.said()))
        });
    };
    source.add("d dir\nf dir/file 5000\nf dir/deep/file 10\nl link -> dir/file\nh hard dir/file\np pipe mode=0640");
    source.many("many", 3, 30, 700);
    replica.add("f stale 5\nf dir/stale/file 5");
    let mirror = bench.live_with(&["--protocol", protocol]);
    same(&mirror);

    source.write("same size", "first");
    same(&mirror);
    source.write("same size", "other");
    source.chmod("dir/file", 0o600);
    source.remove("many/d00001");
    source.rename("dir/deep", "moved");
    for name in ["*", "[x]", "-e", "a\nb"] {
        source.write(name, name);
    }
    same(&mirror);
    source.remove("*");
    source.remove("-e");
    source.remove("a\nb");
    same(&mirror);
    assert!(replica.exists("[x]"));

    let mut editor = Editor::new(Tree::at(source.root()), 7);
    for _ in 0..3 {
        editor.steps(15);
        same(&mirror);
    }
    let said = mirror.stop().said();
    assert!(!said.contains("behind"), "{said}");
}

#[test]
fn protocol_30_of_rsync_3_0() {
    mirrors_every_kind_of_change("30", Times::Seconds);
}

#[test]
fn protocol_31_of_rsync_3_1_to_3_3() {
    mirrors_every_kind_of_change("31", Times::Nanoseconds);
}

#[test]
fn protocol_32_of_rsync_3_4_and_later() {
    mirrors_every_kind_of_change("32", Times::Nanoseconds);
}
