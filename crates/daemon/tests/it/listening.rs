//! The ways a connection reaches our daemon, and what the command line changes about them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use testkit::{Aspects, RsyncDaemon, compare, eventually, is_root, skip};

use super::bench::{Raw, daemon, errors, program, rsync, text, trees};
use super::stock::Place;

const SOON: Duration = Duration::from_secs(60);

/// A daemon behind a proxy that is believed at 127.0.0.1, for clients of a documentation network.
fn proxied(module: &Path) -> RsyncDaemon {
    daemon(module)
        .global("proxy protocol", "yes")
        .global("proxy protocol hosts", "127.0.0.1")
        .global("reverse lookup", "no")
        .set("hosts allow", "192.0.2.0/24 2001:db8::/32 127.0.0.1")
        .start()
}

/// What a connection with this header is told when it asks for the module.
fn answer(daemon: &RsyncDaemon, header: &[u8]) -> String {
    let mut raw = Raw::connect(daemon);
    raw.say(header);
    raw.say(b"@RSYNCD: 31.0\nm\n");
    let greeting = raw.line();
    match greeting.is_empty() {
        true => String::new(),
        false => raw.line(),
    }
}

fn block(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("short");
    [
        &b"\r\n\r\n\0\r\nQUIT\n"[..],
        &[0x20 | command, family],
        &length.to_be_bytes(),
        addresses,
    ]
    .concat()
}

#[test]
fn a_trusted_proxy_tells_who_the_client_is() {
    let (module, _) = trees();
    let daemon = proxied(module.path());
    let v4 = |last: u8| [192, 0, 2, last, 127, 0, 0, 1, 3, 232, 3, 105];
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    for (header, address) in [
        (
            b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 873\r\n".to_vec(),
            "192.0.2.7",
        ),
        (
            b"PROXY TCP6 2001:db8::9 ::1 1000 873\r\n".to_vec(),
            "2001:db8::9",
        ),
        (block(1, 0x11, &v4(8)), "192.0.2.8"),
        (block(1, 0x21, &v6), "2001:db8::7"),
        // The proxy's own checks, and families without addresses.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (block(0, 0, &[]), "127.0.0.1"),
    ] {
        assert_eq!(answer(&daemon, &header), "@RSYNCD: OK\n", "{address}");
        let line = format!("rsync allowed access on module m from UNDETERMINED ({address})");
        assert!(daemon.log().contains(&line), "{}", daemon.log());
    }
    let stranger = b"PROXY TCP4 198.51.100.7 127.0.0.1 1000 873\r\n";
    assert_eq!(
        answer(&daemon, stranger),
        "@ERROR: access denied to m from UNDETERMINED (198.51.100.7)\n"
    );
}

#[test]
fn headers_that_are_none_end_the_connection_without_a_word() {
    let (module, _) = trees();
    let daemon = proxied(module.path());
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 500]].concat();
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1000\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 0 873\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 1000 873\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 873\n".to_vec(),
        b"PROXY TCP9 192.0.2.7 127.0.0.1 1000 873\r\n".to_vec(),
        endless,
        block(1, 0x11, &[0; 11]),
        block(1, 0x11, &[0; 300]),
        block(5, 0x11, &[0; 12]),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(answer(&daemon, &header), "", "{shown}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let (module, _) = trees();
    let daemon = daemon(module.path())
        .global("proxy protocol", "yes")
        .global("proxy protocol hosts", "192.0.2.1 10.0.0.0/8")
        .start();
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 873\r\n";
    assert_eq!(answer(&daemon, header), "");
    let log = daemon.log();
    assert!(
        log.contains("proxy protocol rejected from untrusted peer "),
        "{log}"
    );
    assert!(!log.contains("connect from"), "{log}");
}

/// A proxy in front of a port: it says for whom it speaks and then only carries bytes.
fn forward(to: u16, header: &'static [u8]) -> u16 {
    let front = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = front.local_addr().expect("bound").port();
    thread::spawn(move || {
        for client in front.incoming() {
            let Ok(mut client) = client else { return };
            let mut back = TcpStream::connect(("127.0.0.1", to)).expect("it listens");
            back.write_all(header).expect("it takes it");
            let pair = (client.try_clone(), back.try_clone());
            let (Ok(mut client_too), Ok(mut back_too)) = pair else {
                return;
            };
            thread::spawn(move || {
                let _ = std::io::copy(&mut client_too, &mut back_too);
                let _ = back_too.shutdown(std::net::Shutdown::Write);
            });
            thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut client);
                let _ = client.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

#[test]
fn the_header_comes_before_tls() {
    let (module, other) = trees();
    fs::write(module.path().join("f"), vec![7; 300_000]).expect("a file");
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let daemon = daemon(module.path())
        .tls(&own.cert.pem(), &own.signing_key.serialize_pem())
        .global("proxy protocol", "yes")
        .global("proxy protocol hosts", "127.0.0.1")
        .global("reverse lookup", "no")
        .start();
    let pull = |port: u16| {
        Command::new(program())
            .args(["-a", "--tls"])
            .arg(format!("--tls-ca={}", text(&daemon.certificate_file())))
            .arg(format!("rsync://localhost:{port}/m/"))
            .arg(other.path())
            .output()
            .expect("it starts")
    };
    let port = forward(
        daemon.tls_port(),
        b"PROXY TCP4 192.0.2.7 127.0.0.1 1000 874\r\n",
    );
    let pulled = pull(port);
    assert!(
        pulled.status.success(),
        "{}\n{}",
        errors(&pulled),
        daemon.log()
    );
    compare(
        module.path(),
        other.path(),
        &Aspects::exact().without_times(),
    )
    .expect("the same");
    assert!(
        daemon
            .log()
            .contains("connect from UNDETERMINED (192.0.2.7)")
    );
    // Without a proxy there is no header.
    let direct = pull(daemon.tls_port());
    assert!(!direct.status.success());
    assert!(
        daemon.log().contains("no header of a proxy"),
        "{}",
        daemon.log()
    );
}

/// A daemon of ours that a test starts as it likes; it ends with the test.
struct Own(Child);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration with the module `m`, and where its log is.
fn configured(place: &Place, globals: &str) -> std::path::PathBuf {
    fs::create_dir_all(place.path().join("m")).expect("made");
    fs::write(place.path().join("m/f"), "text").expect("a file");
    let ids = if is_root() { "uid = 0\ngid = 0\n" } else { "" };
    place.write(
        "rsyncd.conf",
        &format!("log file = @/log\n{globals}\n[m]\npath = @/m\nuse chroot = no\ncomment = for tests\n{ids}"),
    )
}

fn log(place: &Place) -> String {
    fs::read_to_string(place.path().join("log")).unwrap_or_default()
}

fn start(config: &Path, arguments: &[&str]) -> Own {
    let child = Command::new(program())
        .args(["--daemon", "--no-detach"])
        .arg(format!("--config={}", text(config)))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Own(child.expect("it starts"))
}

/// A port that was free just now.
fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
    probe.local_addr().expect("bound").port()
}

/// Whether a daemon greets there.
fn greets(address: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    match read {
        Ok(_) if line.starts_with("@RSYNCD: ") => Ok(()),
        other => Err(format!("{other:?} {line}")),
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn families_and_addresses() {
    if !has_ipv6() {
        return skip("no IPv6 here");
    }
    let place = Place::new();
    for (arguments, v4, v6) in [
        (&["--address=::1"][..], false, true),
        (&["--address=127.0.0.1"], true, false),
        (&["-4"], true, false),
        (&["-6"], false, true),
        (&[], true, true),
    ] {
        let port = free_port();
        let config = configured(&place, &format!("port = {port}"));
        let _daemon = start(&config, arguments);
        let at = |address: &str| -> SocketAddr {
            SocketAddr::new(address.parse().expect("an address"), port)
        };
        for (address, is_served) in [("127.0.0.1", v4), ("::1", v6)] {
            if is_served {
                eventually(SOON, || greets(at(address)));
            }
        }
        // Who is served has been; who is not is not later either.
        for (address, is_served) in [("127.0.0.1", v4), ("::1", v6)] {
            assert_eq!(
                greets(at(address)).is_ok(),
                is_served,
                "{arguments:?} {address}"
            );
        }
    }
}

#[test]
fn sockets_that_systemd_has_opened() {
    let place = Place::new();
    let config = configured(&place, "");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    // The shell puts it where systemd does, and keeps its process number, which it has to name.
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let child = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(program())
        .args(["--daemon", "--no-detach"])
        .arg(format!("--config={}", text(&config)))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn();
    let _daemon = Own(child.expect("it starts"));
    let listed = rsync(&[&format!("rsync://127.0.0.1:{port}/")]);
    assert!(listed.status.success(), "{}", errors(&listed));
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "m              \tfor tests\n"
    );
}

#[test]
fn inetd_hands_us_one_connection() {
    let place = Place::new();
    let config = configured(&place, "");
    let inetd = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = inetd.local_addr().expect("bound").port();
    let (_, other) = trees();
    let target = format!("{}/", text(other.path()));
    thread::scope(|scope| {
        let url = format!("rsync://127.0.0.1:{port}/m/");
        let client = scope.spawn(move || rsync(&["-a", &url, &target]));
        let (connection, _) = inetd.accept().expect("a client");
        let mut daemon = Command::new(program())
            .arg("--daemon")
            .arg(format!("--config={}", text(&config)))
            .stdin(Stdio::from(OwnedFd::from(connection)))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let pulled = client.join().expect("no panic");
        assert!(
            pulled.status.success(),
            "{}\n{}",
            errors(&pulled),
            log(&place)
        );
        assert!(daemon.wait().expect("it ends").success());
    });
    assert_eq!(fs::read(other.path().join("f")).expect("pulled"), b"text");
    assert!(log(&place).contains("rsync on m/ from "), "{}", log(&place));
}

#[test]
fn behind_a_remote_shell_a_user_has_a_configuration_of_his_own() {
    let place = Place::new();
    let home = place.path().join("home");
    fs::create_dir_all(home.join("data")).expect("made");
    fs::write(home.join("data/f"), "text").expect("a file");
    place.write(
        "home/rsyncd.conf",
        "log file = @/home/log\n[own]\npath = @/home/data\nuse chroot = no\n",
    );
    // The user reaches a copy: where programs are built he may have no way.
    let own_program = place.path().join("rsync");
    fs::copy(program(), &own_program).expect("copied");
    let drop_rights = match is_root() {
        true => "setpriv --reuid=65534 --regid=65534 --clear-groups",
        false => "env",
    };
    let shell = place.write(
        "shell",
        &format!("#!/bin/sh\nshift\ncd @/home && exec {drop_rights} $*\n"),
    );
    for file in [
        place.path(),
        &home,
        &home.join("data"),
        &shell,
        &own_program,
    ] {
        let mode = match file == home {
            true => 0o777,
            false => 0o755,
        };
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("ours");
    }
    let (_, other) = trees();
    let target = format!("{}/", text(other.path()));
    let pulled = rsync(&[
        "-a",
        "-e",
        text(&shell),
        &format!("--rsync-path={}", text(&own_program)),
        "host::own/",
        &target,
    ]);
    assert!(pulled.status.success(), "{}", errors(&pulled));
    assert_eq!(fs::read(other.path().join("f")).expect("pulled"), b"text");
}

/// Whoever comes by a remote shell is logged as rsync does it, also if nobody knows the address.
#[test]
fn who_comes_by_a_shell_is_logged() {
    let place = Place::new();
    fs::create_dir(place.path().join("m")).expect("made");
    let config = "use chroot = no\n[m]\npath = @/m\nlist = no\n";
    for (address, request) in [
        ("192.0.2.7", "#list"),
        ("0.0.0.0", "#list"),
        ("2001:db8::7", "none"),
    ] {
        let client = format!("@RSYNCD: 31.0\n{request}\n");
        let stock = place.serve(config, address, client.as_bytes());
        let ours = place.serve_by(&program(), config, address, client.as_bytes());
        assert_eq!(ours.log, stock.log, "{address}");
        assert!(
            ours.log
                .iter()
                .any(|line| line.starts_with("connect from "))
        );
    }
}

#[test]
fn a_hangup_brings_the_configuration_of_now() {
    let place = Place::new();
    let (old, new) = (free_port(), free_port());
    let config = configured(&place, &format!("port = {old}"));
    let daemon = start(&config, &["--address=127.0.0.1"]);
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    eventually(SOON, || greets(at(old)));
    let hang_up = || {
        let pid = rustix::process::Pid::from_child(&daemon.0);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it lives");
    };
    // What cannot be read changes nothing.
    let good = fs::read_to_string(&config).expect("written");
    fs::write(&config, "[broken\n").expect("a file");
    hang_up();
    let told = |line: &str| {
        eventually(SOON, || match log(&place).contains(line) {
            true => Ok(()),
            false => Err(log(&place)),
        });
    };
    told("the configuration before it stays in force");
    fs::write(&config, good.replace(&old.to_string(), &new.to_string())).expect("a file");
    hang_up();
    eventually(SOON, || greets(at(new)));
    told(&format!(
        "configuration read again, listening on port {new}"
    ));
    assert!(TcpStream::connect(at(old)).is_err());
}

/// A process for a connection comes out of the listener, and keeps nothing of it: neither its sockets and its log nor its pid
/// file, and signals have their own effect.
#[test]
fn a_connection_keeps_nothing_of_the_listener() {
    let (module, _) = trees();
    let at = tempfile::tempdir().expect("a directory");
    let pid_file = at.path().join("pid");
    let mut daemon = daemon(module.path())
        .global("pid file", text(&pid_file))
        .start();
    let mut raw = Raw::greeted(&daemon);
    let workers = daemon.workers();
    let [worker] = *workers else {
        panic!("{workers:?}")
    };
    let blocked = fs::read_to_string(format!("/proc/{worker}/status")).expect("it runs");
    assert!(blocked.contains("SigBlk:\t0000000000000000\n"), "{blocked}");
    let open = fs::read_dir(format!("/proc/{worker}/fd")).expect("it runs");
    let names = open.filter_map(|entry| fs::read_link(entry.expect("an entry").path()).ok());
    let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    let connection = names.first().expect("standard input");
    assert!(connection.starts_with("socket:"), "{names:?}");
    assert_eq!(count("socket:"), count(connection), "{names:?}");
    assert_eq!((count("signalfd"), count("/pid")), (0, 0), "{names:?}");
    assert_eq!(count("/log"), 1, "{names:?}");

    rustix::process::kill_process(worker, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(raw.rest(), b"");
    assert!(pid_file.exists(), "the listener is still there");
    assert!(Raw::greeted(&daemon).say(b"#list\n"));
    daemon.stop();
    assert!(!pid_file.exists());
}

#[test]
fn parameters_of_the_command_line() {
    let (module, other) = trees();
    fs::write(other.path().join("f"), "text").expect("a file");
    let daemon = daemon(module.path())
        .argument("--dparam=comment=from the command line")
        .argument("--dparam=transfer logging=yes")
        .argument("--log-file-format=logged %n")
        .start();
    let root = daemon.url("");
    let listed = rsync(&[root.strip_suffix('m').expect("the module")]);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "m              \tfrom the command line\n"
    );
    let source = format!("{}/", text(other.path()));
    let pushed = rsync(&["-a", &source, &daemon.url("")]);
    assert!(pushed.status.success(), "{}", errors(&pushed));
    assert!(daemon.log().contains("] logged f\n"), "{}", daemon.log());
    let unknown = Command::new(program())
        .args(["--daemon", "--dparam=bogus=1"])
        .output()
        .expect("it starts");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        errors(&unknown).starts_with("Unknown parameter \"bogus\"\n"),
        "{}",
        errors(&unknown)
    );
}

#[test]
fn options_of_sockets_are_set_on_each_connection() {
    let (module, _) = trees();
    let daemon = daemon(module.path())
        .argument("--sockopts=SO_KEEPALIVE,SO_NOTHING=1")
        // The command line wins.
        .global("socket options", "SO_NEVER")
        .start();
    let mut raw = Raw::greeted(&daemon);
    raw.say(b"#list\n");
    assert!(raw.line().starts_with("m "));
    let log = daemon.log();
    assert!(log.contains("Unknown socket option SO_NOTHING"), "{log}");
    assert!(
        !log.contains("SO_NEVER") && !log.contains("SO_KEEPALIVE"),
        "{log}"
    );
}

#[test]
fn a_configuration_that_breaks_while_we_run_is_told_in_its_log() {
    let place = Place::new();
    let port = free_port();
    let config = configured(&place, &format!("port = {port}"));
    let _daemon = start(&config, &["--address=127.0.0.1"]);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    eventually(SOON, || greets(at));
    let good = fs::read_to_string(&config).expect("written");
    fs::write(&config, format!("{good}[]\n")).expect("a file");
    let mut stream = TcpStream::connect(at).expect("the listener lives");
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"");
    let log = log(&place);
    assert!(log.contains("Empty section name in config file."), "{log}");
    assert!(log.contains("syntax or usage error (code 1)"), "{log}");
    fs::write(&config, good).expect("a file");
    greets(at).expect("it reads the file for each connection");
}
