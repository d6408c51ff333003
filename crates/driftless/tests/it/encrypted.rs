//! Replicas with daemons over TLS: encrypted, and only where the daemon is who it was asked to be.

use crate::bench::{Bench, Mirror, driftless};

/// The daemon as a destination, under a name of this machine.
fn destination(bench: &Bench, host: &str) -> String {
    let port = bench.daemon().tls_port();
    format!("rsync://rsync_backup@{host}:{port}/backup")
}

fn start(bench: &Bench, host: &str, options: &[&str]) -> Mirror {
    let mut command = bench.options();
    command.arg("--tls").args(options);
    command.arg(bench.source.root());
    Mirror::run(command.arg(destination(bench, host)))
}

#[test]
fn every_change_over_tls() {
    let mut bench = Bench::with_encrypted_daemon();
    let certificate = bench.daemon().certificate_file();
    let believing = ["--tls-ca", certificate.to_str().unwrap()];
    bench
        .source
        .add("f dir/file 300000\nf other 10\nl link -> other");
    let mut mirror = start(&bench, "localhost", &believing);
    mirror.wait_in_step();
    bench.assert_identical(&mirror);
    bench.source.write("new/deep/file", vec![7; 1_000_000]);
    bench.source.remove("other");
    bench.source.rename("dir", "moved");
    bench.wait_identical(&mirror);
    bench.daemon_mut().kill();
    bench.source.append("moved/file", "while nobody listened");
    bench.daemon_mut().restart();
    bench.wait_identical(&mirror);
    let mirror = mirror.stop();
    bench.assert_identical(&mirror);
    assert!(
        bench
            .daemon()
            .log()
            .contains("connect from localhost (127.0.0.1)")
    );
}

#[test]
fn a_daemon_that_nobody_vouches_for() {
    let bench = Bench::with_encrypted_daemon();
    bench.source.write("file", "content");
    let (code, said) = start(&bench, "localhost", &[]).wait_exit();
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("certificate"), "{said}");
    assert!(!bench.replica.exists("file"));
}

#[test]
fn a_daemon_by_another_name() {
    let bench = Bench::with_encrypted_daemon();
    bench.source.write("file", "content");
    let certificate = bench.daemon().certificate_file();
    let believing = ["--tls-ca", certificate.to_str().unwrap()];
    let (code, said) = start(&bench, "127.0.0.1", &believing).wait_exit();
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("TLS with 127.0.0.1: "), "{said}");
    assert!(!bench.replica.exists("file"));
}

#[test]
fn a_daemon_that_speaks_plainly() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let mut command = bench.options();
    let plain = bench.daemon().url("").replace("127.0.0.1", "localhost");
    command
        .args(["--tls", "--once"])
        .arg(bench.source.root())
        .arg(plain);
    let (code, said) = Mirror::run(&mut command).wait_exit();
    assert_ne!(code, 0, "{said}");
    assert!(said.contains("TLS with localhost: "), "{said}");
}

#[test]
fn a_configuration_file_says_it_too() {
    let bench = Bench::with_encrypted_daemon();
    bench.source.write("file", "content");
    let file = bench.path("mirror.toml");
    let (source, to) = (
        bench.source.root().display(),
        destination(&bench, "localhost"),
    );
    let (password, certificate) = (
        bench.daemon().password_file(),
        bench.daemon().certificate_file(),
    );
    let text = |more: &str| {
        format!(
            "[[tree]]\nsource = {:?}\nstate = {:?}\n[[tree.replica]]\nto = {to:?}\npassword-file = {password:?}\n{more}",
            source.to_string(),
            bench.path("state"),
        )
    };
    let run = |options: &[&str]| {
        let mut command = driftless();
        command
            .args(["mirror", "--config"])
            .arg(&file)
            .args(options);
        Mirror::run(&mut command)
    };
    std::fs::write(&file, text(&format!("tls-ca = {certificate:?}\n"))).unwrap();
    let (code, said) = run(&["--check-config"]).wait_exit();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("mirror.toml:7: tls-ca needs tls = true"),
        "{said}"
    );
    std::fs::write(&file, text("tls = true\ntls-ca = \"/no/such/file\"\n")).unwrap();
    let (code, said) = run(&["--check-config"]).wait_exit();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("mirror.toml:8: certificates: /no/such/file: "),
        "{said}"
    );
    std::fs::write(
        &file,
        text(&format!("tls = true\ntls-ca = {certificate:?}\n")),
    )
    .unwrap();
    let mut mirror = run(&[]);
    mirror.wait_in_step();
    bench.source.write("file", "another content");
    bench.finish(mirror);
}

#[test]
fn tls_without_a_daemon_is_a_mistake() {
    let bench = Bench::with_directory();
    let (code, said) = bench.start_with(&["--tls"]).wait_exit();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--tls is for daemons"), "{said}");
    let (code, said) = bench.start_with(&["--tls-ca", "/x"]).wait_exit();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--tls-ca needs --tls"), "{said}");
}
