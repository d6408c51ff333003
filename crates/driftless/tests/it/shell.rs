//! Replicas behind a remote shell, with a stock rsync at the far end. The shell is a stand-in that runs the command here, as
//! the shell of the far end would.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::require_rsync;

use crate::bench::{Bench, Mirror, driftless};

/// A source and a replica of this machine that is reached through the stand-in.
struct Far {
    bench: Bench,
    shell: PathBuf,
}

impl Far {
    fn new(script: &str) -> Self {
        let bench = Bench::with_directory();
        let shell = bench.path("shell");
        std::fs::write(&shell, script).unwrap();
        std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { bench, shell }
    }

    fn start(&self, options: &[&str]) -> Mirror {
        let rsync = require_rsync();
        let mut command = driftless();
        command
            .args(["mirror", "-v", "--state"])
            .arg(self.bench.path("state"))
            .arg("--rsh")
            .arg(&self.shell)
            .arg("--rsync-path")
            .arg(rsync)
            .args(options)
            .arg(self.bench.source.root())
            .arg(format!("user@far:{}", self.bench.replica.root().display()));
        Mirror::run(&mut command)
    }
}

/// Drops `-l USER HOST` and lets a shell have the rest.
const SHELL: &str = "#!/bin/sh\nshift 3\nexec /bin/sh -c \"$*\"\n";

#[test]
fn the_whole_tree_and_every_change() {
    let far = Far::new(SHELL);
    let bench = &far.bench;
    bench.source.write("a 'b' $c/*", "odd names");
    bench.source.write("dir/file", "content");
    bench.source.symlink("link", "dir/file");
    let mut mirror = far.start(&[]);
    mirror.wait_in_step();
    bench.wait_identical(&mirror);
    bench.source.write("dir/file", "changed");
    bench.source.write("new/deep/file", vec![7; 300_000]);
    bench.wait_identical(&mirror);
    std::fs::rename(bench.source.path("new"), bench.source.path("moved")).unwrap();
    bench.source.remove("dir");
    bench.wait_identical(&mirror);
    bench.finish(mirror);
}

#[test]
fn what_the_far_end_says_is_told() {
    let far = Far::new("#!/bin/sh\necho 'Permission denied (publickey).' >&2\nexit 255\n");
    far.bench.source.write("file", "content");
    let (code, said) = far.start(&["--once"]).wait_exit();
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("Permission denied (publickey)."), "{said}");
}

#[test]
fn an_old_rsync_that_does_not_know_our_options() {
    // As rsync 3.0.9 answers: before it has told its version.
    let script = "#!/bin/sh\nshift 3\ncase \"$*\" in *-@-1*) echo 'rsync: on remote machine: -@-1: unknown option' >&2; exit 1;; \
                  *--delete-missing-args*) echo 'rsync: on remote machine: --delete-missing-args: unknown option' >&2; exit 1;; esac\n\
                  exec /bin/sh -c \"$*\"\n";
    let far = Far::new(script);
    let bench = &far.bench;
    bench.source.write("dir/file", "content");
    bench.source.write("dir/other", "content");
    let mut mirror = far.start(&[]);
    mirror.wait_in_step();
    bench.source.remove("dir/file");
    bench.source.write("dir/new", "content");
    // Times of directories may be off within a second: only names and contents are compared.
    testkit::eventually(crate::bench::SOON, || {
        match !bench.replica.exists("dir/file") && bench.replica.exists("dir/new") {
            true => Ok(()),
            false => Err(mirror.said()),
        }
    });
    mirror.stop();
}
