//! The status in Prometheus' text exposition format, version 0.0.4.

use std::fmt::Write;

use crate::status::{MirrorStatus, ReplicaState, ReplicaStatus};

/// A figure of each replica.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&ReplicaStatus) -> Option<f64>,
}

/// All figures; states, which are several for each replica, come before them.
const METRICS: &[Metric] = &[
    Metric {
        name: "driftless_replica_lag_seconds",
        kind: "gauge",
        help: "How long the oldest change that the replica does not hold has waited.",
        value: |replica| Some(replica.lag),
    },
    Metric {
        name: "driftless_replica_waiting_paths",
        kind: "gauge",
        help: "Paths that wait to be looked at or brought over.",
        value: |replica| Some(replica.waiting as f64),
    },
    Metric {
        name: "driftless_replica_standing_differences",
        kind: "gauge",
        help: "Paths that the replica refuses for good.",
        value: |replica| Some(replica.standing.len() as f64),
    },
    Metric {
        name: "driftless_replica_failing",
        kind: "gauge",
        help: "Whether something fails and is tried again.",
        value: |replica| Some(f64::from(u8::from(replica.failure.is_some()))),
    },
    Metric {
        name: "driftless_replica_sessions_total",
        kind: "counter",
        help: "Sessions that ended well.",
        value: |replica| Some(replica.totals.sessions as f64),
    },
    Metric {
        name: "driftless_replica_updates_total",
        kind: "counter",
        help: "Paths brought up to date.",
        value: |replica| Some(replica.totals.updates as f64),
    },
    Metric {
        name: "driftless_replica_removals_total",
        kind: "counter",
        help: "Names removed.",
        value: |replica| Some(replica.totals.removals as f64),
    },
    Metric {
        name: "driftless_replica_bytes_total",
        kind: "counter",
        help: "Bytes of file content brought over.",
        value: |replica| Some(replica.totals.bytes as f64),
    },
    Metric {
        name: "driftless_replica_failures_total",
        kind: "counter",
        help: "Rounds that did not bring everything over.",
        value: |replica| Some(replica.totals.failures as f64),
    },
    Metric {
        name: "driftless_replica_last_failure_timestamp_seconds",
        kind: "gauge",
        help: "When something failed that still fails.",
        value: |replica| replica.failure.as_ref().map(|failure| failure.at),
    },
    Metric {
        name: "driftless_replica_last_verification_timestamp_seconds",
        kind: "gauge",
        help: "When the replica itself was compared last.",
        value: |replica| replica.verification.as_ref()?.ended,
    },
    Metric {
        name: "driftless_replica_last_verification_mended",
        kind: "gauge",
        help: "Paths that the last verification found different and mended.",
        value: |replica| Some(replica.verification.as_ref()?.mended as f64),
    },
];

const STATES: [(ReplicaState, &str); 7] = [
    (ReplicaState::Comparing, "comparing"),
    (ReplicaState::InStep, "in-step"),
    (ReplicaState::Busy, "busy"),
    (ReplicaState::Behind, "behind"),
    (ReplicaState::Braked, "braked"),
    (ReplicaState::Paused, "paused"),
    (ReplicaState::Ended, "ended"),
];

pub(super) fn text(trees: &[MirrorStatus]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut out, trees);
    out
}

fn write_all(out: &mut String, trees: &[MirrorStatus]) -> std::fmt::Result {
    let name = "driftless_build_info";
    head(out, name, "gauge", "Which version this is.")?;
    writeln!(out, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
    let replicas = || {
        trees.iter().flat_map(|tree| {
            let of = |replica| (labels(&tree.name, replica), replica);
            tree.replicas.iter().map(of)
        })
    };
    let name = "driftless_replica_state";
    head(
        out,
        name,
        "gauge",
        "1 for the state that the replica is in.",
    )?;
    for (labels, replica) in replicas() {
        for (state, word) in STATES {
            let value = u8::from(replica.state == state);
            writeln!(out, "{name}{{{labels},state=\"{word}\"}} {value}")?;
        }
    }
    for metric in METRICS {
        head(out, metric.name, metric.kind, metric.help)?;
        for (labels, replica) in replicas() {
            if let Some(value) = (metric.value)(replica) {
                writeln!(out, "{}{{{labels}}} {value}", metric.name)?;
            }
        }
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn labels(tree: &str, replica: &ReplicaStatus) -> String {
    format!(
        "tree=\"{}\",replica=\"{}\"",
        escaped(tree),
        escaped(&replica.name)
    )
}

/// A label's value: what would end it or the line is escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Board;

    #[test]
    fn every_line_is_a_comment_or_a_sample_whatever_the_names_are() {
        let name = "a\"} 7\nevil{x=\"\\";
        let board = Board::new(name.to_owned(), "/r".to_owned());
        board.session(3, 2, 100);
        let text = text(&[MirrorStatus {
            name: "t".to_owned(),
            source: "/s".to_owned(),
            replicas: vec![board.read()],
        }]);
        let labels = "{tree=\"t\",replica=\"a\\\"} 7\\nevil{x=\\\"\\\\\"";
        assert!(text.contains(&format!("driftless_replica_updates_total{labels}}} 3\n")));
        assert!(text.contains(&format!(
            "driftless_replica_state{labels},state=\"comparing\"}} 1\n"
        )));
        for line in text.lines() {
            assert!(
                line.starts_with("# ") || line.starts_with("driftless_"),
                "{line}"
            );
        }
        for metric in METRICS {
            assert!(text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind)));
            assert_eq!(metric.name.ends_with("_total"), metric.kind == "counter");
        }
    }
}
