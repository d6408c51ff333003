//! The status of a tree as lines for people. Names and reasons come from file names and peers: nothing in them reaches
//! the terminal but text.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::HumanBytes;
use serde_json::Value;

/// What a tree's status says of what is called `name` in it, the tree or a replica; none if nothing is.
pub(super) fn about(mut status: Value, name: &str) -> Option<Value> {
    let is_tree = status["name"] == name;
    let replicas = status["replicas"].as_array_mut()?;
    replicas.retain(|replica| is_tree || replica["name"] == name || replica["place"] == name);
    let is_known = is_tree || !replicas.is_empty();
    is_known.then_some(status)
}

/// The lines of one tree.
pub(super) fn lines(status: &Value) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_tree(&mut text, status);
    text
}

fn write_tree(out: &mut String, status: &Value) -> std::fmt::Result {
    let tree = &status["name"];
    writeln!(out, "{} ({})", plain(tree), plain(&status["source"]))?;
    let replicas = status["replicas"].as_array().into_iter().flatten();
    for replica in replicas {
        write_replica(out, replica)?;
    }
    Ok(())
}

fn write_replica(out: &mut String, replica: &Value) -> std::fmt::Result {
    write!(
        out,
        "  {}: {}, {} waiting, lag {:.1} s",
        plain(&replica["name"]),
        plain(&replica["state"]),
        replica["waiting"],
        replica["lag"].as_f64().unwrap_or_default()
    )?;
    let speed = |key: &str| replica["throughput"][key].as_f64().unwrap_or_default();
    let (bytes, paths) = (speed("bytes_per_second"), speed("paths_per_second"));
    if bytes > 0.0 || paths > 0.0 {
        write!(out, ", {}/s, {paths:.1} paths/s", HumanBytes(bytes as u64))?;
    }
    writeln!(out)?;
    if !replica["brake"].is_null() {
        writeln!(
            out,
            "    waits for approval: {}",
            plain(&replica["brake_reason"])
        )?;
    }
    let failure = &replica["failure"];
    if !failure.is_null() {
        let reason = plain(&failure["reason"]);
        let path = match failure["path"].as_str() {
            // Most reasons name it.
            Some(path) if !reason.contains(path) => format!("{}: ", escaped(path)),
            _ => String::new(),
        };
        writeln!(out, "    fails: {path}{reason} ({})", age(&failure["at"]))?;
    }
    for (path, reason) in replica["standing"].as_object().into_iter().flatten() {
        let path = escaped(path);
        writeln!(out, "    stays different: {path}: {}", plain(reason))?;
    }
    if !replica["refuses_deletions"].is_null() {
        let reason = plain(&replica["refuses_deletions"]);
        writeln!(out, "    deletes nothing: {reason}")?;
    }
    for lack in replica["lacks"].as_array().into_iter().flatten() {
        writeln!(out, "    {}", plain(lack))?;
    }
    if let Some(found) = replica["verification"].as_object() {
        let state = match found["ended"].is_null() {
            true => "verifying",
            false => "verified",
        };
        let (files, mended) = (&found["files"], &found["mended"]);
        writeln!(out, "    {state}: {files} files compared, {mended} mended")?;
    }
    Ok(())
}

/// How long ago a moment was, given in seconds since 1970.
fn age(at: &Value) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = (now.as_secs_f64() - at.as_f64().unwrap_or_default()).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

fn plain(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Without what a terminal would obey.
pub(crate) fn escaped(text: &str) -> String {
    let show = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_matters_is_said_and_the_terminal_is_safe() {
        let status = json!({"name": "data", "source": "/srv", "replicas": [
            {"name": "a", "place": "/a", "state": "behind", "waiting": 3, "lag": 2.25,
             "throughput": {"bytes_per_second": 2048.0, "paths_per_second": 1.5},
             "failure": {"reason": "no\u{1b}[2J room", "path": "x\ny", "at": 0.0}},
            {"name": "b", "place": "/b", "state": "braked", "waiting": 0, "lag": 0.0,
             "brake": {}, "brake_reason": "too much", "lacks": ["no\tlists: words"]},
        ]});
        let text = lines(&status);
        assert!(
            text.starts_with(
                "data (/srv)\n  a: behind, 3 waiting, lag 2.2 s, 2.00 KiB/s, 1.5 paths/s\n    fails: x\\ny: no\\u{1b}[2J room ("
            ),
            "{text}"
        );
        assert!(
            text.ends_with("  b: braked, 0 waiting, lag 0.0 s\n    waits for approval: too much\n    no\\tlists: words\n")
        );
        let about = |name: &str| about(status.clone(), name).map(|status| lines(&status));
        assert!(!about("b").unwrap().contains("a: behind"));
        assert!(about("data").unwrap().contains("a: behind"));
        assert_eq!(about("c"), None);
    }
}
