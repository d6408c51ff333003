//! `check` on configurations as they are found.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use daemon::check::check;
use rsync::Env;

use crate::stock::Place;

/// What is found, as `LINE: TEXT` with `@` for the directory.
fn found(place: &Place, config: &str) -> Vec<String> {
    let file = place.write("rsyncd.conf", config);
    let env = Env::from([("HOME", "/nonexistent")]);
    let here = place.here("@");
    check(&file, &[], &env)
        .iter()
        .map(|finding| finding.to_string().replace(&here, "@"))
        .map(|text| {
            text.strip_prefix("@/rsyncd.conf:")
                .map_or(text.clone(), str::to_owned)
        })
        .collect()
}

#[test]
fn a_good_configuration_has_no_findings() {
    let place = Place::new();
    fs::create_dir(place.path().join("data")).expect("made");
    let secrets = place.write("secrets", "joe:pw\n@root:x\n");
    fs::set_permissions(&secrets, Permissions::from_mode(0o600)).expect("permitted");
    place.write("patterns", "*.o\n");
    let config = "pid file = @/pid\nlock file = @/lock\nlog file = @/log\nuid = 0\ngid = 0\nmax connections = 9\n\
                  hosts allow = 10.0.0.0/8 *.example\nhosts deny = *\n\
                  [data]\npath = @/data\nauth users = joe:rw @root *:deny\nsecrets file = @/secrets\nauth digest = sha256\n\
                  exclude from = @/patterns\nincoming chmod = Dg+s,F644\nrefuse options = delete !c\n\
                  [home]\npath = /home/%RSYNC_USER_NAME%\nuid = %RSYNC_USER_NAME%\n";
    assert_eq!(found(&place, config), Vec::<String>::new());
}

#[test]
fn every_problem_has_its_line() {
    let place = Place::new();
    place.write("file", "");
    let secrets = place.write("open", "joe:pw\n");
    fs::set_permissions(&secrets, Permissions::from_mode(0o644)).expect("permitted");
    let secrets = place.write("secrets", "joe:pw\n");
    fs::set_permissions(&secrets, Permissions::from_mode(0o600)).expect("permitted");
    let config = "ignore errors\nport = 99999\npid file = @/none/pid\nbogus = 1\n\
                  [a]\npath = @/none\nport = 3\nread only = maybe\ntimeout = 5m\n\
                  [b]\npath = @/file\nuid = nobodyhere\ngid = 0 nogrouphere\nauth users = joe * ann\nsecrets file = @/open\n\
                  [c]\nhosts allow = 10.0.0.0/33 10.0.0.0/8 10.1.1.1\nhosts deny = 0.0.0.0/32\nauth users = joe ann\nsecrets file = @/secrets\n\
                  auth digest = sha3\nincoming chmod = zz\nexclude from = @/none\nrefuse options = bogus\n\
                  [d]\npath = /\nauth users = x\nsecrets file = @/none\n\
                  [a]\ncomment = again\n";
    let findings = found(&place, config);
    let expected = [
        "port = 99999: there is no such TCP port",
        "1: no \"=\" in \"ignore errors\": the line is ignored",
        "3: the directory of the pid file, @/none: No such file or directory",
        "4: unknown parameter \"bogus\"",
        "6: the module's path, @/none: No such file or directory",
        "7: global parameter \"port\" in a module: it belongs before the first module",
        "8: \"maybe\" is neither yes nor no",
        "9: \"5m\" is no number",
        "11: the module's path, @/file, is no directory",
        "12: there is no user \"nobodyhere\"",
        "13: there is no group \"nogrouphere\"",
        "14: the rule for \"ann\" is never reached: it stands after \"*\"",
        "15: @/open: secrets file must not be other-accessible (see strict modes option)",
        "16: the module \"c\" has no path",
        "17: malformed mask in 10.0.0.0/33: no host matches",
        "17: \"10.1.1.1\" is never reached: \"10.0.0.0/8\" comes first",
        "18: \"0.0.0.0/32\" matches no host: all of its bits count, and \"/0\" is what matches every host",
        "19: the user \"ann\" has no password in @/secrets",
        "21: \"sha3\" is no digest: use one of sha512 sha256 sha1 md5 md4",
        "22: incoming chmod: \"zz\" is no change of permissions",
        "23: the file of patterns, @/none: No such file or directory",
        "24: there is no option \"bogus\" to refuse",
        "28: the secrets file, @/none: No such file or directory",
        "29: the module \"a\" was begun at @/rsyncd.conf:5: this only adds to it",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_configuration_that_cannot_be_read_is_one_finding() {
    let place = Place::new();
    assert_eq!(
        found(&place, "[m]\n&include @/none\n"),
        ["2: cannot open \"@/none\": No such file or directory (2)"]
    );
}
