//! Random trees under random changes: after each round the replica is identical.

use testkit::{Editor, eventually};

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
}
