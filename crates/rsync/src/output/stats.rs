//! `--stats` and the closing lines (behaviour.md 3.7).

use std::time::Duration;

use transfer::{Counts, Stats};

use super::number::Human;

/// The block of `--stats`, each line ended. `protocol` decides which counts the other side told.
pub(crate) fn block(stats: &Stats, human: Human, protocol: i32) -> String {
    let mut text = format!("\nNumber of files: {}\n", counts(&stats.listed, human));
    if protocol >= 29 {
        text += &format!(
            "Number of created files: {}\n",
            counts(&stats.created, human)
        );
    }
    if protocol >= 31 {
        text += &format!(
            "Number of deleted files: {}\n",
            counts(&stats.deleted, human)
        );
    }
    text += &format!(
        "Number of regular files transferred: {}\n",
        human.count(stats.transferred)
    );
    for (what, bytes) in [
        ("Total file size", stats.total_size),
        ("Total transferred file size", stats.transferred_size),
        ("Literal data", stats.literal),
        ("Matched data", stats.matched),
    ] {
        text += &format!("{what}: {} bytes\n", human.bytes(bytes));
    }
    text += &format!("File list size: {}\n", human.bytes(stats.list_size));
    if stats.list_build_ms > 0 {
        text += &format!(
            "File list generation time: {} seconds\n",
            seconds(stats.list_build_ms)
        );
        text += &format!(
            "File list transfer time: {} seconds\n",
            seconds(stats.list_transfer_ms)
        );
    }
    text += &format!("Total bytes sent: {}\n", human.bytes(stats.sent));
    text += &format!("Total bytes received: {}\n", human.bytes(stats.received));
    text
}

/// The two closing lines; `suffix` tells of a run that changed nothing.
pub(crate) fn summary(stats: &Stats, human: Human, elapsed: Duration, suffix: &str) -> String {
    let moved = stats.sent + stats.received;
    // Half a second for a run that took none.
    let rate = as_float(moved) / (0.5 + as_float(elapsed.as_secs()));
    let speedup = if moved == 0 {
        0.0
    } else {
        as_float(stats.total_size) / as_float(moved)
    };
    format!(
        "\nsent {} bytes  received {} bytes  {} bytes/sec\ntotal size is {}  speedup is {}{suffix}\n",
        human.bytes(stats.sent),
        human.bytes(stats.received),
        human.decimal(rate, true),
        human.bytes(stats.total_size),
        human.decimal(speedup, false),
    )
}

/// What a log file says at the end of a run that closed with nothing else.
pub(crate) fn logged(stats: &Stats) -> String {
    format!(
        "sent {} bytes  received {} bytes  total size {}",
        stats.sent, stats.received, stats.total_size
    )
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// The total, and the kinds that there are.
fn counts(counts: &Counts, human: Human) -> String {
    let kinds = [
        ("reg", counts.files),
        ("dir", counts.directories),
        ("link", counts.symlinks),
        ("dev", counts.devices),
        ("special", counts.specials),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(kind, count)| format!("{kind}: {}", human.count(count)))
        .collect();
    let total = human.count(counts.total());
    if kinds.is_empty() {
        total
    } else {
        format!("{total} ({})", kinds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        Stats {
            listed: Counts {
                files: 4,
                directories: 2,
                symlinks: 1,
                specials: 1,
                ..Counts::default()
            },
            total_size: 300_010,
            transferred: 4,
            transferred_size: 300_009,
            literal: 300_009,
            list_build_ms: 1,
            sent: 300_449,
            received: 106,
            ..Stats::default()
        }
    }

    #[test]
    fn the_block_is_rsyncs() {
        assert_eq!(
            block(&stats(), Human(1), 32),
            "
Number of files: 8 (reg: 4, dir: 2, link: 1, special: 1)
Number of created files: 0
Number of deleted files: 0
Number of regular files transferred: 4
Total file size: 300,010 bytes
Total transferred file size: 300,009 bytes
Literal data: 300,009 bytes
Matched data: 0 bytes
File list size: 0
File list generation time: 0.001 seconds
File list transfer time: 0.000 seconds
Total bytes sent: 300,449
Total bytes received: 106
"
        );
    }

    #[test]
    fn the_closing_lines() {
        let soon = Duration::from_millis(300);
        assert_eq!(
            summary(&stats(), Human(1), soon, " (DRY RUN)"),
            "\nsent 300,449 bytes  received 106 bytes  601,110.00 bytes/sec\n\
             total size is 300,010  speedup is 1.00 (DRY RUN)\n"
        );
        assert_eq!(
            summary(&stats(), Human(2), soon, ""),
            "\nsent 300.45K bytes  received 106 bytes  601.11K bytes/sec\ntotal size is 300.01K  speedup is 1.00\n"
        );
    }
}
