//! `driftless convert`: foreign configurations as our own.

use super::{DEFAULTS, Sersync};
use crate::bench::{Bench, Mirror, driftless};

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
    // Settings before the mirror's, of its rsync, and after these.
    let whole = |head: &str, rsync: &str, rest: &str| {
        format!(
            "<head>{head}<sersync><localpath watch='/w'><remote ip='h' name='m'/></localpath><rsync>{rsync}</rsync>{rest}</sersync></head>"
        )
    };
    let head = |inside: &str| whole(inside, "", "");
    let rsync = |inside: &str| whole("", inside, "");
    let rest = |inside: &str| whole("", "", inside);
    for (text, carried, noted) in [
        (whole("", "", ""), "to = \"h::m\"", "-u is left out"),
        (
            head("<inotify><delete start='false'/></inotify>"),
            "delete = false",
            "",
        ),
        (
            head("<inotify><closeWrite start='false'/></inotify>"),
            "",
            "inotify/closeWrite is off",
        ),
        (
            head("<filter start='true'><exclude expression='a.*'/></filter>"),
            "exclude-regex = [\"a.*\"]",
            "",
        ),
        (
            rsync("<auth start='true' users='u' passwordfile='/p'/>"),
            "password-file = \"/p\"",
            "",
        ),
        (
            rsync("<userDefinedPort start='true'/>"),
            "to = \"rsync://h:874/m\"",
            "",
        ),
        (rsync("<timeout start='true'/>"), "timeout = 100", ""),
        (rsync("<ssh start='true'/>"), "to = \"h:m\"", ""),
        (
            rsync("<commonParams params='-az --chmod=a+r'/>"),
            "compress = true",
            "--chmod has no meaning here",
        ),
        (
            rsync("<commonParams params='-a --bwlimit=5'/>"),
            "bandwidth = \"5k\"",
            "",
        ),
        (
            rsync("<ssh start='ture'/>"),
            "to = \"h::m\"",
            "<ssh start=\"ture\"> is off",
        ),
        (
            rsync("<commonParams params='-a --exclude=*.x'/>"),
            "filter = [\"- *.x\"]",
            "",
        ),
        (rest("<failLog path='/l'/>"), "failures = \"/l\"", ""),
        (
            rest("<crontab start='true' schedule='7'/>"),
            "verify = \"every 7m\"",
            "",
        ),
        (
            rest(
                "<crontab start='true'><crontabfilter start='true'><exclude expression='*.php'/></crontabfilter></crontab>",
            ),
            "verify = \"every 600m\"",
            "crontabfilter without filter",
        ),
        (
            whole(
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
