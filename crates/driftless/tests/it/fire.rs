//! Convergence under fire: while writers change a tree at random and everything around the mirror fails, replicas of
//! every kind become identical whenever there is quiet, and nothing goes that the source has.
//!
//! `DRIFTLESS_FIRE_SECONDS` says how long it burns, `DRIFTLESS_FIRE_SEED` repeats a sequence as far as the machine's own
//! timing allows, and `DRIFTLESS_FIRE_DIR` names a place to keep the trees in.

use std::env;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testkit::{Random, eventually};

use self::observer::Observer;
use self::stage::{Fault, Stage, TIMEOUT};
use self::writers::Writers;

#[path = "fire/observer.rs"]
mod observer;
#[path = "fire/stage.rs"]
mod stage;
#[path = "fire/writers.rs"]
mod writers;

/// How long it burns where nothing else is said.
const SECONDS: u64 = 60;

/// How many faults there are between two times of quiet.
const STRIKES: usize = 4;

/// What a broken session may leave behind is looked for for the second time after a minute; and machines are busy.
const QUIET: Duration = Duration::from_secs(240);

#[test]
fn replicas_converge_whenever_there_is_quiet() {
    let seed = number("DRIFTLESS_FIRE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_micros() as u64
    });
    let lasts = Duration::from_secs(number("DRIFTLESS_FIRE_SECONDS").unwrap_or(SECONDS));
    eprintln!("DRIFTLESS_FIRE_SEED={seed}");
    let kept_in = env::var_os("DRIFTLESS_FIRE_DIR").map(PathBuf::from);
    let mut random = Random::new(seed);
    let mut stage = Stage::new(kept_in.as_deref());
    let kept = writers::make_areas(&stage.source);
    stage.start_mirror();
    await_quiet(&mut stage, "the first copy");
    let roots = stage.replicas().map(|(root, _)| root);
    let observer = Observer::start(&roots, &kept);
    let mut deck = Vec::new();
    let begin = Instant::now();
    // Until everything has gone wrong at least once.
    let mut strikes = 0;
    let mut round = 0;
    while begin.elapsed() < lasts || strikes < Fault::ALL.len() {
        round += 1;
        let writers = Writers::start(&stage.source, random.bits());
        let mut faults = Vec::new();
        for _ in 0..STRIKES {
            faults.push(strike(&mut stage, &mut deck, &mut random));
            strikes += faults.last().map_or(0, Vec::len);
        }
        writers.stop();
        let what = format!("seed {seed}, round {round}, {faults:?}");
        let took = await_quiet(&mut stage, &what);
        eprintln!(
            "{:>6.1} s: {what}: quiet after {:.1} s",
            begin.elapsed().as_secs_f64(),
            took.as_secs_f64()
        );
        assert_eq!(observer.seen(), [""; 0], "{what}\n{}", stage.said());
    }
    stage.stop_mirror();
    // A replica that was identical in passing would differ now.
    if let Err(differences) = stage.differences() {
        panic!("seed {seed}, at the end: {differences}\n{}", stage.said());
    }
    assert_eq!(observer.seen(), [""; 0], "seed {seed}\n{}", stage.said());
}

/// Lets one or two things go wrong at a time, and ends that after a while. Each of all kinds has its turn before one
/// comes again.
fn strike(stage: &mut Stage, deck: &mut Vec<Fault>, random: &mut Random) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..1 + random.below(2) {
        if deck.is_empty() {
            deck.extend(Fault::ALL);
        }
        faults.push(deck.swap_remove(random.below(deck.len())));
    }
    pause(random, 700);
    for &fault in &faults {
        stage.begin(fault, random);
    }
    if faults.iter().any(|fault| fault.is_a_hang()) {
        thread::sleep(Duration::from_secs(TIMEOUT));
    }
    pause(random, 1500);
    for &fault in &faults {
        stage.end(fault);
    }
    faults
}

/// Waits until all replicas are identical. What was tampered with is mended by a verification, and only by that.
fn await_quiet(stage: &mut Stage, what: &str) -> Duration {
    let begin = Instant::now();
    eventually(QUIET, || {
        let is_mended = stage.verify_if_tampered();
        let is_identical = is_mended.and_then(|()| stage.differences());
        is_identical.map_err(|differences| format!("{differences}\n{what}\n{}", stage.said()))
    });
    begin.elapsed()
}

/// The faults come when they come; what they lead to is never waited for in this way.
fn pause(random: &mut Random, longest: usize) {
    thread::sleep(Duration::from_millis(random.below(longest) as u64));
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}
