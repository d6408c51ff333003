//! Trees, earlier states of them and command lines that nobody has thought of: a seed makes them up, and the installed rsync
//! and ours must do the same with them, in each role.
//!
//! A difference is told with its seed and as little of the case as still shows it. `DRIFTLESS_RANDOM_CASES=FIRST..END` runs
//! other seeds than those that each run of the tests takes.

use std::ops::Range;

use crate::random_case::Case;
use crate::scenarios::{Bench, Way};
use testkit::said::Said;

/// What each run of the tests takes.
const SEEDS: Range<u64> = 18..60;

/// Runs of a program that are compared before a difference counts: two processes share a clock and standard error, so what
/// one program says may differ by itself.
const RUNS: usize = 3;

#[test]
fn random_command_lines() {
    let bench = Bench::new();
    let told: Vec<String> = asked("DRIFTLESS_RANDOM_CASES")
        .unwrap_or(SEEDS)
        .filter_map(|seed| {
            let case = Case::of(seed);
            let (client, server) = differing_role(&bench, &case)?;
            let least = shrunk(&bench, case, (client, server));
            let difference = difference(&bench, &least, (client, server)).unwrap_or_default();
            Some(format!(
                "seed {seed}, {}:\n{least}{difference}",
                match (client, server) {
                    (true, true) => "ours",
                    (true, false) => "ours is the client",
                    _ => "ours is the server",
                }
            ))
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// The seeds that somebody asks for by an environment variable, as `FIRST..END`.
pub(crate) fn asked(variable: &str) -> Option<Range<u64>> {
    let asked = std::env::var_os(variable)?;
    let ends = asked.to_str().and_then(|text| {
        let (first, end) = text.split_once("..")?;
        Some(first.parse().ok()?..end.parse().ok()?)
    });
    Some(ends.unwrap_or_else(|| panic!("{variable} is FIRST..END")))
}

/// Who is ours: the client, the server.
type Role = (bool, bool);

/// The first role in which the programs differ.
fn differing_role(bench: &Bench, case: &Case) -> Option<Role> {
    let roles = match case.way {
        Way::Local => &[(true, true)][..],
        Way::Push | Way::Pull => &[(true, false), (false, true)],
        // The daemon is the installed one.
        Way::DaemonPush | Way::DaemonPull => &[(true, false)],
    };
    let mut roles = roles.iter().copied();
    roles.find(|&role| difference(bench, case, role).is_some())
}

/// What differs, in lines, if no two runs agree.
fn difference(bench: &Bench, case: &Case, (client, server): Role) -> Option<String> {
    let program = |is_ours: bool| if is_ours { &bench.ours } else { &bench.theirs };
    let group = case.group();
    let run = |client: bool, server: bool| {
        let (client, server) = (program(client), program(server));
        sorted(bench.run(&group, case.way, &case.line(), client, server))
    };
    let (mut theirs, mut ours): (Vec<Said>, Vec<Said>) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        theirs.push(run(false, false));
        ours.push(run(client, server));
        if theirs.iter().any(|said| ours.contains(said)) {
            return None;
        }
    }
    Some(theirs[0].difference(&ours[0]))
}

/// The two ends of a transfer, and the two processes of the receiving end, say their lines without regard to each other.
fn sorted(mut said: Said) -> Said {
    said.out.sort();
    said
}

/// As little of a case as still differs.
fn shrunk(bench: &Bench, mut case: Case, role: Role) -> Case {
    let mut at = 0;
    while let Some(smaller) = case.without(at) {
        if difference(bench, &smaller, role).is_some() {
            case = smaller;
        } else {
            at += 1;
        }
    }
    case
}
