//! Random trees under random changes: after each round the replica is identical.

use testkit::{Editor, Random, content, eventually};

use crate::bench::{Bench, SOON};

const ROUNDS: usize = 5;
const STEPS: usize = 40;

fn check(bench: &Bench, seed: u64) {
    let mut editor = Editor::new(bench.source.clone(), seed);
    editor.grow(30);
    let mut mirror = bench.live();
    for round in 0..ROUNDS {
        let edits = editor.steps(STEPS);
        let told =
            |difference| format!("{difference}\nseed {seed}, round {round}, after {edits:#?}");
        eventually(SOON, || bench.difference(&mirror).map_err(told));
        if round == ROUNDS / 2 {
            // What changes while no mirror runs is only known by comparing tree and ledger.
            mirror.stop();
            editor.steps(STEPS);
            mirror = bench.live();
            bench.assert_identical(&mirror);
        }
    }
    bench.finish(mirror);
}

/// Random changes while daemon, workers and mirror are killed at random: what each of them left behind is repaired.
fn check_with_crashes(bench: &mut Bench, seed: u64) {
    let mut random = Random::new(seed);
    let mut editor = Editor::new(bench.source.clone(), seed);
    editor.grow(30);
    let mut mirror = bench.live();
    for round in 0..2 * ROUNDS {
        let source = bench.source.clone();
        let mut edits = editor.clone();
        let (done, is_done) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            for number in 0..10 {
                edits.steps(STEPS / 10);
                source.write(
                    format!("large{}", number % 3),
                    content(round as u64, 300_000),
                );
            }
            done.send(()).unwrap();
            edits
        });
        let mut crashes = Vec::new();
        while is_done.try_recv().is_err() {
            let crash = *random
                .choose(if bench.has_daemon() {
                    &["mirror", "workers", "daemon"][..]
                } else {
                    &["mirror"]
                })
                .unwrap();
            match crash {
                "workers" => drop(bench.daemon().kill_workers()),
                "daemon" => bench.daemon_mut().restart(),
                _ => {
                    mirror.kill();
                    mirror = bench.start();
                }
            }
            crashes.push(crash);
        }
        editor = writer.join().unwrap();
        let told =
            |difference| format!("{difference}\nseed {seed}, round {round}, crashes {crashes:?}");
        eventually(SOON, || bench.difference(&mirror).map_err(told));
    }
    bench.finish(mirror);
}

mod directory {
    use super::*;

    #[test]
    fn seed_1() {
        check(&Bench::with_directory(), 1);
    }

    #[test]
    fn seed_2() {
        check(&Bench::with_directory(), 2);
    }

    #[test]
    fn seed_3() {
        check(&Bench::with_directory(), 3);
    }

    #[test]
    fn crashes_with_seed_9() {
        check_with_crashes(&mut Bench::with_directory(), 9);
    }
}

/// Munged, links come to the replica whatever they say.
mod daemon {
    use super::*;

    #[test]
    fn seed_4() {
        check(&Bench::with_munging_daemon(), 4);
    }

    #[test]
    fn seed_5() {
        check(&Bench::with_munging_daemon(), 5);
    }

    #[test]
    fn seed_6() {
        check(&Bench::with_munging_daemon(), 6);
    }

    #[test]
    fn crashes_with_seed_7() {
        check_with_crashes(&mut Bench::with_munging_daemon(), 7);
    }

    #[test]
    fn crashes_with_seed_8() {
        check_with_crashes(&mut Bench::with_munging_daemon(), 8);
    }
}
