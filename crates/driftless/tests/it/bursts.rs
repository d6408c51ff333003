//! Many changes at once, and changes that take their time.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use testkit::{content, eventually};

use crate::bench::{BIG, Bench, SOON, for_each_destination};

for_each_destination! {
    fn directory_of_1000_files_is_renamed(bench: Bench) {
        bench.source.many("old", 10, 100, 200);
        let mirror = bench.live();
        bench.source.rename("old", "elsewhere/new");
        bench.finish(mirror);
    }

    fn tree_of_5000_files_is_deleted(bench: Bench) {
        bench.source.many("tree", 50, 100, 1);
        bench.source.write("other", "stays");
        let mirror = bench.live();
        bench.source.remove("tree");
        bench.finish(mirror);
    }

    fn burst_of_10000_small_files(bench: Bench) {
        let mirror = bench.live();
        bench.source.many("burst", 20, 500, 10);
        bench.finish(mirror);
    }

    fn burst_of_all_kinds_of_changes(bench: Bench) {
        bench.source.many("old", 5, 100, 100);
        let mirror = bench.live();
        for directory in 0..5 {
            for file in 0..100 {
                let path = format!("old/d{directory:05}/f{file:05}");
                match file % 5 {
                    0 => bench.source.remove(&path),
                    1 => bench.source.append(&path, "more"),
                    2 => bench.source.rename(&path, format!("new/{directory}/{file}")),
                    3 => bench.source.chmod(&path, 0o600),
                    _ => bench.source.hard_link(format!("linked/{directory}-{file}"), &path),
                }
            }
        }
        bench.source.rename("old/d00003", "moved");
        bench.finish(mirror);
    }

    fn one_file_written_again_and_again(bench: Bench) {
        let mirror = bench.live();
        for round in 0..300 {
            bench.source.write("counter", format!("{round}"));
        }
        bench.finish(mirror);
    }

    fn slow_writer_that_pauses(bench: Bench) {
        let mirror = bench.live();
        let mut writer = Writer::of(&bench, "log");
        writer.write(b"first part\n");
        // What is there when it pauses arrives, although the file is still open.
        eventually(SOON, || is_prefix_there(&bench, b"first part\n"));
        writer.write(b"second part\n");
        writer.close();
        bench.finish(mirror);
    }

    fn slow_writer_that_never_pauses(bench: Bench) {
        let mirror = bench.live();
        let mut writer = Writer::of(&bench, "log");
        eventually(SOON, || {
            writer.write(b"another line\n");
            is_prefix_there(&bench, b"another line\n")
        });
        writer.close();
        bench.finish(mirror);
    }

    fn large_file_changes_while_it_is_sent(bench: Bench) {
        let mirror = bench.live();
        bench.source.file("large", BIG);
        eventually(SOON, || match bench.temporary_files().is_empty() && !bench.replica.exists("large") {
            true => Err("it is not being sent"),
            false => Ok(()),
        });
        bench.source.append("large", "the end");
        bench.source.write("small", content(1, 10));
        bench.finish(mirror);
    }
}

fn is_prefix_there(bench: &Bench, prefix: &[u8]) -> Result<(), String> {
    match std::fs::read(bench.replica.path("log")) {
        Ok(content) if content.starts_with(prefix) => Ok(()),
        found => Err(format!("the replica has {found:?}")),
    }
}

/// Another process that holds a file open and writes what it is told.
struct Writer(std::process::Child);

impl Writer {
    fn of(bench: &Bench, name: &str) -> Self {
        let file = std::fs::File::create(bench.source.path(name)).unwrap();
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(file)
            .process_group(0)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn close(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Its input ends with the test, and with that `cat`; an error means that it has ended already.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
