//! Clients over TLS: `rsync-ssl` with each of its helpers, and our own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
    helped("openssl", believed, arguments)
}

/// Runs stock rsync over one of its helpers; `None` if it is missing, which is noted.
fn helped(helper: &str, believed: &Path, arguments: &[&str]) -> Option<Output> {
    let program = match helper {
        "gnutls" => "gnutls-cli",
        other => other,
    };
    if [program, "rsync-ssl"]
        .into_iter()
        .any(|program| find(program).is_none())
    {
        skip(&format!("rsync-ssl and {program} are needed"));
        return None;
    }
    let output = Command::new("rsync-ssl")
        .arg(format!("--type={helper}"))
        .args(arguments)
        .env("LC_ALL", "C")
        .env("RSYNC_SSL_CA_CERT", believed)
        .output();
    Some(output.expect("it starts"))
}

/// Where a program is, also where only root looks.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

#[test]
fn every_helper_of_stock_clients_is_served() {
    for helper in ["openssl", "stunnel", "gnutls"] {
        let (module, other) = trees();
        fs::write(other.path().join("much"), vec![7; 3_000_000]).expect("a file");
        fs::write(other.path().join("little"), "text").expect("a file");
        let daemon = encrypted(module.path());
        let certificate = daemon.certificate_file();
        let source = format!("{}/", text(other.path()));
        let there = url(&daemon, "localhost", "m/");
        let Some(pushed) = helped(helper, &certificate, &["-a", &source, &there]) else {
            continue;
        };
        assert!(
            pushed.status.success(),
            "{helper}: {}\n{}",
            errors(&pushed),
            daemon.log()
        );
        let aspects = || Aspects::exact().without_times();
        compare(other.path(), module.path(), &aspects()).expect(helper);
        // gnutls-cli mangles much that comes at once, also between a stock daemon and its client.
        if helper == "gnutls" {
            fs::remove_file(module.path().join("much")).expect("it was pushed");
            fs::remove_file(other.path().join("much")).expect("ours");
        }
        let back = tempfile::tempdir().expect("a directory");
        let target = format!("{}/", text(back.path()));
        let pull = ["-a", "--timeout=60", &there, &target];
        let pulled = helped(helper, &certificate, &pull).expect("it was there");
        assert!(
            pulled.status.success(),
            "{helper}: {}\n{}",
            errors(&pulled),
            daemon.log()
        );
        compare(other.path(), back.path(), &aspects()).expect(helper);
        let listed = helped(helper, &certificate, &[&url(&daemon, "localhost", "")]);
        let listed = listed.expect("it was there");
        assert_eq!(
            String::from_utf8_lossy(&listed.stdout),
            "m              \t\n",
            "{helper}"
        );
        // However the helper ends the stream, nothing is wrong with it.
        eventually(SOON, || match daemon.workers() {
            gone if gone.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
        assert!(
            !daemon.log().contains("TLS with"),
            "{helper}: {}",
            daemon.log()
        );
    }
}

/// A stream that ends after the protocol's own end, without TLS's word for it, is no error at either end.
#[test]
fn an_end_without_a_farewell_is_an_end() {
    let (module, _) = trees();
    let daemon = encrypted(module.path());
    if find("openssl").is_none() {
        return skip("openssl is needed");
    }
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect"])
        .arg(format!("127.0.0.1:{}", daemon.tls_port()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = client.stdin.take().expect("a pipe");
    input
        .write_all(b"@RSYNCD: 31.0\n#list\n")
        .expect("it takes it");
    let mut listed = BufReader::new(client.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("@RSYNCD: EXIT") {
        line.clear();
        assert_ne!(
            listed.read_line(&mut line).expect("the list"),
            0,
            "{}",
            daemon.log()
        );
    }
    // Killed, it says nothing more.
    client.kill().expect("it lives");
    client.wait().expect("it ends");
    eventually(SOON, || match daemon.workers() {
        gone if gone.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert!(!daemon.log().contains("TLS with"), "{}", daemon.log());
}

/// Certificates that are not to be believed, and what our client says of them.
#[test]
fn our_client_says_why_it_does_not_believe() {
    let (module, other) = trees();
    let target = format!("{}/", text(other.path()));
    let certificate = |name: &str, end: (i32, u8, u8)| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut wanted = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        // Without a name of its own it would pass for another one with a bad signature.
        let issuer = format!("{name}, {:?}", std::time::Instant::now());
        wanted
            .distinguished_name
            .push(rcgen::DnType::CommonName, issuer);
        wanted.not_before = rcgen::date_time_ymd(2001, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(end.0, end.1, end.2);
        let made = wanted.self_signed(&key).expect("made");
        (made.pem(), key.serialize_pem())
    };
    let never = (4000, 1, 1);
    for (name, end, believes_own, told) in [
        ("localhost", (2002, 1, 1), true, "expired"),
        ("elsewhere.example", never, true, "not valid for name"),
        ("localhost", never, false, "UnknownIssuer"),
    ] {
        let (own, key) = certificate(name, end);
        let daemon = daemon(module.path()).tls(&own, &key).start();
        let stranger = daemon.certificate_file().with_file_name("stranger");
        fs::write(&stranger, certificate("localhost", never).0).expect("a file");
        let believed = match believes_own {
            true => daemon.certificate_file(),
            false => stranger,
        };
        let believed = format!("--tls-ca={}", text(&believed));
        let refused = ours(&[
            "-a",
            "--tls",
            &believed,
            &url(&daemon, "localhost", "m/"),
            &target,
        ]);
        assert_eq!(refused.status.code(), Some(10), "{}", errors(&refused));
        let said = errors(&refused);
        assert!(
            said.contains("TLS with localhost: ") && said.contains(told),
            "{told}: {said}"
        );
        assert!(said.contains("error in socket IO (code 10)"), "{said}");
    }
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
