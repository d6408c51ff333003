//! sersync's configuration behind our mirror: its files as they are, and what sersync fails on (`checklist` lists all of that).

mod conversion;
mod plugins;

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
    // A second one has no state file of its own, and says so while somebody can read it.
    let second = sersync.command(&["-d"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success(), "{said}");
    assert!(said.contains("is in use by another mirror"), "{said}");
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
