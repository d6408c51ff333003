//! sersync's configuration behind our mirror: its files as they are, and what sersync fails on (`checklist` lists all of that).

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use testkit::eventually;

use crate::bench::{Bench, Crossed, Mirror, SOON, driftless};

/// The switches of sersync's own default file.
const DEFAULTS: &str = r#"<inotify><delete start="true"/><createFolder start="true"/><createFile start="false"/>
    <closeWrite start="true"/><moveFrom start="true"/><moveTo start="true"/><attrib start="false"/><modify start="false"/></inotify>"#;

/// A daemon's replica, and a `confxml.xml` that leads there.
struct Sersync {
    bench: Bench,
}

impl Sersync {
    fn new() -> Self {
        Self {
            bench: Bench::with_daemon(),
        }
    }

    fn config(&self) -> PathBuf {
        self.bench.path("confxml.xml")
    }

    fn fail_log(&self) -> PathBuf {
        self.bench.path("rsync_fail_log.sh")
    }

    /// Writes the configuration; `head` and `sersync` are elements for these places.
    fn write(&self, head: &str, sersync: &str) {
        let url = self.bench.daemon().url("");
        let port = url
            .rsplit(':')
            .next()
            .and_then(|rest| rest.split('/').next())
            .unwrap();
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<head version=\"2.5\">{head}<sersync>\
             <localpath watch=\"{}/\"><remote ip=\"127.0.0.1\" name=\"backup\"/></localpath>\
             <rsync><commonParams params=\"-artuz\"/><auth start=\"true\" users=\"rsync_backup\" passwordfile=\"{}\"/>\
             <userDefinedPort start=\"true\" port=\"{port}\"/></rsync>\
             <failLog path=\"{}\" timeToExecute=\"60\"/>{sersync}</sersync></head>",
            self.bench.source.root().display(),
            self.bench.daemon().password_file().display(),
            self.fail_log().display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = driftless();
        command
            .arg("sersync")
            .args(options)
            .arg("-o")
            .arg(self.config())
            .env("STATE_DIRECTORY", self.bench.path("states"));
        command
    }

    /// Starts it with this configuration and waits until the replica holds the whole tree.
    fn live(&self, head: &str, sersync: &str) -> Mirror {
        self.write(head, sersync);
        let mut mirror = Mirror::run(&mut self.command(&["-r", "-n", "2"]));
        mirror.wait_in_step();
        mirror
    }
}

/// Entry 1: changes during the first push.
#[test]
fn changes_during_the_first_copy_arrive() {
    let sersync = Sersync::new();
    for number in 0..2000 {
        sersync
            .bench
            .source
            .write(format!("d{}/f{number}", number % 20), "first");
    }
    sersync.write(DEFAULTS, "");
    let mirror = Mirror::run(&mut sersync.command(&["-r"]));
    for number in (0..2000).step_by(7) {
        sersync
            .bench
            .source
            .write(format!("d{}/f{number}", number % 20), "second");
    }
    sersync.bench.finish(mirror);
}

/// Entry 2: links, pipes, modes and times; and names that begin with a dot or end in a tilde.
#[test]
fn everything_is_mirrored_with_the_default_switches() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("file", "content");
    let mirror = sersync.live(DEFAULTS, "");
    source.symlink("link", "file");
    std::fs::hard_link(source.path("file"), source.path("second name")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(source.path("pipe"))
            .status()
            .unwrap()
            .success()
    );
    std::fs::set_permissions(source.path("file"), std::fs::Permissions::from_mode(0o640)).unwrap();
    for name in [".htaccess", ".env", "file~", "4913", "dir/.hidden/x"] {
        source.write(name, "content");
    }
    sersync.bench.finish(mirror);
}

/// Entry 3: attribute changes are no deletions.
#[test]
fn attribute_events_delete_nothing_and_end_nothing() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("dir/file", "content");
    let mirror = sersync.live(
        &DEFAULTS.replace("<attrib start=\"false\"/>", "<attrib start=\"true\"/>"),
        "",
    );
    for mode in [0o700, 0o755, 0o711] {
        std::fs::set_permissions(source.path("dir"), std::fs::Permissions::from_mode(mode))
            .unwrap();
        sersync.bench.wait_identical(&mirror);
    }
    source.write("dir/new", "still watched");
    sersync.bench.finish(mirror);
}

/// Entries 4 and 7: in the background successes are successes, and the list of failures is neither a program nor others'.
#[test]
fn in_the_background_what_succeeds_does_not_fail() {
    let sersync = Sersync::new();
    sersync.bench.source.write("file", "content");
    sersync.write(DEFAULTS, "");
    let output = sersync.command(&["-d", "-r"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let pid: i32 = said
        .trim()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .expect("a process number");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let arrived = |name: &str| {
        eventually(SOON, || match sersync.bench.replica.exists(name) {
            true => Ok(()),
            false => Err(format!("{name} has not arrived")),
        });
    };
    arrived("file");
    for number in 0..20 {
        sersync
            .bench
            .source
            .write(format!("file{number}"), "content");
    }
    arrived("file19");
    let list = std::fs::metadata(sersync.fail_log()).unwrap();
    assert_eq!((list.len(), list.mode() & 0o7777), (0, 0o600));
    let words = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap();
    assert!(!String::from_utf8_lossy(&words).contains("secret"));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually(SOON, || match rustix::process::test_kill_process(pid) {
        Err(_) => Ok(()),
        // A process whose parent is gone may wait for init to take its status.
        Ok(()) => match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
            Ok(stat) if !stat.contains(") Z ") => Err("it does not end"),
            _ => Ok(()),
        },
    });
}

/// Entries 5 and 6: names are neither code nor patterns.
#[test]
fn names_are_bytes() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("keep", "content");
    source.write("keep too", "content");
    let mirror = sersync.live(DEFAULTS, "");
    let canary = sersync.bench.path("canary");
    let odd = [
        format!("`touch {}`", canary.display()).replace('/', "\u{2044}"),
        "$(touch canary)".to_owned(),
        "a\"b".to_owned(),
        "new\nline".to_owned(),
        "*".to_owned(),
        "[k]eep".to_owned(),
        "-rf".to_owned(),
    ];
    for name in &odd {
        source.write(name, "odd");
    }
    sersync.bench.wait_identical(&mirror);
    for name in &odd {
        source.remove(name);
    }
    sersync.bench.wait_identical(&mirror);
    assert!(sersync.bench.replica.exists("keep") && sersync.bench.replica.exists("keep too"));
    assert!(!canary.exists());
    sersync.bench.finish(mirror);
}

/// Entry 8: `-u` in the options does not keep an older file away.
#[test]
fn a_file_restored_with_an_older_time_arrives() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("file", "old content");
    let old = source.mtime("file");
    let mut mirror = sersync.live(DEFAULTS, "");
    mirror.wait_for("-u is left out");
    source.write("file", "new");
    source.touch("file", old + std::time::Duration::from_secs(3600));
    sersync.bench.wait_identical(&mirror);
    source.write("restored", "old content");
    source.touch("restored", old - std::time::Duration::from_secs(86_400));
    std::fs::rename(source.path("restored"), source.path("file")).unwrap();
    sersync.bench.finish(mirror);
}

/// Entry 12: what was made and removed at once does not live on.
#[test]
fn what_is_removed_at_once_stays_removed() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("keep", "content");
    let mirror = sersync.live(DEFAULTS, "");
    for round in 0..50 {
        let name = format!("short-lived {}", round % 5);
        source.write(&name, vec![b'x'; 20_000]);
        source.remove(&name);
    }
    sersync.bench.finish(mirror);
}

/// Entry 15: one filter for events, scans and directories that are pushed whole.
#[test]
fn filters_hold_at_every_depth_and_on_every_way() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    let left_out = [
        "a.svn",
        "dir/b.svn",
        "static/page",
        "dir/cache/x",
        "log/12.log",
    ];
    let taken = ["file", "dir/file", "other/static", "log/a.log"];
    for name in left_out.iter().chain(&taken) {
        source.write(name, "content");
    }
    let filter = r#"<filter start="true"><exclude expression="(.*)\.svn"/><exclude expression="^static/*"/>
        <exclude expression="^/dir/cache/(.*)"/><exclude expression="(.*)/[0-9]+\.log"/></filter>"#;
    let mirror = sersync.live(&format!("{filter}{DEFAULTS}"), "");
    // A directory that comes in one piece, and single files.
    source.write("new/deep/c.svn", "content");
    source.write("new/deep/d", "content");
    source.write("dir/e.svn", "content");
    eventually(SOON, || {
        let missing = taken
            .iter()
            .chain(&["new/deep/d"])
            .find(|name| !sersync.bench.replica.exists(name));
        missing.map_or(Ok(()), |name| {
            Err(format!("{name} is missing\n{}", mirror.said()))
        })
    });
    let ended = mirror.stop();
    for name in left_out.iter().chain(&["new/deep/c.svn", "dir/e.svn"]) {
        assert!(
            !sersync.bench.replica.exists(name),
            "{name}\n{}",
            ended.said()
        );
    }
}

/// Entry 16, and a crontab: a restart sends nothing; a scheduled comparison mends the replica.
#[test]
fn a_restart_sends_nothing() {
    let sersync = Sersync::new();
    for number in 0..100 {
        sersync
            .bench
            .source
            .write(format!("file{number}"), "content");
    }
    let head = format!("<debug start=\"true\"/>{DEFAULTS}");
    let mirror = sersync.live(&head, "<crontab start=\"true\" schedule=\"600\"/>");
    sersync.bench.finish(mirror);
    let mirror = sersync.live(&head, "");
    // What was young at the first look has been looked at twice by then.
    sersync.bench.finish(mirror);
    let mirror = sersync.live(&head, "");
    assert_eq!(mirror.crossed(), Crossed::default(), "{}", mirror.said());
    sersync.bench.finish(mirror);
}

/// Entry 17: with deletions off nothing is deleted, and everything else is as it should be.
#[test]
fn without_deletions_nothing_is_deleted() {
    let sersync = Sersync::new();
    let source = &sersync.bench.source;
    source.write("dir/file", "content");
    source.write("gone", "content");
    let mirror = sersync.live(
        &DEFAULTS.replace("<delete start=\"true\"/>", "<delete start=\"false\"/>"),
        "",
    );
    source.remove("gone");
    std::fs::rename(source.path("dir"), source.path("moved")).unwrap();
    eventually(SOON, || match sersync.bench.replica.exists("moved/file") {
        true => Ok(()),
        false => Err(mirror.said()),
    });
    mirror.stop();
    assert!(sersync.bench.replica.exists("gone") && sersync.bench.replica.exists("dir/file"));
}

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
    use std::io::Read;
    let sersync = Sersync::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
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

#[test]
fn options_and_mistakes() {
    let sersync = Sersync::new();
    let run = |options: &[&str]| {
        let output = sersync.command(options).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run(&["-x"]);
    assert!(
        code == Some(1) && said.contains("命令行参数错误: 没有该选项-x"),
        "{said}"
    );
    let (code, said) = run(&["-m", "nothing"]);
    assert!(code == Some(1) && said.contains("模块名称错误"), "{said}");
    let (code, said) = run(&["-h"]);
    assert!(code == Some(0) && said.contains("confxml.xml"), "{said}");
    let (code, said) = run(&[]);
    assert!(code == Some(1) && said.contains("cannot read"), "{said}");
    std::fs::write(
        sersync.config(),
        "<head>\n<sersync>\n<localpath/></sersync></head>",
    )
    .unwrap();
    let (code, said) = run(&["-d"]);
    assert!(
        code == Some(1) && said.contains("confxml.xml:3: <localpath> has no watch"),
        "{said}"
    );
}

#[test]
fn convert_prints_a_configuration_that_works() {
    let sersync = Sersync::new();
    sersync.write(DEFAULTS, "<crontab start=\"true\" schedule=\"60\"/>");
    let output = driftless()
        .arg("convert")
        .arg(sersync.config())
        .output()
        .unwrap();
    let (text, notes) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        output.status.success() && notes.contains("-u is left out"),
        "{notes}"
    );
    assert!(text.contains("verify = \"every 60m\""), "{text}");
    let converted = sersync.bench.path("mirror.toml");
    std::fs::write(&converted, &text).unwrap();
    sersync.bench.source.write("file", "content");
    let mut command = driftless();
    command
        .args(["mirror", "--once", "--config"])
        .arg(&converted)
        .env("STATE_DIRECTORY", sersync.bench.path("states"));
    let (code, said) = Mirror::run(&mut command).wait_exit();
    assert_eq!(code, 0, "{said}");
    assert!(sersync.bench.replica.exists("file"));
    let lsyncd = sersync.bench.path("lsyncd.conf");
    std::fs::write(&lsyncd, "settings { logfile = \"/l\" }\nsync { default.rsync, source = \"/a\", target = \"h::m\", delay = 1 }\n").unwrap();
    let output = driftless().arg("convert").arg(&lsyncd).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("source = \"/a\"") && text.contains("to = \"h::m\""),
        "{text}"
    );
}

/// Names of the program, comments in GBK as most of these files have them, elements that are missing, several trees, and what
/// the example declares although it is not so.
#[test]
fn a_file_as_people_have_it() {
    let sersync = Sersync::new();
    let bench = &sersync.bench;
    bench.source.write("file", "content");
    bench.source.write("left.log", "content");
    let other = testkit::Tree::at(bench.path("other"));
    other.write("other file", "content");
    bench.replica.directory("below");
    // "Directories to synchronise", in GBK.
    let comment = b"<!-- \xcd\xac\xb2\xbd\xc4\xbf\xc2\xbc -->".as_slice();
    let head = br#"<?xml version="1.0" encoding="ISO-8859-1"?>"#.as_slice();
    let port = bench.daemon().port();
    let rest = format!(
        "<head version='2.5'><filter start='true'><exclude expression='(.*)\\.log'/></filter><sersync>\
         <localpath watch='{}'><remote ip='127.0.0.1' name='backup'/></localpath>\
         <localpath watch='{}'><remote ip='127.0.0.1' name='backup/below'/></localpath>\
         <rsync><auth start='true' users='rsync_backup' passwordfile='{}'/><userDefinedPort start='true' port='{port}'/>\
         <timeout start='true' time='soon'/></rsync><failLog path='{}'/>\
         <crontab start='true' schedule='x'><crontabfilter start='true'><exclude expression='/below'/></crontabfilter></crontab>\
         </sersync></head>",
        bench.source.root().display(),
        other.root().display(),
        bench.daemon().password_file().display(),
        sersync.fail_log().display(),
    );
    std::fs::write(sersync.config(), [head, comment, rest.as_bytes()].concat()).unwrap();
    let program = bench.path("sersync2");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_driftless"), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["-r", "-n", "4", "-o"]).arg(sersync.config());
    command.env("STATE_DIRECTORY", bench.path("states"));
    let mut mirror = Mirror::run(&mut command);
    for note in [
        "was read as gb18030",
        "timeout: \"soon\" is no number of seconds",
        "schedule \"x\" is no number of minutes",
    ] {
        mirror.wait_for(note);
    }
    eventually(SOON, || {
        let has_all = bench.replica.exists("file") && bench.replica.exists("below/other file");
        match has_all {
            true => Ok(()),
            false => Err(mirror.said()),
        }
    });
    other.write("later", "content");
    eventually(SOON, || match bench.replica.exists("below/later") {
        true => Ok(()),
        false => Err(mirror.said()),
    });
    assert!(!bench.replica.exists("left.log"));
    mirror.stop();
}

/// What a server of HTTP is asked, until the headers' end and what they say follows.
fn request(listener: &std::net::TcpListener) -> String {
    use std::io::{Read, Write};
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
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
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

/// For each construct: what becomes of it, and what is said where it could not be carried over.
#[test]
fn convert_carries_over_what_it_can_and_names_the_rest() {
    let bench = Bench::with_directory();
    let convert = |name: &str, text: &str| {
        let file = bench.path(name);
        std::fs::write(&file, text).unwrap();
        let output = driftless().arg("convert").arg(&file).output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}\n{notes}");
        (String::from_utf8(output.stdout).unwrap(), notes)
    };
    let sersync = |head: &str, rsync: &str, rest: &str| {
        format!(
            "<head>{head}<sersync><localpath watch='/w'><remote ip='h' name='m'/></localpath><rsync>{rsync}</rsync>{rest}</sersync></head>"
        )
    };
    for (text, carried, noted) in [
        (sersync("", "", ""), "to = \"h::m\"", "-u is left out"),
        (
            sersync("<inotify><delete start='false'/></inotify>", "", ""),
            "delete = false",
            "",
        ),
        (
            sersync("<inotify><closeWrite start='false'/></inotify>", "", ""),
            "",
            "inotify/closeWrite is off",
        ),
        (
            sersync(
                "<filter start='true'><exclude expression='a.*'/></filter>",
                "",
                "",
            ),
            "exclude-regex = [\"a.*\"]",
            "",
        ),
        (
            sersync("", "<auth start='true' users='u' passwordfile='/p'/>", ""),
            "password-file = \"/p\"",
            "",
        ),
        (
            sersync("", "<userDefinedPort start='true'/>", ""),
            "to = \"rsync://h:874/m\"",
            "",
        ),
        (
            sersync("", "<timeout start='true'/>", ""),
            "timeout = 100",
            "",
        ),
        (sersync("", "<ssh start='true'/>", ""), "to = \"h:m\"", ""),
        (
            sersync("", "<commonParams params='-az --chmod=a+r'/>", ""),
            "compress = true",
            "--chmod has no meaning here",
        ),
        (
            sersync("", "<commonParams params='-a --bwlimit=5'/>", ""),
            "bandwidth = \"5k\"",
            "",
        ),
        (
            sersync("", "<ssh start='ture'/>", ""),
            "to = \"h::m\"",
            "<ssh start=\"ture\"> is off",
        ),
        (
            sersync("", "<commonParams params='-a --exclude=*.x'/>", ""),
            "filter = [\"- *.x\"]",
            "",
        ),
        (
            sersync("", "", "<failLog path='/l'/>"),
            "failures = \"/l\"",
            "",
        ),
        (
            sersync("", "", "<crontab start='true' schedule='7'/>"),
            "verify = \"every 7m\"",
            "",
        ),
        (
            sersync(
                "",
                "",
                "<crontab start='true'><crontabfilter start='true'><exclude expression='*.php'/></crontabfilter></crontab>",
            ),
            "verify = \"every 600m\"",
            "crontabfilter without filter",
        ),
        (
            sersync(
                "<plugin name='command'><param prefix='sh -c' suffix='| mail x'/></plugin>",
                "",
                "<plugin start='true' name='command'/>",
            ),
            "{path}",
            "are words here, not shell text",
        ),
    ] {
        let (printed, notes) = convert("c.xml", &text);
        assert!(printed.contains(carried), "{text}\n{printed}");
        assert!(notes.contains(noted), "{text}\n{notes}");
    }
    let lsyncd = |inside: &str| format!("sync {{ source = \"/a\", {inside} }}\n");
    for (text, carried) in [
        (lsyncd("default.rsync, target = \"h::m\""), "to = \"h::m\""),
        (
            lsyncd("default.rsyncssh, host = \"h\", targetdir = \"/d\""),
            "to = \"h:/d\"",
        ),
        (lsyncd("default.direct, target = \"/b\""), "to = \"/b\""),
        (
            lsyncd("default.rsync, target = \"/b\", delete = false"),
            "delete = false",
        ),
        (
            lsyncd("default.rsync, target = \"/b\", exclude = { \"*.tmp\" }"),
            "*.tmp",
        ),
    ] {
        let (printed, notes) = convert("lsyncd.conf", &text);
        assert!(printed.contains(carried), "{text}\n{printed}\n{notes}");
    }
    let custom = "own = { onCreate = 'cp' }\nsync { own, source = \"/c\", target = \"/d\" }\n";
    let (printed, notes) = convert(
        "lsyncd.conf",
        &(lsyncd("default.rsync, target = \"/b\", rsync = { bwlimit = 5 }, crontab = \"x\"")
            + custom),
    );
    for expected in [
        "rsync.bwlimit",
        "sync.crontab",
        "line 3: actions of its own",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
    assert!(!printed.contains("/d"), "{printed}");
}
