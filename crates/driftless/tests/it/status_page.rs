//! The status page as browsers, programs and strangers meet it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use testkit::{Signal, eventually};

use crate::bench::{Bench, Mirror, SOON, driftless};

/// A name that would be an element if a page took it for its own text, and end a label of a metric.
pub const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'}&\n.txt";

const TOKEN: &str = "a token of some length";

/// Where a mirror says that its page is.
#[track_caller]
pub fn address(mirror: &mut Mirror) -> SocketAddr {
    let line = mirror.wait_for("status page at http://");
    let (_, rest) = line.split_once("http://").unwrap();
    rest.trim_end_matches(['/', '"', '}']).parse().unwrap()
}

/// Sends something, and returns the answer's code, head and content.
fn exchange(address: SocketAddr, request: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_owned(), body.to_owned())
}

fn fetch(address: SocketAddr, path: &str, headers: &str) -> (u16, String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    exchange(address, request.as_bytes())
}

fn json(address: SocketAddr, path: &str) -> Value {
    let (code, _, body) = fetch(address, path, "");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Waits until the history knows a change of `path`.
#[track_caller]
fn wait_for_change(address: SocketAddr, path: &str, kind: &str) {
    eventually(SOON, || {
        let history = json(address, "/history.json");
        let replica = &history["trees"][0]["replicas"][0];
        let changes = replica["changes"].as_array().unwrap();
        let is_it = |change: &&Value| change["path"] == path && change["kind"] == kind;
        match changes.iter().any(|change| is_it(&change)) {
            true => Ok(()),
            false => Err(history),
        }
    });
}

#[test]
fn it_shows_how_everything_is_and_what_has_happened() {
    let bench = Bench::with_directory();
    bench.source.write("first", "content");
    let mut mirror = bench.start_with(&["--status", "0"]);
    let address = address(&mut mirror);
    assert!(address.ip().is_loopback());
    mirror.wait_in_step();
    bench.source.write(HOSTILE, "content");
    wait_for_change(address, HOSTILE, "updated");
    bench.source.remove("first");
    wait_for_change(address, "first", "removed");
    let status = json(address, "/status.json");
    let replica = &status["trees"][0]["replicas"][0];
    assert_eq!(replica["name"], bench.replica_name());
    assert!(
        replica["totals"]["removals"].as_u64() >= Some(1),
        "{status}"
    );
    eventually(SOON, || {
        let history = json(address, "/history.json");
        let samples = &history["trees"][0]["replicas"][0]["fine"];
        match samples[0]["at"].is_number() && samples[0]["lag"].is_number() {
            true => Ok(()),
            false => Err(history),
        }
    });
    let (code, head, page) = fetch(address, "/", "");
    assert_eq!(code, 200);
    assert!(head.contains("Content-Type: text/html"), "{head}");
    let policy = head
        .lines()
        .find(|line| line.starts_with("Content-Security-Policy: "));
    let policy = policy.unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(
        page.contains("<script>") && !page.contains(HOSTILE),
        "names are no part of the page's text"
    );
    let (code, _, metrics) = fetch(address, "/metrics", "");
    assert_eq!(code, 200);
    let in_step = metrics
        .lines()
        .find(|line| line.contains("state=\"in-step\"}"));
    assert!(in_step.unwrap().ends_with(" 1"), "{metrics}");
    let (code, _, body) = exchange(
        address,
        b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!((code, body.as_str()), (200, ""));
    mirror.stop();
}

#[test]
fn thousands_of_changes_are_listed_and_outlive_a_restart() {
    let bench = Bench::with_directory();
    bench.source.write("first", "content");
    let mut mirror = bench.live_with(&["--status", "127.0.0.1:0"]);
    bench.source.many("burst", 10, 300, 1);
    bench.wait_identical(&mirror);
    let known = |address: SocketAddr| {
        let history = json(address, "/history.json");
        let changes = history["trees"][0]["replicas"][0]["changes"]
            .as_array()
            .unwrap();
        // A file that was looked at while it was young is told of twice.
        let files = changes.iter().filter(|change| change["is_dir"] == false);
        let paths: std::collections::BTreeSet<_> =
            files.map(|change| change["path"].to_string()).collect();
        paths.len()
    };
    let page = address(&mut mirror);
    eventually(SOON, || match known(page) {
        3000 => Ok(()),
        other => Err(other),
    });
    mirror.stop();
    let mut mirror = bench.live_with(&["--status", "127.0.0.1:0"]);
    let page = address(&mut mirror);
    assert_eq!(known(page), 3000);
    bench.source.write("after", "content");
    wait_for_change(page, "after", "updated");
    assert_eq!(known(page), 3001);
    mirror.stop();
}

#[test]
fn a_failure_is_on_the_page_also_when_it_is_over() {
    let bench = Bench::with_directory();
    bench.source.write("dir", "a file now");
    bench.replica.write("dir/kept.bak", "only here");
    let mut mirror = bench.start_with(&["--exclude", "*.bak", "--status", "0"]);
    let address = address(&mut mirror);
    mirror.wait_for("behind");
    bench.replica.remove("dir/kept.bak");
    let (done, said) = bench.command(&["rescan"]);
    assert!(done, "{said}");
    eventually(SOON, || {
        let status = json(address, "/status.json");
        match status["trees"][0]["replicas"][0]["failure"].is_null() {
            true => Ok(()),
            false => Err(status),
        }
    });
    let history = json(address, "/history.json");
    let failure = &history["trees"][0]["replicas"][0]["failures"][0];
    assert_eq!(failure["path"], "dir");
    assert!(failure["times"].as_u64() >= Some(1));
    mirror.stop();
}

#[test]
fn other_machines_need_a_token() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let (code, said) = bench.start_with(&["--status", "0.0.0.0:0"]).wait_exit();
    assert_eq!(code, 1);
    assert!(said.contains("--status-token"), "{said}");
    assert!(!bench.replica.exists("file"), "nothing was touched");
    let file = bench.path("token");
    std::fs::write(&file, TOKEN).unwrap();
    let options = ["--status", "0.0.0.0:0", "--status-token"];
    let start = || bench.start_with(&[&options[..], &[file.to_str().unwrap()]].concat());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (_, said) = start().wait_exit();
    assert!(said.contains("other-accessible"), "{said}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let mut mirror = start();
    let port = address(&mut mirror).port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for path in ["/", "/status.json", "/history.json", "/metrics"] {
        let (code, head, body) = fetch(address, path, "");
        assert_eq!(code, 401);
        assert!(
            head.contains("WWW-Authenticate: Bearer") && !body.contains("source"),
            "{body}"
        );
        assert_eq!(fetch(address, &format!("{path}?token=x"), "").0, 401);
        let query = TOKEN.replace(' ', "%20");
        assert_eq!(fetch(address, &format!("{path}?token={query}"), "").0, 200);
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(fetch(address, path, &header).0, 200);
    }
    assert!(!mirror.said().contains(TOKEN));
    mirror.stop();
}

#[test]
fn strangers_are_kept_short() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let mut mirror = bench.start_with(&["--status", "127.0.0.1:0"]);
    let address = address(&mut mirror);
    // Those who say nothing keep nobody else waiting.
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert_eq!(fetch(address, "/status.json", "").0, 200);
    // Another site's page whose name leads here.
    let rebound = b"GET /status.json HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(exchange(address, rebound).0, 403);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(9000)
    );
    assert_eq!(exchange(address, long.as_bytes()).0, 431);
    for bad in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "\u{1}\u{2}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
    ] {
        assert_eq!(exchange(address, bad.as_bytes()).0, 400, "{bad:?}");
    }
    let post = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(exchange(address, post).0, 405);
    for path in ["/../etc/passwd", "/favicon.ico", "//", "/status.json/"] {
        assert_eq!(fetch(address, path, "").0, 404, "{path}");
    }
    drop(silent);
    assert_eq!(fetch(address, "/", "").0, 200);
    mirror.stop();
}

#[test]
fn a_configuration_has_its_page_and_a_reload_moves_it() {
    let bench = Bench::with_directory();
    bench.source.write("file", "content");
    let config = bench.path("mirror.toml");
    let write = |head: &str| {
        let text = format!(
            "{head}\n[[tree]]\nname = \"one\"\nsource = {:?}\nstate = {:?}\n[[tree.replica]]\nto = {:?}\n",
            bench.source.root().display().to_string(),
            bench.path("state").display().to_string(),
            bench.replica.root().display().to_string()
        );
        std::fs::write(&config, text).unwrap();
    };
    write("status = \"0.0.0.0:0\"");
    let start = || Mirror::run(driftless().args(["mirror", "--config"]).arg(&config));
    let (code, said) = start().wait_exit();
    assert_eq!(code, 1);
    assert!(
        said.contains("mirror.toml:1: ") && said.contains("token"),
        "{said}"
    );
    write("status = \"0\"");
    let mut mirror = start();
    let address = address(&mut mirror);
    mirror.wait_in_step();
    assert_eq!(json(address, "/status.json")["trees"][0]["name"], "one");
    write("");
    mirror.program.signal(Signal::HUP);
    mirror.wait_for("1 kept, 0 started, 0 stopped");
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    mirror.stop();
}
