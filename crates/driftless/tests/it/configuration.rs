//! Configuration files: several trees, mistakes, and what a reload leaves alone.

use std::fmt::Write;
use std::path::PathBuf;

use testkit::{Signal, Tree, eventually};

use crate::bench::{Bench, Mirror, SOON, driftless};

/// A directory with trees, and a file that mirrors them.
struct Configured {
    directory: tempfile::TempDir,
}

impl Configured {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tree(&self, name: &str) -> Tree {
        Tree::at(self.path(name))
    }

    /// A tree's table, with more lines for it.
    fn table(&self, name: &str, more: &str) -> String {
        let path = |name: String| self.path(&name).display().to_string();
        let mut text = String::from("[[tree]]\n");
        writeln!(text, "name = {name:?}").unwrap();
        writeln!(text, "source = {:?}", path(name.to_owned())).unwrap();
        writeln!(text, "state = {:?}", path(format!("{name}.state"))).unwrap();
        writeln!(text, "{more}\n[[tree.replica]]").unwrap();
        writeln!(text, "to = {:?}", path(format!("{name}-replica"))).unwrap();
        text
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("mirror.toml"), text).unwrap();
    }

    fn start(&self, options: &[&str]) -> Mirror {
        let mut command = driftless();
        command
            .args(["mirror", "-v", "--config"])
            .arg(self.path("mirror.toml"))
            .args(options);
        Mirror::run(&mut command)
    }

    #[track_caller]
    fn wait_for_file(&self, path: &str, content: Option<&str>, mirror: &Mirror) {
        eventually(SOON, || {
            let found = std::fs::read_to_string(self.path(path)).ok();
            match found.as_deref() == content {
                true => Ok(()),
                false => Err(format!("{path} holds {found:?}\n{}", mirror.said())),
            }
        });
    }

    #[track_caller]
    fn refused(&self, text: &str, expected: &[&str]) {
        self.write(text);
        for options in [&["--check-config"][..], &[]] {
            let (code, said) = self.start(options).wait_exit();
            assert_ne!(code, 0, "{said}");
            for expected in expected {
                assert!(said.contains(expected), "not told {expected:?}:\n{said}");
            }
        }
    }
}

#[test]
fn several_trees_with_filters_and_a_reload() {
    let bench = Configured::new();
    for name in ["one", "two", "three"] {
        bench.tree(name).write("file", name);
        bench.tree(name).write("file.tmp", name);
    }
    let one = bench.table("one", "exclude = [\"*.tmp\"]");
    bench.write(&(one.clone() + &bench.table("two", "")));
    let mut mirror = bench.start(&[]);
    bench.wait_for_file("one-replica/file", Some("one"), &mirror);
    bench.wait_for_file("two-replica/file.tmp", Some("two"), &mirror);
    assert!(!bench.tree("one-replica").exists("file.tmp"));

    // One tree goes on, one is changed, one comes.
    let two = bench.table("two", "exclude = [\"*.tmp\"]");
    bench.write(&(one.clone() + &two + &bench.table("three", "")));
    mirror.program.signal(Signal::HUP);
    mirror.wait_for("1 kept, 2 started, 0 stopped");
    bench.wait_for_file("three-replica/file", Some("three"), &mirror);
    bench.tree("two").write("other.tmp", "left out now");
    bench.tree("two").write("other", "x");
    bench.wait_for_file("two-replica/other", Some("x"), &mirror);
    assert!(!bench.tree("two-replica").exists("other.tmp"));
    assert!(
        bench.tree("two-replica").exists("file.tmp"),
        "what is left out stays"
    );

    // A mistake changes nothing.
    bench.write("[[tree]]\nsorce = 1\n");
    mirror.program.signal(Signal::HUP);
    mirror.wait_for("did you mean \"source\"?");
    bench.tree("one").write("file", "goes on");
    bench.wait_for_file("one-replica/file", Some("goes on"), &mirror);

    bench.write(&one);
    mirror.program.signal(Signal::HUP);
    mirror.wait_for("1 kept, 0 started, 2 stopped");
    bench.tree("one").write("file", "still");
    bench.wait_for_file("one-replica/file", Some("still"), &mirror);
    mirror.stop();
}

#[test]
fn a_reload_that_cannot_start_a_tree_changes_nothing() {
    let bench = Configured::new();
    for name in ["one", "two"] {
        bench.tree(name).write("old", "content");
    }
    let (one, two) = (bench.table("one", ""), bench.table("two", ""));
    bench.write(&format!("{one}{two}"));
    let mut mirror = bench.start(&[]);
    let in_step = "first copy complete";
    mirror.program.wait_for_nth_line(2, in_step, SOON);
    // Nothing can be made below a file: that shows only when it is tried.
    std::fs::write(bench.path("file"), "").unwrap();
    let replica = bench.path("two-replica").display().to_string();
    let nowhere = bench.path("file/replica").display().to_string();
    bench.write(&format!("{one}{}", two.replace(&replica, &nowhere)));
    mirror.program.signal(Signal::HUP);
    mirror.wait_for("not reloaded");
    for name in ["one", "two"] {
        bench.tree(name).write("new", "content");
        bench.wait_for_file(&format!("{name}-replica/new"), Some("content"), &mirror);
    }
    mirror.stop();
}

#[test]
fn mistakes_are_named_before_anything_is_touched() {
    let bench = Configured::new();
    bench.tree("one").write("file", "content");
    let one = bench.table("one", "");
    let line = |text: &str, part: &str| 1 + text[..text.find(part).unwrap()].matches('\n').count();
    let text = one.clone() + "pasword-file = \"/x\"\n";
    let at = format!("mirror.toml:{}", line(&text, "pasword"));
    bench.refused(&text, &[&at, "did you mean \"password-file\"?"]);
    bench.refused("", &["no [[tree]]"]);
    bench.refused(&format!("{one}{one}"), &["two trees are called one"]);
    let same = "name = \"same\"\n";
    let other = format!("[[tree.replica]]\nto = {:?}\n{same}", bench.path("other"));
    bench.refused(
        &format!("{one}{same}{other}"),
        &["two replicas of", "are called same"],
    );
    bench.refused(
        &format!("status-token-file = \"/x\"\n{one}"),
        &["mirror.toml:1", "/x"],
    );
    bench.refused(
        &format!("log = \"yaml\"\n{one}"),
        &["mirror.toml:1", "yaml"],
    );
    bench.refused(
        &bench.table("one", "filter = [\"x y z\"]"),
        &["mirror.toml:5", "x y z"],
    );
    bench.refused(
        &bench.table("one", "verify = \"now and then\""),
        &["mirror.toml:5", "no schedule"],
    );
    bench.refused(
        &bench.table("one", "exclude-regex = [\"(\"]"),
        &["mirror.toml:5", "regular expression"],
    );
    // The place is that of the mistake, not of the first word like it.
    let hook = bench.table("one", "[[tree.hook]]\nwait-ms = 1\n");
    bench.refused(
        &format!("# protocol, hook\n{hook}"),
        &["mirror.toml:6", "exactly one of"],
    );
    let text = format!("# protocol, hook\n{one}protocol = 99\n");
    bench.refused(&text, &["mirror.toml:9", "protocol is 30 to"]);
    let hook = "[[tree.hook]]\nshell = \"true\"\nreplicas = [\"ofsite\"]\n";
    let text = format!("{one}name = \"offsite\"\n{hook}");
    bench.refused(&text, &["mirror.toml:11", "did you mean \"offsite\"?"]);
    bench.tree("two").write("file", "content");
    let two = bench.table("two", "");
    let theirs = bench.path("two-replica").display().to_string();
    let ours = bench.path("one-replica").display().to_string();
    bench.refused(
        &format!("{one}{}", two.replace(&theirs, &ours)),
        &["mirror.toml:14", "one and two have the replica"],
    );
    bench.refused(&bench.table("absent", ""), &["absent", "No such file"]);
    let inside = bench.path("one/inside").display().to_string();
    let replica = bench.path("one-replica").display().to_string();
    bench.refused(&one.replace(&replica, &inside), &["lie within each other"]);
    let password = bench.path("password");
    std::fs::write(&password, "secret\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).unwrap();
    bench.refused(
        &format!("{one}password-file = {password:?}\n"),
        &["other-accessible"],
    );
    bench.write(&one);
    let (code, said) = bench.start(&["--no-delete"]).wait_exit();
    assert!(
        code != 0 && said.contains("--config names everything"),
        "{said}"
    );
    let remote = "to = \"h::m\"\nbandwidth = ";
    let text = format!("{one}\n[[tree.replica]]\n{remote}\"fast\"\n");
    bench.refused(&text, &["mirror.toml:11", "\"fast\" is no rate"]);
    bench.refused(
        &format!("{one}compress = true\n"),
        &["mirror.toml:7", "is a directory"],
    );
    assert!(!bench.path("one-replica").exists() && !bench.path("one.state").exists());
    bench.write(&one);
    let (code, said) = bench.start(&["--check-config"]).wait_exit();
    assert!(code == 0 && said.contains("in order"), "{said}");
    assert!(!bench.path("one-replica").exists());
}

#[test]
fn a_state_file_in_use_ends_the_second_mirror() {
    let bench = Configured::new();
    bench.tree("one").write("file", "content");
    bench.write(&bench.table("one", ""));
    let first = bench.start(&[]);
    bench.wait_for_file("one-replica/file", Some("content"), &first);
    let (code, said) = bench.start(&[]).wait_exit();
    assert!(code == 11 && said.contains("in use"), "{code} {said}");
    first.stop();
}

#[test]
fn hooks_hear_of_what_has_been_brought_over() {
    let bench = Configured::new();
    bench.tree("one").write("old", "content");
    let log = bench.path("log");
    let script = format!("cat >> {0}; echo >> {0}", log.display());
    let each = bench.path("each");
    let per_path = bench.path("per-path.sh");
    std::fs::write(
        &per_path,
        format!("printf '%s\\n' \"$1\" >> {}\n", each.display()),
    )
    .unwrap();
    let hooks = format!(
        "[[tree.hook]]\nshell = {script:?}\n[[tree.hook]]\ncommand = [\"/bin/sh\", {:?}, \"{{path}}\"]\nonly = [\"(.*)\\\\.php\"]\n",
        per_path.display().to_string()
    );
    bench.write(&bench.table("one", &hooks));
    let mut mirror = bench.start(&[]);
    mirror.wait_in_step();
    let odd = "a $(touch x) `y` \"q\".php";
    bench.tree("one").write(odd, "content");
    bench.tree("one").remove("old");
    eventually(SOON, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let has = |part: &str| text.contains(part);
        match has("\"kind\":\"removed\"") && has("\"kind\":\"updated\"") && has("$(touch x)") {
            true => Ok(()),
            false => Err(format!("the hook has heard {text:?}\n{}", mirror.said())),
        }
    });
    eventually(SOON, || {
        let text = std::fs::read_to_string(&each).unwrap_or_default();
        match text.starts_with(&format!("{}\n", bench.path("one").join(odd).display())) {
            true => Ok(()),
            false => Err(format!("the hook has heard {text:?}\n{}", mirror.said())),
        }
    });
    mirror.stop();
    let heard = std::fs::read_to_string(&log).unwrap();
    assert!(
        !heard.contains("\"path\":\"old\",\"kind\":\"updated\""),
        "a first copy is no change: {heard}"
    );
}

#[test]
fn hooks_that_hang_or_fail_hold_up_nothing() {
    let bench = Configured::new();
    bench.tree("one").write("old", "content");
    let each = bench.path("each");
    let script = bench.path("per-path.sh");
    let text = format!("echo \"${{1##*/}}\" >> {}\nexit 1\n", each.display());
    std::fs::write(&script, text).unwrap();
    let hooks = format!(
        "[[tree.hook]]\nshell = \"sleep 600 2>&-; true\"\n\
         [[tree.hook]]\nwait-ms = 5000\ncommand = [\"/bin/sh\", {:?}, \"{{path}}\"]\n",
        script.display().to_string()
    );
    bench.write(&bench.table("one", &hooks));
    let mut mirror = bench.start(&[]);
    mirror.wait_in_step();
    // More than one batch, the first of which hangs.
    for number in 0..3 {
        let name = format!("f{number}");
        bench.tree("one").write(&name, "content");
        eventually(SOON, || match bench.tree("one-replica").exists(&name) {
            true => Ok(()),
            false => Err(format!("{name} is not brought over:\n{}", mirror.said())),
        });
    }
    // One path that fails is no reason to leave the others out.
    eventually(SOON, || {
        let text = std::fs::read_to_string(&each).unwrap_or_default();
        let names: Vec<&str> = text.lines().collect();
        match ["f0", "f1", "f2"].iter().all(|name| names.contains(name)) {
            true => Ok(()),
            false => Err(format!("the hook has heard {text:?}\n{}", mirror.said())),
        }
    });
    mirror.wait_for("hook: /bin/sh: exit status: 1");
    mirror.program.signal(Signal::TERM);
    let (code, said) = mirror.wait_exit();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("for the mirror ends"), "{said}");
}

#[test]
fn the_list_of_failures_is_true_now() {
    let bench = Configured::new();
    bench.tree("one").write("dir", "a file now");
    bench.tree("one-replica").write("dir/kept.bak", "only here");
    let list = bench.path("failing");
    let more = format!(
        "exclude = [\"*.bak\"]\nfailures = {:?}",
        list.display().to_string()
    );
    bench.write(&bench.table("one", &more));
    let mirror = bench.start(&[]);
    eventually(SOON, || {
        let text = std::fs::read_to_string(&list).unwrap_or_default();
        match text.contains("dir") {
            true => Ok(()),
            false => Err(format!("the list is {text:?}\n{}", mirror.said())),
        }
    });
    bench.tree("one-replica").remove("dir/kept.bak");
    bench.wait_for_file("one-replica/dir", Some("a file now"), &mirror);
    bench.wait_for_file("failing", Some(""), &mirror);
    mirror.stop();
}

#[test]
fn a_tree_without_replicas_is_watched_for_its_hooks() {
    let bench = Bench::with_directory();
    bench.source.write("old", "content");
    let heard = bench.path("heard");
    let config = bench.path("hooks.toml");
    let text = format!(
        "[[tree]]\nsource = {:?}\nstate = \":memory:\"\n[[tree.hook]]\nshell = {:?}\n",
        bench.source.root().display().to_string(),
        format!("cat >> {}", heard.display())
    );
    std::fs::write(&config, text).unwrap();
    let mut mirror = Mirror::run(driftless().args(["mirror", "--config"]).arg(&config));
    mirror.wait_in_step();
    bench.source.write("new", "content");
    eventually(SOON, || {
        let text = std::fs::read_to_string(&heard).unwrap_or_default();
        match text.contains("\"path\":\"new\"") && !text.contains("\"old\"") {
            true => Ok(()),
            false => Err(format!("the hook has heard {text:?}\n{}", mirror.said())),
        }
    });
    mirror.stop();
}
