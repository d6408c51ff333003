//! Stock clients over TLS: `rsync-ssl` with openssl.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use testkit::{Aspects, RsyncDaemon, compare, eventually, skip};

use super::bench::{daemon, errors, program, text, trees};

const SOON: Duration = Duration::from_secs(60);

/// A daemon with the module `m` over `tree`, which is `localhost` and nobody else.
fn encrypted(tree: &Path) -> RsyncDaemon {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    daemon(tree)
        .tls(&own.cert.pem(), &own.signing_key.serialize_pem())
        .start()
}

fn url(daemon: &RsyncDaemon, host: &str, path: &str) -> String {
    format!("rsync://{host}:{}/{path}", daemon.tls_port())
}

/// Runs stock rsync over openssl; `None` if one of them is missing.
fn rsync_ssl(believed: &Path, arguments: &[&str]) -> Option<Output> {
    let is_there = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.is_ok()
    };
    if !is_there("rsync-ssl", "--version") || !is_there("openssl", "version") {
        skip("rsync-ssl and openssl are needed");
        return None;
    }
    let output = Command::new("rsync-ssl")
        .arg("--type=openssl")
        .args(arguments)
        .env("LC_ALL", "C")
        .env("RSYNC_SSL_CA_CERT", believed)
        .output();
    Some(output.expect("it starts"))
}

#[test]
fn push_pull_and_list_over_tls() {
    let (module, other) = trees();
    fs::create_dir(other.path().join("d")).expect("a directory");
    fs::write(other.path().join("d/much"), vec![7; 3_000_000]).expect("a file");
    fs::write(other.path().join("little"), "text").expect("a file");
    let daemon = encrypted(module.path());
    let source = format!("{}/", text(other.path()));
    let certificate = daemon.certificate_file();
    let Some(pushed) = rsync_ssl(
        &certificate,
        &["-a", &source, &url(&daemon, "localhost", "m/")],
    ) else {
        return;
    };
    assert!(
        pushed.status.success(),
        "{}\n{}",
        errors(&pushed),
        daemon.log()
    );
    let aspects = || Aspects::exact().without_times();
    compare(other.path(), module.path(), &aspects()).expect("the same");
    let back = tempfile::tempdir().expect("a directory");
    let target = format!("{}/", text(back.path()));
    let pull = ["-a", &url(&daemon, "localhost", "m/"), &target];
    let pulled = rsync_ssl(&certificate, &pull).expect("it was there");
    assert!(pulled.status.success(), "{}", errors(&pulled));
    compare(other.path(), back.path(), &aspects()).expect("the same");
    let listed = rsync_ssl(&certificate, &[&url(&daemon, "localhost", "")]);
    let listed = listed.expect("it was there");
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "m              \t\n"
    );
    // Rules and log know the client and not our own end of the relay.
    assert!(daemon.log().contains("connect from localhost (127.0.0.1)"));

    let stranger = rsync_ssl(
        &certificate,
        &["-a", &url(&daemon, "127.0.0.1", "m/"), &target],
    );
    assert!(!stranger.expect("it was there").status.success());
}

#[test]
fn whoever_speaks_no_tls_is_turned_away() {
    let (module, _) = trees();
    let daemon = encrypted(module.path());
    let mut plain = TcpStream::connect(("127.0.0.1", daemon.tls_port())).expect("it listens");
    plain.set_read_timeout(Some(SOON)).expect("a limit");
    plain
        .write_all(b"@RSYNCD: 31.0\n#list\n")
        .expect("it takes it");
    let mut said = Vec::new();
    // What it did not read may come back as a reset.
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"@RSYNCD"), "{said:?}");
    eventually(SOON, || {
        match daemon.log().contains("TLS with 127.0.0.1: ") && daemon.workers().is_empty() {
            true => Ok(()),
            false => Err(daemon.log()),
        }
    });
}

/// Runs our own client.
fn ours(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .expect("it starts")
}

#[test]
fn our_client_speaks_tls_and_believes_not_everybody() {
    let (module, other) = trees();
    fs::write(other.path().join("much"), vec![7; 3_000_000]).expect("a file");
    let daemon = encrypted(module.path());
    let (source, certificate) = (
        format!("{}/", text(other.path())),
        daemon.certificate_file(),
    );
    let believed = format!("--tls-ca={}", text(&certificate));
    let there = url(&daemon, "localhost", "m/");
    let pushed = ours(&["-a", "--tls", &believed, &source, &there]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    let aspects = || Aspects::exact().without_times();
    compare(other.path(), module.path(), &aspects()).expect("the same");
    let back = tempfile::tempdir().expect("a directory");
    let target = format!("{}/", text(back.path()));
    let pulled = ours(&["-a", "--tls", &believed, &there, &target]);
    assert!(pulled.status.success(), "{}", errors(&pulled));
    compare(other.path(), back.path(), &aspects()).expect("the same");

    let stranger = url(&daemon, "127.0.0.1", "m/");
    for (arguments, told) in [
        (
            vec!["-a", "--tls", &believed, &stranger, &target],
            "TLS with 127.0.0.1: ",
        ),
        (vec!["-a", "--tls", &there, &target], "TLS with localhost: "),
    ] {
        let refused = ours(&arguments);
        assert_eq!(refused.status.code(), Some(10), "{}", errors(&refused));
        assert!(errors(&refused).contains(told), "{}", errors(&refused));
    }
}
