//! The recorded words of a server are those of the installed rsync.

use std::fs;
use std::process::{Command, Stdio};

use testkit::{Original, script};

const RECORDED: &str = include_str!("../data/server_args.txt");

/// Stands for a remote shell: writes its arguments down, quoted as the data are, and fails.
const SHELL: &str = r#"#!/bin/sh
while [ "$1" != rsync ]; do shift; done
shift
for word; do printf '%s\0' "$word"; done > "$RECORD"
exit 99
"#;

#[test]
fn the_data_are_what_rsync_says() {
    let rsync = Original::Rsync.require();
    let dir = tempfile::tempdir().expect("a directory");
    let shell = script(dir.path().join("shell"), SHELL);
    fs::create_dir(dir.path().join("s")).expect("a source");
    fs::write(dir.path().join("list"), "").expect("a list");
    let record = dir.path().join("record");

    let lines: Vec<&str> = RECORDED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let mut differing = String::new();
    for case in lines.chunks(2) {
        let _ = fs::remove_file(&record);
        // The data are written for a shell, so a shell reads them.
        let line = format!("exec \"$RSYNC\" -e \"$SHELL_STUB\" {}", case[0]);
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(dir.path())
            .env("RSYNC", &rsync)
            .env("SHELL_STUB", &shell)
            .env("RECORD", &record)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("sh");
        let told = fs::read(&record).unwrap_or_default();
        let expected = Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {}", case[1].trim())])
            .output()
            .expect("sh")
            .stdout;
        if told != expected {
            differing += &format!(
                "{}\n  {}\n",
                case[0],
                String::from_utf8_lossy(&told).replace('\0', " ")
            );
        }
    }
    assert!(differing.is_empty(), "{differing}");
}
