//! sersync's plugins: what they hear of, and when.

use std::io::{Read, Write};
use std::net::TcpListener;

use testkit::eventually;

use super::{DEFAULTS, Sersync};
use crate::bench::{Mirror, SOON};

/// The plugin runs after the file has arrived, with its name as one argument, and not for the first copy.
#[test]
fn the_command_plugin_runs_after_success() {
    let sersync = Sersync::new();
    sersync.bench.source.write("old", "content");
    let (script, heard) = (sersync.bench.path("plugin.sh"), sersync.bench.path("heard"));
    let replica = sersync.bench.replica.path("new $(x).sh");
    std::fs::write(
        &script,
        format!(
            "test -e '{}' && printf '%s|%s\\n' \"$1\" \"$2\" >> {}\n",
            replica.display(),
            heard.display()
        ),
    )
    .unwrap();
    let plugin = format!(
        r#"<plugin name="command"><param prefix="/bin/sh {}" suffix="end" ignoreError="true"/><filter start="true"><include expression="(.*)\.sh"/></filter></plugin>"#,
        script.display()
    );
    let mirror = sersync.live(
        &format!("{DEFAULTS}{plugin}"),
        "<plugin start=\"true\" name=\"command\"/>",
    );
    sersync.bench.source.write("other", "content");
    sersync.bench.source.write("new $(x).sh", "content");
    let expected = format!(
        "{}|end\n",
        sersync.bench.source.path("new $(x).sh").display()
    );
    eventually(SOON, || {
        let text = std::fs::read_to_string(&heard).unwrap_or_default();
        match text.contains(&expected) && text.lines().all(|line| line.ends_with("|end")) {
            true => Ok(()),
            false => Err(format!("heard {text:?}\n{}", mirror.said())),
        }
    });
    sersync.bench.finish(mirror);
}

#[test]
fn the_socket_plugin_alone_sends_paths() {
    let sersync = Sersync::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let plugin = format!(
        "<plugin name=\"socket\"><localpath watch=\"{}\"><deshost ip=\"127.0.0.1\" port=\"{port}\"/></localpath></plugin>",
        sersync.bench.source.root().display()
    );
    sersync.write(&format!("{DEFAULTS}{plugin}"), "");
    let mut mirror = Mirror::run(&mut sersync.command(&["-m", "socket"]));
    mirror.wait_in_step();
    sersync.bench.source.write("new", "content");
    let (mut stream, _) = listener.accept().unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert_eq!(told, sersync.bench.source.path("new").display().to_string());
    drop(listener);
    mirror.stop();
    assert!(!sersync.bench.replica.exists("new"), "-m mirrors nothing");
}

/// What a server of HTTP is asked, until the headers' end and what they say follows.
fn request(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).unwrap();
        asked.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "{text}");
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        if count == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
            return text;
        }
    }
}

/// Starts a plugin alone, changes a file, and returns what the plugin's server is asked.
fn asked_by(plugin: &str, definition: impl Fn(u16) -> String) -> String {
    let sersync = Sersync::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let definition = format!(
        "<plugin name=\"{plugin}\"><localpath watch=\"{}\">{}</localpath></plugin>",
        sersync.bench.source.root().display(),
        definition(listener.local_addr().unwrap().port()),
    );
    sersync.write(&format!("{DEFAULTS}{definition}"), "");
    let mut mirror = Mirror::run(&mut sersync.command(&["-m", plugin]));
    mirror.wait_in_step();
    sersync.bench.source.write("a&b c.jpg", "content");
    let asked = request(&listener);
    drop(listener);
    mirror.stop();
    asked
}

#[test]
fn the_http_plugin_posts_what_has_changed() {
    let asked = asked_by("http", |port| {
        format!("<deshost url=\"127.0.0.1/in\" port=\"{port}\"/>")
    });
    assert!(asked.starts_with("POST /in HTTP/1.0\r\n"), "{asked}");
    assert!(
        asked.contains(r#""path":"a&b c.jpg","kind":"updated""#),
        "{asked}"
    );
}

#[test]
fn the_refresh_cdn_plugin_asks_for_each_path() {
    let asked = asked_by("refreshCDN", |port| {
        format!(
            "<cdninfo domainname=\"127.0.0.1\" port=\"{port}\" username=\"u&amp;v\" passwd=\"p\"/>\
             <sendurl base=\"http://pic.example\"/><regexurl regex=\"false\" match=\"x\"/>"
        )
    });
    assert!(
        asked.starts_with(
            "HEAD /index.jsp?user=u%26v&pswd=p&ok=ok&urls=http://pic.example/a%26b%20c.jpg HTTP/1.0\r\nHost: 127.0.0.1\r\n"
        ),
        "{asked}"
    );
}
