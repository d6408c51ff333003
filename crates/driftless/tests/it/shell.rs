//! Replicas behind a remote shell, with a stock rsync at the far end. The shell is a stand-in that runs the command here, as
//! the shell of the far end would.

use std::path::PathBuf;

use testkit::{require_rsync, script};

use crate::bench::{Bench, Mirror, driftless};

/// A source and a replica of this machine that is reached through the stand-in.
struct Far {
    bench: Bench,
    shell: PathBuf,
}

impl Far {
    fn new(text: &str) -> Self {
        let bench = Bench::with_directory();
        let shell = script(bench.path("shell"), text);
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

/// What it is given to send leaves a copy beside it.
const LISTENING_SHELL: &str = "#!/bin/sh\nshift 3\ntee -a \"$0.wire\" | /bin/sh -c \"$*\"\n";

#[test]
fn what_is_compressed_is_less() {
    const LENGTH: usize = 2 << 20;
    let far = Far::new(LISTENING_SHELL);
    let bench = &far.bench;
    let line = "the same line again and again\n";
    bench.source.write("text", line.repeat(LENGTH / line.len()));
    let (code, said) = far.start(&["--once", "--compress"]).wait_exit();
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.replica.read("text"), bench.source.read("text"));
    let wire = far.shell.with_extension("wire");
    let sent = std::fs::metadata(wire).unwrap().len();
    assert!(sent < LENGTH as u64 / 10, "{sent} bytes were sent");
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

/// A mirror to a real sshd that the test started, as the user who runs the test.
mod real {
    use std::process::Command;

    use rustix::process::{Pid, kill_process};
    use testkit::{Signal, SshServer};

    use super::*;
    use crate::bench::SOON;

    fn start(bench: &Bench, server: &SshServer, options: &[&str]) -> Mirror {
        Mirror::run(&mut command(bench, server, options))
    }

    fn command(bench: &Bench, server: &SshServer, options: &[&str]) -> Command {
        let mut command = bench.options();
        command
            .args(["--rsh", &server.command().join(" "), "--rsync-path"])
            .arg(require_rsync())
            .args(options)
            .arg(bench.source.root())
            .arg(format!(
                "{}:{}",
                SshServer::HOST,
                bench.replica.root().display()
            ));
        command
    }

    #[test]
    fn the_whole_tree_and_every_change() {
        let (bench, server) = (Bench::with_directory(), SshServer::start());
        bench.source.write("a 'b' $c/*", "odd names");
        bench.source.symlink("link", "a 'b' $c");
        bench.source.many("dir", 2, 20, 100);
        let mut mirror = start(&bench, &server, &[]);
        mirror.wait_in_step();
        bench.wait_identical(&mirror);
        bench.source.write("new/deep/file", vec![7; 300_000]);
        bench.source.remove("dir/d00000");
        bench.source.rename("dir", "renamed");
        bench.finish(mirror);
    }

    /// Our client with a stock server and with our own, in both directions.
    #[test]
    fn push_and_pull() {
        let (bench, server) = (Bench::with_directory(), SshServer::start());
        bench.source.write("odd 'name' $c/*", vec![7; 300_000]);
        bench.source.many("dir", 2, 20, 100);
        let ours = format!("{} rsync", driftless().get_program().display());
        for (number, program) in [require_rsync().display().to_string(), ours]
            .iter()
            .enumerate()
        {
            let there = bench.path(&format!("there {number}"));
            let back = bench.path(&format!("back{number}"));
            let far = format!("{}:{}/", SshServer::HOST, there.display());
            let near = |path: &std::path::Path| format!("{}/", path.display());
            for operands in [[near(bench.source.root()), far.clone()], [far, near(&back)]] {
                let mut command = driftless();
                // A directory that was made within the second of its times would keep its own otherwise.
                command
                    .args(["rsync", "-a", "--modify-window=-1"])
                    .args(["-e", &server.command().join(" ")])
                    .arg(format!("--rsync-path={program}"))
                    .args(operands);
                let output = command.output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
            for replica in [&there, &back] {
                let aspects = testkit::Aspects::exact();
                testkit::compare(bench.source.root(), replica, &aspects).unwrap();
            }
        }
    }

    #[test]
    fn ssh_is_killed_and_its_server_goes_away() {
        let (bench, mut server) = (Bench::with_directory(), SshServer::start());
        bench.source.write("file", "content");
        let mut mirror = start(&bench, &server, &["--timeout", "20"]);
        mirror.wait_in_step();
        for round in 0..3 {
            bench.source.file("big", crate::bench::BIG + round);
            testkit::eventually(SOON, || match bench.temporary_files().is_empty() {
                true if mirror.crossed().bytes < (round as u64 + 1) * crate::bench::BIG as u64 => {
                    Err("nothing is being written")
                }
                _ => Ok(()),
            });
            match round {
                0 => drop(mirror.program.kill_helpers("ssh")),
                1 => drop(server.kill_sessions()),
                _ => {
                    server.kill();
                    bench.source.write("meanwhile", "nobody listens");
                    mirror.wait_for("Connection refused");
                    server.restart();
                }
            }
            bench.wait_identical(&mirror);
        }
        bench.finish(mirror);
    }

    /// The directories in which a mirror's sockets are, one for each replica that has a connection.
    struct Sockets(tempfile::TempDir);

    impl Sockets {
        /// Below the directory that ssh has room for in a socket's address, wherever the tests run.
        fn new() -> Self {
            Self(tempfile::tempdir_in("/tmp").unwrap())
        }

        fn start(&self, bench: &Bench, server: &SshServer, options: &[&str]) -> Mirror {
            let mut command = command(bench, server, options);
            Mirror::run(command.env("TMPDIR", self.0.path()))
        }

        /// What is in them: sockets, and the process numbers of those that listen there.
        fn files(&self) -> Vec<PathBuf> {
            let below = |directory: PathBuf| {
                let entries = std::fs::read_dir(directory).into_iter().flatten();
                entries.map(|entry| entry.unwrap().path())
            };
            let users = below(self.0.path().to_owned());
            users.flat_map(below).flat_map(below).collect()
        }

        /// Signals whoever holds a connection.
        #[track_caller]
        fn signal(&self, signal: Signal) {
            let notes = self.files().into_iter();
            let notes = notes.filter(|file| file.extension().is_some_and(|end| end == "pid"));
            let masters: Vec<Pid> = notes
                .map(|note| std::fs::read_to_string(note).unwrap().parse().unwrap())
                .map(|pid| Pid::from_raw(pid).unwrap())
                .collect();
            assert_eq!(masters.len(), 1, "{:?}", self.files());
            kill_process(masters[0], signal).unwrap();
        }

        /// Nothing is left, neither here nor of the connections.
        #[track_caller]
        fn assert_cleared(&self, server: &SshServer) {
            assert_eq!(self.files(), [] as [PathBuf; 0]);
            testkit::eventually(SOON, || match server.is_in_use() {
                true => Err("somebody is still in"),
                false => Ok(()),
            });
        }
    }

    #[test]
    fn one_login_is_enough_for_many_sessions() {
        let (bench, server, sockets) =
            (Bench::with_directory(), SshServer::start(), Sockets::new());
        let mut mirror = sockets.start(&bench, &server, &[]);
        mirror.wait_in_step();
        for round in 0..8 {
            bench.source.write("file", vec![b'x'; round]);
            bench.wait_identical(&mirror);
        }
        // On a machine that is too slow to answer, one is made besides.
        assert!(server.logins() <= 4, "{}", server.logins());
        bench.finish(mirror);
        sockets.assert_cleared(&server);
    }

    #[test]
    fn what_a_killed_mirror_held_is_ended_by_the_next_one() {
        let (bench, server, sockets) =
            (Bench::with_directory(), SshServer::start(), Sockets::new());
        bench.source.write("file", "content");
        let mut mirror = sockets.start(&bench, &server, &[]);
        mirror.wait_in_step();
        assert!(!sockets.files().is_empty());
        mirror.kill();
        let left = sockets.files();
        assert!(!left.is_empty());
        bench.source.write("file", "changed");
        let mut mirror = sockets.start(&bench, &server, &[]);
        mirror.wait_in_step();
        assert!(sockets.files().iter().all(|file| !left.contains(file)));
        bench.finish(mirror);
        sockets.assert_cleared(&server);
    }

    #[test]
    fn a_connection_that_dies_or_hangs_costs_one_more_try() {
        let (bench, server, sockets) =
            (Bench::with_directory(), SshServer::start(), Sockets::new());
        let mut mirror = sockets.start(&bench, &server, &[]);
        mirror.wait_in_step();
        for (round, signal) in [Signal::KILL, Signal::STOP].into_iter().enumerate() {
            bench.source.write("file", format!("before {round}"));
            bench.wait_identical(&mirror);
            let logins = server.logins();
            sockets.signal(signal);
            bench.source.write("file", format!("after {round}"));
            bench.wait_identical(&mirror);
            assert!(server.logins() > logins);
        }
        bench.finish(mirror);
        sockets.assert_cleared(&server);
    }

    #[test]
    fn a_user_who_shares_connections_is_left_alone() {
        let (bench, server, sockets) =
            (Bench::with_directory(), SshServer::start(), Sockets::new());
        let own = sockets.0.path().join("own");
        let shell = format!("{} -S {}", server.command().join(" "), own.display());
        bench.source.write("file", "content");
        let mut mirror = sockets.start(&bench, &server, &["--rsh", &shell]);
        mirror.wait_in_step();
        bench.finish(mirror);
        assert_eq!(std::fs::read_dir(sockets.0.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_key_that_is_not_let_in_is_told() {
        let (bench, server) = (Bench::with_directory(), SshServer::start());
        let stranger = SshServer::start();
        bench.source.write("file", "content");
        // The port of the one, the key and the known hosts of the other.
        let (mut words, port) = (stranger.command(), server.command());
        let at = |words: &[String]| words.iter().position(|word| word == "-p").unwrap() + 1;
        let place = at(&words);
        words[place].clone_from(&port[at(&port)]);
        words.extend(["-o".into(), "StrictHostKeyChecking=no".into()]);
        let mut command = bench.options();
        command
            .args(["--once", "--rsh", &words.join(" ")])
            .arg(bench.source.root())
            .arg(format!(
                "{}:{}",
                SshServer::HOST,
                bench.replica.root().display()
            ));
        let (code, said) = Mirror::run(&mut command).wait_exit();
        assert_ne!(code, 0, "{said}");
        assert!(said.contains("Permission denied (publickey)"), "{said}");
        assert!(!bench.replica.exists("file"));
    }
}
