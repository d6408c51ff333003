//! Random trees under random changes: after each round the replica is identical.

use testkit::Editor;

use crate::bench::{Bench, for_each_destination};

const ROUNDS: usize = 5;
const STEPS: usize = 40;

fn check(bench: &Bench, seed: u64) {
    let mut editor = Editor::new(bench.source.clone(), seed);
    let mut edits = editor.grow(30);
    let mut mirror = bench.live();
    for round in 0..ROUNDS {
        edits = editor.steps(STEPS);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.wait_identical(&mirror)));
        if let Err(panic) = failed {
            eprintln!("seed {seed}, round {round}, after {edits:#?}");
            std::panic::resume_unwind(panic);
        }
        if round == ROUNDS / 2 {
            // What changes while no mirror runs is only known by comparing tree and ledger.
            mirror.stop();
            edits = editor.steps(STEPS);
            mirror = bench.live();
            bench.assert_identical(&mirror);
        }
    }
    drop(edits);
    bench.finish(mirror);
}

for_each_destination! {
    fn seed_1(bench: Bench) {
        check(&bench, 1);
    }

    fn seed_2(bench: Bench) {
        check(&bench, 2);
    }

    fn seed_3(bench: Bench) {
        check(&bench, 3);
    }

    fn seed_4(bench: Bench) {
        check(&bench, 4);
    }
}

#[test]
fn munging_daemon() {
    check(&Bench::with_munging_daemon(), 5);
}
